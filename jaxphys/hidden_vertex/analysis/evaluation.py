"""The numbers of the evaluation report; numpy on the host, in float64.

Signal efficiency epsS and background efficiency epsB are the fractions of signal and
background events that pass a cut score >= threshold.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxphys.hidden_vertex.analysis import scores
from jaxphys.hidden_vertex.analysis.sculpting import rank_correlation
from jaxphys.hidden_vertex.inference.scored import Scored

FALSE_POSITIVE_RATES = (0.01, 0.05, 0.10)
SIGNAL_EFFICIENCIES = (0.2, 0.3, 0.5)
RESAMPLES = 300


def bootstrap_auc(
    label: ArrayLike,
    values: Mapping[str, ArrayLike],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Returns the AUC of scores on resampled events.

    Background and signal are drawn with replacement, each as often as it is there; all
    scores see the same draws, so that differences between them can be taken.

    Args:
        label: [E] with both classes.
        values: scores [E] by name, finite.
        resamples: number of draws R.
        seed: of the draws.

    Returns:
        AUC [R] by name.
    """
    signal = np.asarray(label) > 0
    num = int(np.sum(~signal)), int(np.sum(signal))
    ranked = {}
    for name, score in values.items():
        score = np.asarray(score, np.float64)
        order = [np.argsort(score[c], kind="stable") for c in (~signal, signal)]
        low, high = (score[c][o] for c, o in zip((~signal, signal), order, strict=True))
        # background events below each signal event, and not above it
        below = [np.searchsorted(low, high, side) for side in ("left", "right")]
        ranked[name] = order, below
    rng = np.random.default_rng(seed)
    found = {name: np.empty(resamples) for name in values}
    for r in range(resamples):
        times = [np.bincount(rng.integers(n, size=n), minlength=n) for n in num]
        for name, (order, below) in ranked.items():
            passed = np.append(0, np.cumsum(times[0][order[0]]))
            pairs = np.dot(times[1][order[1]], passed[below[0]] + passed[below[1]])
            found[name][r] = pairs / (2.0 * num[0] * num[1])
    return found


def signal_rejection(
    label: ArrayLike, score: ArrayLike, efficiency: float
) -> float | None:
    """Returns 1 / epsB at the first cut that keeps so much of the signal.

    None where no background event passes that cut: the sample is too small to tell.
    """
    curve = scores.roc_curve(label, score, drop_intermediate=False)
    at = int(np.argmax(curve.tpr >= efficiency))
    return float(1 / curve.fpr[at]) if curve.fpr[at] > 0 else None


def classification(
    label: ArrayLike, score: ArrayLike, top_k: int, resampled: np.ndarray | None = None
) -> dict[str, Any]:
    """Returns how well a score tells signal from background.

    Args:
        label: [E] with both classes.
        score: [E].
        top_k: events of highest score whose precision is taken.
        resampled: AUC [R] of `bootstrap_auc`, for the error.

    Returns:
        auc, auc_error; tpr_at_fpr_1, _5, _10; rejection_at_tpr_20, _30, _50; max_sic
        with its signal_efficiency, background_efficiency and threshold; precision;
        mean and std of background and signal; shift, the difference of the means in
        background standard deviations; separation, the ratio of the means (None for a
        score with negative values: a ratio has no meaning there).
    """
    label, score = np.asarray(label), np.asarray(score, np.float64)
    low, high = score[label <= 0], score[label > 0]
    best = scores.max_sic(label, score)
    rates = scores.signal_efficiency(label, score, np.array(FALSE_POSITIVE_RATES))
    spread = low.std()
    return {
        "auc": scores.auc(label, score),
        "auc_error": None if resampled is None else float(np.std(resampled, ddof=1)),
        **{
            f"tpr_at_fpr_{100 * fpr:g}": float(tpr)
            for fpr, tpr in zip(FALSE_POSITIVE_RATES, rates, strict=True)
        },
        **{
            f"rejection_at_tpr_{100 * eff:g}": signal_rejection(label, score, eff)
            for eff in SIGNAL_EFFICIENCIES
        },
        "max_sic": best.value,
        "max_sic_signal_efficiency": best.signal_efficiency,
        "max_sic_background_efficiency": best.background_efficiency,
        "max_sic_threshold": best.threshold,
        "precision": scores.precision(label, score, top_k),
        "background_mean": float(low.mean()),
        "background_std": float(spread),
        "signal_mean": float(high.mean()),
        "signal_std": float(high.std()),
        "shift": float((high.mean() - low.mean()) / spread) if spread else None,
        "separation": (
            scores.separation(label, score) if score.min() >= 0 < low.mean() else None
        ),
    }


def evaluate(
    scored: Scored, top_k: int = 100, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Returns the numbers of every score, by name.

    Those of `classification` where there are labels of both kinds, otherwise mean and
    std over the events; and rank_correlation_mjj over the background (all events
    without labels), where the dijet mass is known.
    """
    found: dict[str, dict[str, Any]] = {}
    label, mjj = scored.label, scored.observables.get("mjj")
    if not scored.has_both:
        label = None
    drawn = (
        {} if label is None else bootstrap_auc(label, scored.scores, resamples, seed)
    )
    for name, score in scored.scores.items():
        score = np.asarray(score, np.float64)
        if label is not None:
            found[name] = classification(label, score, top_k, drawn[name])
        else:
            found[name] = {"mean": float(score.mean()), "std": float(score.std())}
        if mjj is not None:
            some = scored.background
            found[name]["rank_correlation_mjj"] = rank_correlation(
                score[some], np.asarray(mjj)[some]
            )
    return found


def compare_baselines(
    scored: Scored,
    baselines: Mapping[str, tuple[ArrayLike, bool]],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Returns how one-variable cuts do beside the leading score, best AUC first.

    Args:
        scored: events with both labels.
        baselines: name -> (values [E], whether it knows the mass of the signal); an
            event without a finite value counts as the least anomalous.
        resamples: see `bootstrap_auc`.
        seed: see `bootstrap_auc`.

    Returns:
        A row each: name, oracle, auc, auc_error, max_sic with its efficiencies,
        lead = AUC of the leading score minus this AUC, lead_error (of the difference,
        on the same draws), not_finite (events without a value).
    """
    label = scored.label
    if label is None or not scored.has_both or not baselines:
        return []
    values, missing = {}, {}
    for name, (raw, _) in baselines.items():
        raw = np.array(raw, np.float64)
        if raw.shape != (len(scored),):
            raise ValueError(
                f"baseline {name!r}: expected [{len(scored)}] values, got {raw.shape}"
            )
        bad = ~np.isfinite(raw)
        missing[name] = int(bad.sum())
        raw[bad] = raw[~bad].min() if not bad.all() else 0.0
        values[name] = raw
    drawn = bootstrap_auc(label, {"": scored.score, **values}, resamples, seed)
    own = scores.auc(label, scored.score)
    rows = []
    for name, value in values.items():
        area, best = scores.auc(label, value), scores.max_sic(label, value)
        rows.append(
            {
                "name": name,
                "oracle": bool(baselines[name][1]),
                "auc": area,
                "auc_error": float(np.std(drawn[name], ddof=1)),
                "max_sic": best.value,
                "max_sic_signal_efficiency": best.signal_efficiency,
                "max_sic_background_efficiency": best.background_efficiency,
                "lead": own - area,
                "lead_error": float(np.std(drawn[""] - drawn[name], ddof=1)),
                "not_finite": missing[name],
            }
        )
    return sorted(rows, key=lambda row: -row["auc"])


def compare_injection(
    clean: ArrayLike, injected: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Returns how well a score finds events with one particle made harder.

    Args:
        clean: [E] scores of background events.
        injected: [E] scores of the same events after the change.
        resamples: see `bootstrap_auc`.
        seed: see `bootstrap_auc`.

    Returns:
        auc of injected against clean, auc_error, the means of both, and raised, the
        fraction of events whose score went up.
    """
    clean, injected = (np.asarray(v, np.float64) for v in (clean, injected))
    label = np.repeat([0, 1], [len(clean), len(injected)])
    both = np.concatenate([clean, injected])
    drawn = bootstrap_auc(label, {"": both}, resamples, seed)[""]
    return {
        "auc": scores.auc(label, both),
        "auc_error": float(np.std(drawn, ddof=1)),
        "clean_mean": float(clean.mean()),
        "injected_mean": float(injected.mean()),
        "raised": float(np.mean(injected > clean)),
    }


def principal_components(
    code: np.ndarray, components: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Returns codes along the axes of their largest variance.

    Args:
        code: [E, D], finite.
        components: at most this many axes.

    Returns:
        (projections [E, C] of the centred codes, fraction of the variance of each
        axis [C]; zeros for codes without any spread).
    """
    off = np.asarray(code, np.float64) - np.mean(code, axis=0)
    value, vector = np.linalg.eigh(off.T @ off / max(len(off) - 1, 1))
    first = np.argsort(-value, kind="stable")[:components]
    axes = vector[:, first]
    # an eigenvector has no sign of its own: the largest entry is made positive
    axes = axes * np.sign(axes[np.argmax(np.abs(axes), axis=0), np.arange(len(first))])
    total = value.sum()
    fraction = value[first] / total if total > 0 else np.zeros(len(first))
    return off @ axes, fraction


def typical_events(scored: Scored, count: int = 3) -> np.ndarray:
    """Returns positions of the background events nearest to its median score.

    Without labels, or without background, of all events.
    """
    where = np.flatnonzero(scored.background)
    where = where if len(where) else np.arange(len(scored))
    score = scored.score[where]
    away = np.abs(score - np.median(score))
    return where[np.argsort(away, kind="stable")[:count]]
