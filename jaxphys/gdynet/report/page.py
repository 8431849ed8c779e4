"""The report of a GDyNet run: timescales, states, structure, training."""

import csv
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from jaxphys.gdynet.analysis import koopman, structure
from jaxphys.gdynet.analysis.analysis import Analysis, AnalysisSettings, analyse
from jaxphys.gdynet.analysis.environment import blocks_of, environment
from jaxphys.gdynet.analysis.kinetics import lumped
from jaxphys.gdynet.data.dataset import Trajectories
from jaxphys.gdynet.report import sections, sections_states
from jaxphys.gdynet.report.plots import MOST_STATES, Plot
from jaxphys.gdynet.report.report_numbers import (
    history_columns,
    metrics_of,
    numbers_of,
    structure_numbers,
    summary_of,
)
from jaxphys.report import RunPage


def write_report(
    run: RunPage,
    *,
    predictions: koopman.Predictions,
    tau: int,
    model: str,
    trajectories: Trajectories | None = None,
    blocks: np.ndarray | None = None,
    time_unit: float = 1.0,
    time_unit_name: str = "frames",
    settings: AnalysisSettings | None = None,
    exact: Mapping[str, Any] | None = None,
    scores: Mapping[str, float] | None = None,
    warnings: Mapping[str, str] | None = None,
    n_examples: int = 4,
    structure_frames: int = 2000,
    cutoff: float = 0.0,
    volume: float | None = None,
    source: str = "",
) -> dict[str, Any]:
    """Analyses predictions and writes report.html, report.json and figures/.

    Beside each figure lies a CSV file with the numbers in it.

    Args:
        run: what the page says of the run, and where it is written.
        predictions: probabilities, [F_r, n, S] per trajectory or block.
        tau: lag of the model, in frames.
        model: gdynet_vanilla or gdynet_ferro, maybe with more words behind.
        trajectories: the data behind the predictions, for the structure; None: none.
        blocks: [K, 2] first frame and the one after the last of each prediction, as in
            `jaxphys.gdynet.data.dataset.Pairs`; None: whole trajectories.
        time_unit: duration of a frame.
        time_unit_name: its unit, also that of `exact`.
        settings: of the analysis.
        exact: what is known exactly: timescales, the slowest first, and populations in
            any order; as `jaxphys.gdynet.simulation.simulation.Case.describe`, where
            the name D stands for the best known values of recorded data.
        scores: of the validation or test set, by name.
        warnings: name -> sentence.
        n_examples: frames of each state in the table.
        structure_frames: frames that the structure is a mean of.
        cutoff: of the coordination numbers, A; 0: as far as all neighbours are known.
        volume: of the cell, A^3, for g(r); None: unknown.
        source: the data in words.

    Returns:
        The numbers of report.json.

    Raises:
        ValueError: predictions are not of the trajectories, or a lag is out of range.
    """
    found = koopman.trajectories(predictions)
    if trajectories is not None:
        blocks = blocks_of(trajectories, found, blocks)
    analysis = analyse(found, tau=tau, time_unit=time_unit, settings=settings)
    facts = _facts(found, analysis, time_unit_name, exact or {})
    columns, phases = history_columns(run.history)
    around = None
    if trajectories is not None:
        around = environment(
            trajectories, facts.predictions, blocks=blocks, frames=structure_frames,
            cutoff=cutoff, volume=volume,
        )  # fmt: skip
    examples = sections_states.example_rows(
        structure.examples(facts.predictions, n_examples),
        facts.names, trajectories, blocks, time_unit,
    )  # fmt: skip
    scores, warnings = dict(scores or {}), dict(warnings or {})
    report = run.open(
        f"GDyNet: {model}",
        _subtitle(found, analysis, facts, source),
    )
    report.add_numbers({
        "model": model,
        "source": source,
        "summary": summary_of(analysis, facts, scores),
        **numbers_of(analysis, facts),
        "structure": {} if around is None else structure_numbers(around, facts),
        "examples": examples,
        "scores": scores,
        "warnings": warnings,
        "metrics": metrics_of(columns, phases),
    })  # fmt: skip
    sections.add_highlights(report, analysis, facts, scores)
    sections.add_warnings(report, analysis, facts, warnings)
    sections.add_timescales(report, analysis, facts)
    sections_states.add_macrostates(report, analysis, facts)
    if not analysis.collapsed:
        sections.add_markov(report, analysis, facts)
        sections_states.add_states(report, analysis, facts)
        sections_states.add_time(report, analysis, facts)
        sections_states.add_structure(report, facts, around, examples)
    bound = analysis.num_states - 1
    sections.add_training(report, facts, columns, phases, scores, bound)
    report.add_section("Known limits", sections.limits(analysis, facts))
    directory = pathlib.Path(run.folder)
    content = report.write(directory)
    write_csv(directory / "figures", facts.plots)
    return content["numbers"]


def _facts(found, analysis: Analysis, unit: str, exact) -> sections.Facts:
    """Chooses what is shown: the states, or the macrostates of many."""
    own, names, shown_predictions = analysis.states, None, found
    if analysis.macrostates is not None and analysis.num_states > MOST_STATES:
        own = analysis.macrostates
        shown_predictions = lumped(found, analysis.labels)
        names = [sections_states.macro_name(m) for m in range(own.num_states)]
    largest = np.argsort(-own.mean, kind="stable")[:MOST_STATES]
    known = [float(p) for p in exact.get("populations", ())]
    return sections.Facts(
        shown_predictions,
        own,
        names or [str(state) for state in range(own.num_states)],
        np.sort(largest).tolist(),
        unit,
        [float(t) for t in exact.get("timescales", ())],
        exact.get("name") == "D",
        match_populations(own.hard, known),
        [],
    )


def match_populations(found: np.ndarray, exact: Sequence[float]) -> list[float]:
    """Returns exact populations in the order of the states that they are nearest to.

    Args:
        found: populations of the states, [S].
        exact: in any order.

    Returns:
        [S]; empty where the numbers of states differ.
    """
    if len(found) != len(exact):
        return []
    values = np.asarray(exact, np.float64)
    rows, places = linear_sum_assignment(np.abs(found[:, None] - values))
    del rows  # in order
    return values[places].tolist()


def _subtitle(found, analysis: Analysis, facts, source: str) -> str:
    frames = sum(len(p) for p in found)
    one = len(found) == 1
    data = f"; data: {source}" if source else ""
    step = f", one every {analysis.time_unit:g} {facts.unit}"
    if facts.unit == "frames" and analysis.time_unit == 1:
        step = ""
    return (
        f"Slow states of {found[0].shape[1]:,} target atom"
        f"{'s' if found[0].shape[1] > 1 else ''}, S = {analysis.num_states}, in "
        f"{len(found):,} {'trajectory' if one else 'trajectories'} of {frames:,} "
        f"frames{'' if one else ' together'}{step}{data}."
    )


def write_csv(directory: pathlib.Path, plots: Iterable[Plot]) -> None:
    """Writes the columns of each figure beside it, as <name>.csv."""
    for plot in plots:
        if not plot.columns:
            continue
        path = directory / f"{plot.picture.name}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(plot.columns)
            columns = [np.ravel(column) for column in plot.columns.values()]
            for row in zip(*columns, strict=True):
                rows.writerow([_field(value) for value in row])


def _field(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return f"{value:.7g}" if np.isfinite(value) else ""
    return value


def in_words(found: Mapping[str, Any], unit: str) -> str:
    """Returns the summary of an analysis in one line."""
    slowest = found.get("slowest")
    words = ["slowest timescale unresolved"]
    if slowest is not None:
        low, high = found.get("slowest_low"), found.get("slowest_high")
        between = "" if low is None or high is None else f" ({low:.4g} to {high:.4g})"
        words = [f"slowest timescale {slowest:.4g}{between} {unit}"]
    if found.get("slowest_exact") is not None:
        words.append(f"exact {found['slowest_exact']:.4g}")
    score = next(name for name in ("val_vamp2", "test_vamp2") if name in found)
    kind = {"val": "validation", "test": "test"}[score.split("_")[0]]
    words.append(f"{kind} VAMP-2 {found[score]:.4f}")
    words.append(f"Chapman-Kolmogorov deviation {found['ck_deviation']:.2g}")
    return "; ".join(words)
