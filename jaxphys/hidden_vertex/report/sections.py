"""The sections of a Hidden Vertex report on scores and the bars they must clear."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.hidden_vertex.analysis.scores import SIC_MIN_BACKGROUND
from jaxphys.hidden_vertex.inference.scored import Scored
from jaxphys.hidden_vertex.report import plots
from jaxphys.report import Column, Report, Table, format_number


def subtitle(scored: Scored, model: str, source: str) -> str:
    """Returns one sentence on the model and its test."""
    counts = scored.counts
    kinds = [f"{counts[kind]:,} {kind}" for kind in counts if kind != "events"]
    of = f" ({' + '.join(kinds)})" if kinds else ", without labels"
    data = f"; data: {source}" if source else ""
    return (
        f"Unsupervised anomaly detection with the autoencoder {model}; "
        f"{counts['events']:,} test events{of}; leading score: {scored.headline}{data}."
    )


def add_highlights(
    report: Report,
    own: Mapping[str, Any],
    validation: Mapping[str, float | None],
    top_k: int,
    num_events: int,
) -> None:
    """Adds the numbers on top of the page; own are those of the leading score."""
    if "auc" in own:
        report.add_highlight("AUC", with_error(own["auc"], own["auc_error"], 1))
        report.add_highlight("max SIC", own["max_sic"])
        report.add_highlight(
            "signal efficiency at 1% background", percent(own["tpr_at_fpr_1"]), "%"
        )
        report.add_highlight(
            f"signal among the top {top_k}", percent(own["precision"]), "%"
        )
    else:
        report.add_highlight("test events", num_events)
        report.add_highlight(
            "leading score, mean ± std", with_error(own["mean"], own["std"])
        )
    if validation.get("val_loss") is not None:
        report.add_highlight("background loss", _digits(validation["val_loss"]))
    if validation.get("gap") is not None:
        report.add_highlight("above its floor", percent(validation["gap"]), "%")


def with_error(value: float, error: float | None, digits: int = 2) -> str:
    """Returns "value ± error", both to so many digits of the error."""
    if not error or not np.isfinite(error):
        return format_number(value)
    places = int(np.clip(digits - 1 - np.floor(np.log10(error)), 0, 6))
    return f"{value:,.{places}f} ± {error:,.{places}f}".replace("-", "−")


def percent(value: float | None) -> float | None:
    """Returns a fraction in percent; None stays None."""
    return None if value is None else 100 * value


def _digits(value: Any) -> str:
    return format_number(value, 5)


def add_scores(
    report: Report,
    scored: Scored,
    found: Mapping[str, Mapping[str, Any]],
    bars: Sequence[Mapping[str, Any]],
    baselines: Mapping[str, tuple[Any, bool]],
    top_k: int,
    bins: int,
) -> None:
    """Adds spectra, ROC and SIC curves and the numbers of every score."""
    best = next((row["name"] for row in bars if not row["oracle"]), None)
    beside = {} if best is None else {best: _finite(baselines[best][0])}
    areas = {name: row["auc"] for name, row in found.items() if "auc" in row}
    pictures = [plots.score_histogram(scored, bins)]
    if scored.has_both:
        pictures += [plots.roc(scored, areas), plots.sic(scored, beside)]
        tables = [_power(scored, found, top_k), _spreads(scored, found)]
        text = (
            "Labels are used here only, to judge. An event is more anomalous the "
            "higher its score; signal efficiency εS and background efficiency εB are "
            "the fractions of each class above a cut."
        )
        if beside:
            text += (
                f" In grey in the SIC curve: the best cut on one variable, {best}, "
                "whose direction knows the signal (none that knows its mass)."
            )
    else:
        tables = [_plain(scored, found)]
        text = (
            "There are no labels of both background and signal: the scores can be "
            "looked at, not judged. No ROC curve, SIC curve or table of baselines."
        )
    report.add_section("Scores", text, pictures, tables)


def _finite(values: Any) -> np.ndarray:
    values = np.array(values, np.float64)
    good = np.isfinite(values)
    return np.where(good, values, values[good].min() if good.any() else 0.0)


def _power(scored, found, top_k: int) -> Table:
    by_chance = percent(scored.counts["signal"] / len(scored))
    rows = [
        (
            name,
            with_error(row["auc"], row["auc_error"]),
            *(percent(row[f"tpr_at_fpr_{fpr}"]) for fpr in (1, 5, 10)),
            *(row[f"rejection_at_tpr_{eff}"] for eff in (20, 50)),
            row["max_sic"],
            percent(row["max_sic_background_efficiency"]),
            percent(row["precision"]),
        )
        for name, row in _leading_first(scored, found)
    ]
    return Table(
        "How well each score tells signal from background.",
        [
            "score",
            "AUC",
            *(Column(f"εS at εB = {fpr}%", "%") for fpr in (1, 5, 10)),
            *(Column(f"1/εB at εS = {eff}%") for eff in (20, 50)),
            "max SIC",
            Column("at εB", "%"),
            Column(f"top {top_k} signal", "%"),
        ],
        rows,
        notes=[
            "AUC: ± one standard deviation of a bootstrap over the test events; it "
            "holds no spread between trainings.",
            "max SIC: largest εS/√εB of all cuts that at least "
            f"{SIC_MIN_BACKGROUND} background events pass. Of few events it is biased "
            "upwards, as the largest of many fluctuating values.",
            f"Signal among the top {top_k}: by chance it would be "
            f"{format_number(by_chance)}%.",
        ],
        emphasis=[0],
    )


def _spreads(scored, found) -> Table:
    listed = _leading_first(scored, found)
    notes = ["Shift: difference of the means in standard deviations of background."]
    if any(row["separation"] is None for _, row in listed):
        notes.append(
            "The ratio of the means (the original's separation factor) has a meaning "
            "for scores without negative values only, as a squared error."
        )
    return Table(
        "Mean and standard deviation of each score.",
        ["score", "background", "signal", "shift", "mean signal / mean background"],
        [
            (name, *(with_error(row[f"{kind}_mean"], row[f"{kind}_std"], 3)
                     for kind in ("background", "signal")),
             row["shift"], row["separation"])
            for name, row in listed
        ],
        notes=notes,
        emphasis=[0],
    )  # fmt: skip


def _plain(scored, found) -> Table:
    return Table(
        "Mean and standard deviation of each score over all events.",
        ["score", Column("mean", digits=4), Column("std")],
        [
            (name, row["mean"], row["std"])
            for name, row in _leading_first(scored, found)
        ],
        emphasis=[0],
    )


def _leading_first(scored, found) -> list[tuple[str, Mapping[str, Any]]]:
    return sorted(found.items(), key=lambda item: item[0] != scored.headline)


def add_baselines(
    report: Report, scored: Scored, bars: Sequence[Mapping[str, Any]]
) -> None:
    """Adds the signed cuts on one variable."""
    if not scored.has_both:
        return
    notes = [
        "Lead: AUC of the leading score minus that of the cut, ± of the difference on "
        "the same bootstrap draws.",
        "AUC below 0.5: the cut points away from this signal.",
        "Oracle: the cut knows the mass of the resonance as well.",
    ]
    missing = {row["name"]: row["not_finite"] for row in bars if row["not_finite"]}
    if missing:
        text = ", ".join(f"{name} {count:,}" for name, count in missing.items())
        notes.append(f"Events without a value, put last: {text}.")
    if "tau21_1" not in scored.observables:
        notes.append(
            "Jets are two cones of R = 1.0; the ratio τ21 needs anti-kT jets of "
            "fastjet (pip install 'jaxphys[events]') and is left out."
        )
    report.add_section(
        "Cuts on one variable",
        "A bar to clear, not a rival: every cut here is signed, so whoever makes it "
        "knows in which direction this signal lies; a search does not. "
        + _verdict(scored, bars),
        tables=[
            Table(
                "Signed cuts on one variable, on the same test events.",
                ["variable", "AUC", "lead of the score", "max SIC",
                 Column("at εS", "%"), Column("at εB", "%"), "oracle"],
                [
                    (row["name"], with_error(row["auc"], row["auc_error"]),
                     with_error(row["lead"], row["lead_error"]), row["max_sic"],
                     percent(row["max_sic_signal_efficiency"]),
                     percent(row["max_sic_background_efficiency"]),
                     "yes" if row["oracle"] else "")
                    for row in bars
                ],
                notes=notes,
                empty="No observables of these events are at hand.",
            )
        ],
    )  # fmt: skip


def _verdict(scored, bars) -> str:
    """Says in words how the leading score stands to the best cut."""
    best = next((row for row in bars if not row["oracle"]), None)
    if best is None:
        return ""
    lead, error = best["lead"], best["lead_error"]
    size = "is above" if lead > 0 else "is below"
    if abs(lead) < 2 * error:
        size = "does not differ by two standard errors from"
    return (
        f"The AUC of the score {scored.headline} {size} that of the best such cut, "
        f"{best['name']}: {format_number(best['lead'] + best['auc'])} against "
        f"{format_number(best['auc'])}, a difference of {with_error(lead, error)}."
    )
