"""The report of a run of the muon generator: how far its bundles are from the truth."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.cr_muons.analysis import metrics
from jaxphys.cr_muons.analysis.evaluation import Closure
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.report import sections, sections_training
from jaxphys.report import RunPage, figures


def write_report(
    run: RunPage,
    *,
    truth: Events,
    model: Events,
    closure: Closure,
    others: Mapping[str, Events] | None = None,
    columns: Mapping[str, Closure | Mapping[str, float]] | None = None,
    further: Mapping[str, Closure] | None = None,
    reference: Sequence[Mapping[str, Any]] = (),
    speed: Mapping[str, float] | None = None,
    data: Mapping[str, float] | None = None,
    source: str = "",
    model_name: str = "generator",
) -> dict[str, Any]:
    """Writes report.html, report.json and figures/*.png.

    Args:
        run: what the page says of the run, and where it is written.
        truth: held-out bundles.
        model: bundles that the run generates for the same primaries, row by row.
        closure: of the model against the truth.
        others: bundles of other models for the same primaries, by name, drawn beside.
        columns: what the same tests say of other models, by name: a closure, or its
            values (then without its fluctuations, which are drawn too).
        further: closures of the model on further data, by name of the data.
        reference: as `jaxphys.cr_muons.analysis.closure_checks.compare_with_muongun`
            gives it.
        speed: what was measured, by name (see `sections_training.SPEEDS`).
        data: numbers of events by what became of them.
        source: the data in words.
        model_name: the model in words.

    Returns:
        The numbers of report.json: model, source, events, closure, values, met,
        columns, further, yields, reference, speed, data, history.

    Raises:
        ValueError: there is no event, or truth and model have other primaries.
    """
    _check(truth, model)
    others, columns, further = dict(others or {}), dict(columns or {}), further or {}
    for name, events in others.items():
        _check(truth, events, name)
    values = {
        name: found.values if isinstance(found, Closure) else dict(found)
        for name, found in columns.items()
    }
    rounds = figures.history_columns(run.history)
    tested = [row for row in closure.rows if row.verdict != "n/a"]
    report = run.open(
        f"Muon bundles: {model_name}",
        sections.subtitle(truth, model, source),
    )
    report.add_numbers({
        "model": model_name,
        "source": source,
        "events": {"truth": sections.counts(truth), "model": sections.counts(model)},
        "closure": closure.describe(),
        "values": closure.values,
        "met": {"of": len(tested), "missed": closure.missed, "good": closure.good},
        "columns": values,
        "further": {name: c.describe() for name, c in further.items()},
        "yields": {
            "bins": {name: list(edges) for name, edges in metrics.BIN_EDGES},
            "ratio": closure.yields.ratio,
        },
        "reference": [dict(row) for row in reference],
        "speed": dict(speed or {}),
        "data": dict(data or {}),
        "history": rounds,
    })  # fmt: skip
    sections.add_highlights(report, closure, values)
    sections.add_closure(report, closure, values)
    sections.add_distributions(report, truth, model, others)
    sections.add_fluctuations(report, truth, model, closure, columns)
    sections.add_bins(report, truth, model)
    sections.add_shapes(report, truth, model)
    sections_training.add_outside(report, further, reference)
    sections_training.add_training(report, rounds, data or {})
    if speed:
        sections_training.add_speed(report, speed, truth)
    text = sections_training.limits(closure, source)
    report.add_section("Known limits", text)
    return report.write(pathlib.Path(run.folder))["numbers"]


def _check(truth: Events, model: Events, name: str = "model") -> None:
    if not len(truth):
        raise ValueError("write_report, truth: expected at least one event, got none")
    same = truth.primaries.shape == model.primaries.shape
    if not same or not (truth.primaries == model.primaries).all():
        raise ValueError(
            f"write_report, {name}: expected the {len(truth)} primaries of the truth "
            f"row by row, got {len(model)} of which some are others"
        )


def speed_of(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the rates of a training, medians over the intervals of its log.

    Args:
        history: of `jaxphys.training.writer.read_metrics`.
    """
    # the first interval includes the compilation
    timed = [entry for entry in history if "steps_per_second" in entry][1:]
    if not timed:
        return {}
    rate = float(np.median([entry["steps_per_second"] for entry in timed]))
    return {
        "steps_per_s": rate,
        "train_events_per_s": rate * timed[-1]["train_events"],
        "train_muons_per_s": rate * timed[-1]["train_muons"],
        "input_wait": float(np.median([entry["input_wait"] for entry in timed])),
    }


def in_words(closure: Closure) -> str:
    """Returns the closure in one line."""
    values: Mapping[str, Any] = closure.values
    words = [
        f"W1 of N {values['w1_n']:.4f}, E {values['w1_logE']:.4f}, "
        f"r {values['w1_logr']:.4f}",
        f"Fano {values['fano_pooled']:.2f}",
        f"classifier AUC {values['classifier_auc']:.3f}",
        f"{len(closure.good)} of {len(closure.rows)} lines good",
        "missed: " + (", ".join(closure.missed) or "none"),
    ]
    return "; ".join(words)
