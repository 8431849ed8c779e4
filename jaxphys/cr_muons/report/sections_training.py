"""The sections of a report on real data, training, speed and known limits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.cr_muons.analysis.evaluation import Closure
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.report import plots_training
from jaxphys.report import Column, Report, Table

# name -> (text, unit)
SPEEDS = {
    "train_events_per_s": ("training", "events/s"),
    "train_muons_per_s": ("training, true muons", "muons/s"),
    "steps_per_s": ("training", "batches/s"),
    "generate_events_per_s": ("generation", "events/s"),
    "generate_muons_per_s": ("generation", "muons/s"),
    "load_events_per_s": ("reading Parquet into batches", "events/s"),
    "input_wait": ("training waits for data", "fraction of the time"),
    "train_s": ("training, with validation", "s"),
}
SLOPE = "slope −d ln f / d ln N for N = 5 to 20"
# one A100, batch 48,000, sgd_nogp_cs5, 0.361 muons per event
PUBLISHED_EVENTS_PER_S = 390_000
PUBLISHED_MUONS_PER_S = 141_000


def add_outside(
    report: Report,
    further: Mapping[str, Closure],
    reference: Sequence[Mapping[str, Any]],
) -> None:
    """Adds comparisons with data that the training did not come from, if any."""
    if not further and not reference:
        return
    tables = []
    if further:
        labels = [row.criterion for row in next(iter(further.values())).rows]
        values = [found.values for found in further.values()]
        tables.append(
            Table(
                "The model against data that it was not trained on; no requirement.",
                ["test", *further],
                [(c.label, *(v[c.name] for v in values)) for c in labels],
            )
        )
    pictures = [plots_training.reference(reference, SLOPE)] if reference else []
    text = (
        "Fluctuations of data without repeated primaries are those about a regression "
        "of the mean."
    )
    report.add_section(
        "Other data", text if further else "", figures=pictures, tables=tables
    )


def add_training(
    report: Report, columns: Mapping[str, np.ndarray], data: Mapping[str, float]
) -> None:
    """Adds the curves of the training and what became of the events."""
    rows = [(name.replace("_", " "), value) for name, value in data.items()]
    tables = [Table("Events of the training data.", ["what", "number"], rows)]
    report.add_section(
        "Training",
        figures=[plots_training.training(columns)],
        tables=tables if rows else [],
    )


def add_speed(report: Report, speed: Mapping[str, float], truth: Events) -> None:
    """Adds events per second beside the published ones."""
    rows: list[tuple[Any, ...]] = [
        (*SPEEDS.get(name, (name.replace("_", " "), "")), _readable(value))
        for name, value in speed.items()
    ]
    known = [row[0] for row in rows]
    if rows:
        rows += [
            ("original, published, one A100", "events/s", PUBLISHED_EVENTS_PER_S),
            ("original, published, one A100", "muons/s", PUBLISHED_MUONS_PER_S),
        ]
    report.add_section(
        "Speed",
        "The published numbers belong to another machine, 0.36 muons per event, five "
        "critic steps and no penalty: they are no measurement side by side "
        "(tests/benchmarks/cr_muons_step.py makes one). This run has "
        f"{len(truth.muons) / len(truth):.2f} muons per event.",
        tables=[
            Table(
                "What this run measured.",
                ["quantity", "unit", Column("value")],
                rows,
                emphasis=list(range(len(known))),
                empty="The speed of this run was not measured.",
            )
        ],
    )


def _readable(value: float) -> float:
    """Returns a large number without its fraction, so that no power of ten is shown."""
    return round(value) if abs(value) >= 1000 else float(value)


def limits(closure: Closure, source: str) -> str:
    """Returns what a user must know before relying on the generator, as a list."""
    found = [
        "Only the distance of a muon from the axis is physical in the training data: "
        "its direction was drawn uniformly, times and directions of flight are not "
        "modelled.",
        "Muons of one bundle share the noise of their event, nothing else; muons of "
        "one decay or one sub-shower are no pairs here.",
        "The events of one shower at several depths are generated independently of "
        "each other: a bundle cannot be followed downwards.",
        "A generator is asked for conditions within its training data. Outside of the "
        "range of energy, mass, zenith angle and depth it extrapolates without a "
        "warning.",
        "Rare bundles are few in any finite sample: the largest deviations in bins of "
        "the condition have a statistical part (see truth against truth).",
    ]
    simulated = "g1" in source.lower() or "param" in source.lower()
    if simulated or "simulat" in source.lower():
        found.append(
            "The simulated showers are a parametrisation fitted to CORSIKA (Sibyll) "
            "above 1 TeV; near the threshold of nuclei it has 1.2 to 1.75 times too "
            "many muons. A model trained on it learns this too."
        )
    if "n/a" in {row.verdict for row in closure.rows}:
        found.append("Tests without a verdict do not apply to this model or data.")
    return "\n".join(f"- {limit}" for limit in found)
