"""The sections of a GDyNet report on warnings, timescales, Markov test and training."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxphys.gdynet.analysis.analysis import Analysis
from jaxphys.gdynet.analysis.kinetics import Kinetics
from jaxphys.gdynet.report import plots
from jaxphys.gdynet.report.plots import Plot, frames_of
from jaxphys.report import Column, Report, Table, format_number

UNRESOLVED = "unresolved"
STATIC_IDENTITY = (
    "Targets that differ for good, by their species or their site, can be told apart "
    "without any dynamics, and a label that never changes predicts itself perfectly at "
    "every lag. A high VAMP-2 alone therefore proves nothing here: look at the VAMP-2 "
    "without the mean of each target, and at the column “between targets” of the "
    "timescales."
)
COLLAPSED = (
    "All outputs are equal: the network tells no states apart and there are no "
    "timescales. Sections on states are left out."
)
# a process with more of its variance between targets is mostly a label
_MOSTLY = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Facts:
    """What the sections need besides the analysis.

    Attributes:
        predictions: [F_r, n, S] per trajectory, of the states or macrostates shown.
        found: their kinetics.
        names: of these states.
        shown: those that figures of a few states show.
        unit: name of the unit of time.
        exact: exact timescales, the slowest first; empty: unknown.
        recorded: whether these are only the best known ones of recorded data.
        exact_populations: of the states in `found`, matched; empty: unknown.
        plots: figures so far, in order.
    """

    predictions: Sequence[np.ndarray]
    found: Kinetics
    names: Sequence[str]
    shown: Sequence[int]
    unit: str
    exact: Sequence[float]
    recorded: bool
    exact_populations: Sequence[float]
    plots: list[Plot]

    def add(
        self,
        report: Report,
        title: str,
        text: str = "",
        pictures: Sequence[Plot] = (),
        tables: Sequence[Table] = (),
    ) -> None:
        """Adds a section and keeps its figures for the files beside them."""
        self.plots.extend(pictures)
        report.add_section(title, text, [p.picture for p in pictures], tables)


def percent(value: float | None) -> float | None:
    """Returns a fraction in percent; what is no number becomes None."""
    return None if value is None or np.isnan(value) else 100 * value


def exact_of(analysis: Analysis, exact: Sequence[float], process: int) -> float | None:
    """Returns the exact timescale of a process; labels of targets have none."""
    rank = int(analysis.rank[process])
    return exact[rank] if 0 <= rank < len(exact) else None


def add_highlights(
    report: Report, analysis: Analysis, facts: Facts, scores: Mapping[str, float]
) -> None:
    """Adds the numbers on top of the page."""
    most = analysis.num_states - 1
    if not most:
        return
    at, processes = analysis.at_tau, analysis.resolved_processes
    if len(processes):
        slowest = processes[0]
        three = (analysis.timescales, analysis.lower, analysis.upper)
        value, low, high = (float(a[slowest, at]) for a in three)
        lag = f"{analysis.tau * analysis.time_unit:.4g}"
        label = f"slowest timescale at lag {lag} {facts.unit}"
        if np.isfinite([low, high]).all():
            label += f"; 95%: {format_number(low)}–{format_number(high)}"
        report.add_highlight(label, value, facts.unit)
        exact = exact_of(analysis, facts.exact, slowest)
        if exact is not None:
            report.add_highlight("exact", exact, facts.unit)
    else:
        report.add_highlight("slowest timescale", UNRESOLVED)
    report.add_highlight("processes resolved", f"{len(processes)} of {most}")
    sets = {"val_vamp2_full": "validation", "val_vamp2": "validation"}
    sets["test_vamp2"] = "test"
    name = next((name for name in sets if name in scores), "")
    if name:
        score = format_number(scores[name])
        report.add_highlight(f"VAMP-2, {sets[name]} set", f"{score} of {most}")
    if facts.found.num_states > 1 and not analysis.collapsed:
        report.add_highlight(
            "largest Chapman–Kolmogorov deviation", facts.found.ck.deviation
        )
    if 1 < facts.found.num_states <= 4 and not analysis.collapsed:
        shares = " / ".join(f"{100 * x:.0f}" for x in facts.found.hard)
        report.add_highlight("populations", shares, "%")


def time_of(lag: int, analysis: Analysis, unit: str) -> str:
    """Returns a lag in words, with frames where these are not the unit."""
    if analysis.time_unit == 1 and unit == "frames":
        return frames_of(lag)
    return f"{lag * analysis.time_unit:.4g} {unit} ({frames_of(lag)})"


def add_warnings(
    report: Report, analysis: Analysis, facts: Facts, warnings: Mapping[str, str]
) -> None:
    """Adds what a reader must know before any number, if there is such a thing."""
    found, own = [], {"static_identity": STATIC_IDENTITY}
    if analysis.collapsed:
        own["collapsed"] = COLLAPSED
        warnings = {"collapsed": "", **warnings}
    for name, measured in warnings.items():
        known = measured[:1].upper() + measured[1:].rstrip(".") + "."
        sentences = [own[name]] if name in own else []
        found.append(f"{name}: {' '.join(sentences + [known] * bool(measured))}")
    if analysis.unresolved and not analysis.collapsed and analysis.num_states > 1:
        lag = time_of(analysis.tau, analysis, facts.unit)
        found.append(
            f"unresolved: no process is slower than the lag of the model, {lag}. "
            "Either nothing slow happens around the targets, or the network did not "
            "find it; try a shorter tau."
        )
    if analysis.num_states == 1:
        found.append("one_state: a single state has no process and no score.")
    found += [f"note: {note}" for note in analysis.notes]
    if found:
        facts.add(report, "Read this first", "\n".join(f"- {s}" for s in found))


def remark(analysis: Analysis, process: int, longest: int) -> str:
    """Says what is to be known of a process at the model's lag; may be empty.

    Args:
        analysis: of the predictions.
        process: its number, 0 the slowest.
        longest: frames of the longest trajectory.
    """
    at = analysis.at_tau
    value = analysis.timescales[process, at]
    if not analysis.resolved[process, at]:
        if analysis.collapsed:
            return "all outputs are equal"
        if analysis.static[process]:
            return "a label of the targets that does not change"
        if not np.isfinite(value):
            return "no decay at this lag"
        if value <= analysis.tau * analysis.time_unit:
            return "faster than the lag"
        return "in less than half of the samples"
    found = []
    if value > longest * analysis.time_unit:
        found.append("slower than a trajectory is long")
    if analysis.between_targets[process] > _MOSTLY:
        found.append("mostly a label of the targets")
    return "; ".join(found)


def timescale_rows(analysis: Analysis, facts: Facts, longest: int) -> list[tuple]:
    """Returns a row per process; one that is unresolved has the word for a number."""
    at, rows = analysis.at_tau, []
    for process in range(analysis.num_states - 1):
        exact = exact_of(analysis, facts.exact, process)
        value, low, high, off = UNRESOLVED, None, None, None
        if analysis.resolved[process, at]:
            value = float(analysis.timescales[process, at])
            low, high = (float(a[process, at]) for a in
                         (analysis.lower, analysis.upper))  # fmt: skip
            off = None if exact is None else 100 * (value / exact - 1)
        between = analysis.between_targets[process]
        size = float(np.abs(analysis.eigenvalues[process + 1]))
        rows.append((process + 1, value, low, high, exact, off,
                     None if analysis.collapsed else size,
                     None if analysis.collapsed else percent(float(between)),
                     remark(analysis, process, longest)))  # fmt: skip
    return rows


def add_timescales(report: Report, analysis: Analysis, facts: Facts) -> None:
    """Adds the implied timescales, beside the exact ones where known."""
    unit, lag = facts.unit, time_of(analysis.tau, analysis, facts.unit)
    longest = max(len(p) for p in facts.predictions)
    columns = ["process", Column("timescale", unit), Column("95% low", unit),
               Column("high", unit), Column("exact", unit), Column("off", "%"),
               "|eigenvalue|", Column("between targets", "%"), "remark"]  # fmt: skip
    rows = timescale_rows(analysis, facts, longest)
    several = bool(np.isfinite(analysis.between_targets).any())
    gone = [*(() if facts.exact else (4, 5)), *(() if several else (7,))]
    keep = [i for i in range(len(columns)) if i not in gone]
    columns = [columns[i] for i in keep]
    rows = [tuple(row[i] for i in keep) for row in rows]
    notes = []
    if any(UNRESOLVED in row for row in rows):
        notes = [
            f"{UNRESOLVED}: no slow process is found, for the reason in the remark."
        ]
    if several:
        notes.append(
            "Between targets: part of a process's variance that lies between the means "
            "of the target atoms; 100% is a label that never changes, 0% a process "
            "that all targets go through alike."
        )
    if facts.recorded:
        notes.append(
            "Exact: no exact value of these recorded data is known; it stands for the "
            "best known analysis of them, which has an error of its own."
        )
    text = (
        "A timescale can be trusted where it stays constant as the lag grows; the "
        "suggested lag is the shortest one from which on all timescales stay within "
        "their errors."
    )
    if analysis.num_states > 1:
        text += " " + _suggestion(analysis, unit)
    table = Table(
        f"Implied timescales at the lag of the model, {lag}.",
        columns,
        rows,
        notes=notes,
        empty="One state has no process.",
    )
    curve = plots.timescales(analysis, unit, tuple(facts.exact))
    pictures = [curve]
    if not analysis.collapsed:
        pictures.append(plots.singular_values(analysis))
    facts.add(report, "Timescales", text, pictures, [table])


def _suggestion(analysis: Analysis, unit: str) -> str:
    if analysis.suggested_lag is None:
        return "Here no lag fulfils this."
    return f"Here it is {time_of(analysis.suggested_lag, analysis, unit)}."


def add_markov(report: Report, analysis: Analysis, facts: Facts) -> None:
    """Adds the Chapman-Kolmogorov test; one state has none."""
    if analysis.num_states == 1:
        return
    ck = facts.found.ck
    steps = ck.predicted.shape[2]
    step_time = analysis.tau * analysis.time_unit
    picture = plots.chapman_kolmogorov(
        ck, facts.names, facts.shown, step_time, facts.unit
    )
    text = ""
    if facts.found.num_states > 1:
        text = (
            f"Over {steps - 1} steps of the lag, prediction and estimate differ by at "
            f"most {format_number(ck.deviation)} in any entry"
        )
        text += (
            f", which is {ck.z_value:.2g} bootstrap standard deviations "
            "of that entry's difference. The largest of many entries is looked at, so "
            f"that up to 3 is no sign of memory{_verdict(ck.z_value)}."
            if np.isfinite(ck.z_value)
            else "; the data are too short for an error of it."
        )
        if analysis.macrostates is not None and facts.found is analysis.macrostates:
            text += (
                f" The test is of the macrostates; among all {analysis.num_states} "
                f"states the largest difference is "
                f"{format_number(analysis.states.ck.deviation)}."
            )
    facts.add(report, "Chapman–Kolmogorov test", text, [picture])


def _verdict(z_value: float) -> str:
    return "; this is more" if z_value > 3 else ""


def add_training(
    report: Report,
    facts: Facts,
    columns: Mapping[str, np.ndarray],
    phases: Sequence[str],
    scores: Mapping[str, float],
    bound: int,
) -> None:
    """Adds curves of the training and the scores of the evaluation."""
    picture = plots.training(columns, phases, bound)
    table = Table(
        "Scores of the evaluation, of whole sets unless named otherwise.",
        ["score", Column("value", digits=4)],
        [(name, value) for name, value in scores.items()],
        notes=[
            f"The bound of VAMP-1 and VAMP-2 is S − 1 = {bound}; the constant function "
            "is not counted.",
            "static: what labels of the targets score that never change; centred: "
            "after the mean of each target is removed.",
        ],
        empty="No scores were handed to this report.",
    )
    facts.add(report, "Training and scores", "", [picture], [table])


def limits(analysis: Analysis, facts: Facts) -> str:
    """Returns what a reader must know before relying on the numbers, as a list."""
    found = [
        "For dynamics in equilibrium a timescale is, but for sampling errors, at most "
        "that of the true process (variational principle): too short is the usual "
        "error.",
        "Intervals are statistical, of these data and this network; they hold no "
        "spread between trainings. A training can fail by chance: repeat it with other "
        "seeds.",
        "The graph knows distances (and directions) around an atom, nothing else: "
        "hops between equal surroundings cannot be seen.",
        "Structure around a target reaches as far as the stored nearest neighbours.",
    ]
    crisp = analysis.states.crispness
    if crisp < 0.9 and analysis.num_states > 1 and not analysis.collapsed:
        found.append(
            f"The mean probability of the most probable state is {crisp:.2f}: the "
            "states are soft mixtures. Timescales are not touched by that, but "
            "populations, transition matrix and rates are those of the mixtures; a "
            "phase of the loss vamp1 makes states crisper."
        )
    if facts.exact_populations:
        found.append(
            "Exact populations are matched to the states by size, which is the most "
            "favourable order."
        )
    return "\n".join(f"- {limit}" for limit in found)
