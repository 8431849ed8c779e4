"""The numbers of a GDyNet report, as report.json holds them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.gdynet.analysis.analysis import Analysis
from jaxphys.gdynet.analysis.environment import Environment
from jaxphys.gdynet.analysis.kinetics import Kinetics
from jaxphys.gdynet.report.sections import UNRESOLVED, Facts, exact_of
from jaxphys.report import figures

# names of a history -> those of the original's metrics
METRICS = {
    "epoch": "epochs",
    "train_loss": "train_losses_avg",
    "train_loss_last": "train_losses_last",
    "val_loss_avg": "val_losses_avg",
    "val_loss_last": "val_losses_last",
    **{
        f"{part}_{kind}{old}": f"{part}_{kind}_scores_{new}"
        for part in ("train", "val")
        for kind in ("vamp1", "vamp2")
        for old, new in (("_last", "last"), ("" if part == "train" else "_avg", "avg"))
    },
}


def history_columns(
    history: Iterable[Mapping[str, Any]],
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns a history as columns of numbers with `epoch`, and the phases.

    Args:
        history: a mapping per epoch.
    """
    rows = [dict(row) for row in history]
    phases = [str(row.pop("phase", "")) for row in rows]
    plain = [
        {k: float(v) for k, v in row.items() if isinstance(v, int | float | np.number)}
        for row in rows
    ]
    columns = figures.history_columns(plain)
    if "epoch" not in columns and rows:
        rounds = columns.get("round", np.arange(1.0, len(rows) + 1))
        # the rounds of the training loop may be counted from 0
        columns["epoch"] = rounds + (rounds[0] == 0)
    return columns, phases if any(phases) else []


def metrics_of(
    columns: Mapping[str, np.ndarray], phases: Sequence[str]
) -> dict[str, Any]:
    """Returns a history under the names of the original's metrics.

    Args:
        columns: of `history_columns`.
        phases: of each epoch.
    """
    found: dict[str, Any] = {
        METRICS.get(name, name): values
        for name, values in columns.items()
        if name not in ("round", "step")
    }
    if "epochs" in found:
        found["epochs"] = found["epochs"].astype(int)
    if phases:
        found["loss_types"] = list(phases)
    return found


def numbers_of(analysis: Analysis, facts: Facts) -> dict[str, Any]:
    """Returns the numbers of an analysis; what is unresolved is none.

    Args:
        analysis: of the predictions.
        facts: what is shown.
    """
    resolved, at = analysis.resolved, analysis.at_tau
    ours = np.where(resolved, analysis.timescales, np.nan)
    values = [
        float(value) if good else UNRESOLVED
        for value, good in zip(
            analysis.timescales[:, at], resolved[:, at], strict=True
        )
    ]  # fmt: skip
    found: dict[str, Any] = {
        "tau": analysis.tau,
        "time_unit": analysis.time_unit,
        "time_unit_name": facts.unit,
        "state_len": analysis.num_states,
        "collapsed": analysis.collapsed,
        "unresolved": analysis.unresolved,
        "suggested_lag": analysis.suggested_lag,
        "timescales": values,
        "timescales_exact": list(facts.exact),
        "implied_timescales": {
            "lags": analysis.lags,
            "mean": _nullable(ours),
            "lower": _nullable(np.where(resolved, analysis.lower, np.nan)),
            "upper": _nullable(np.where(resolved, analysis.upper, np.nan)),
        },
        "between_targets": _nullable(analysis.between_targets),
        "eigenvalues_abs": np.abs(analysis.eigenvalues),
        "eigenvectors": np.real(analysis.eigenvectors),
        "singular_values": analysis.singular_values,
        "vamp1": analysis.vamp1,
        "vamp2": analysis.vamp2,
        **kinetics_numbers(analysis.states),
        "populations_exact": list(facts.exact_populations),
        "macrostates": {},
        "notes": list(analysis.notes),
    }
    if analysis.macrostates is not None:
        found["macrostates"] = {
            "labels": analysis.labels,
            **kinetics_numbers(analysis.macrostates),
        }
    return found


def summary_of(
    analysis: Analysis, facts: Facts, scores: Mapping[str, float]
) -> dict[str, Any]:
    """Returns the few numbers that say how a run went.

    Args:
        analysis: of the predictions.
        facts: what is shown.
        scores: of the evaluation.

    Returns:
        slowest, slowest_low, slowest_high: of the slowest resolved process, None where
        none is resolved or there is no interval; slowest_exact; resolved; processes;
        collapsed; suggested_lag in frames; ck_deviation; populations; and the scores.
    """
    found: dict[str, Any] = dict.fromkeys(("slowest", "slowest_low", "slowest_high"))
    found["slowest_exact"] = None
    if not analysis.unresolved:
        place = (analysis.resolved_processes[0], analysis.at_tau)
        three = (analysis.timescales, analysis.lower, analysis.upper)
        values = [_nullable(np.asarray(a[place])) for a in three]
        found |= dict(zip(found, values, strict=False))
        found["slowest_exact"] = exact_of(analysis, facts.exact, place[0])
    return found | {
        "resolved": len(analysis.resolved_processes),
        "processes": analysis.num_states - 1,
        "collapsed": analysis.collapsed,
        "suggested_lag": analysis.suggested_lag,
        "ck_deviation": facts.found.ck.deviation,
        "populations": facts.found.hard,
        **scores,
    }


def kinetics_numbers(found: Kinetics) -> dict[str, Any]:
    """Returns the numbers of states at the model's lag."""
    ck = found.ck
    return {
        "koopman": found.operator,
        "populations": {
            "mean": found.mean, "stationary": found.stationary, "hard": found.hard,
        },
        "crispness": found.crispness,
        "transition_matrix": found.transition,
        "transition_matrix_constrained": found.constrained,
        "hard_transition_matrix": found.hard_transition,
        "rates": _nullable(found.rates),
        "mean_first_passage_times": _nullable(found.passage_times),
        "lifetimes": _nullable(found.lifetimes),
        "exits": found.exits,
        "decay_times": _nullable(found.decay),
        "autocorrelation": _nullable(found.autocorrelation),
        "chapman_kolmogorov": {
            "predicted": ck.predicted,
            "estimated": ck.estimated,
            "error": _nullable(ck.error),
            "deviation": ck.deviation,
            "z_value": _nullable(np.asarray(ck.z_value)),
        },
    }  # fmt: skip


def _nullable(values: np.ndarray) -> Any:
    """Returns nested lists with None for what is no number, which is expected here."""
    if values.ndim:
        return [_nullable(v) for v in values]
    return float(values) if np.isfinite(values) else None


def structure_numbers(around: Environment, facts: Facts) -> dict[str, Any]:
    """Returns the structure of the states that are shown."""
    radial = around.radial
    return {
        "states": list(facts.names),
        "frames": around.frames,
        "species": around.species,
        "cutoff": around.cutoff,
        "distances": _nullable(around.distances),
        "coordination": None if radial is None else _nullable(radial.coordination),
        "complete_to": None if radial is None else radial.complete_to,
        "direction_mean": _nullable(around.direction_mean),
    }
