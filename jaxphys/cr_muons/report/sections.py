"""The sections of a report that compare generated bundles with true ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxphys.cr_muons.analysis import metrics
from jaxphys.cr_muons.analysis.evaluation import Closure, Criterion, Row
from jaxphys.cr_muons.analysis.fano import RegressionFano
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.report import plots, plots_bins, plots_lateral, plots_moments
from jaxphys.cr_muons.report.plots_moments import CountMoments
from jaxphys.report import Column, Picture, Report, Table, format_number

_VERDICTS = {"good": "good", "must": "met", "missed": "MISSED", "n/a": "–"}
_WORST_BINS = 8
# below: the number of muons is a function of the condition, as in the original
_NO_FLUCTUATION = 0.2


def counts(events: Events) -> dict[str, float]:
    """Returns numbers that describe a sample in one line."""
    return {
        "events": len(events),
        "muons": len(events.muons),
        "muons_per_event": len(events.muons) / max(len(events), 1),
        "empty_fraction": metrics.empty_fraction(events),
        "most_muons": int(events.num_muons.max(initial=0)),
    }


def subtitle(truth: Events, model: Events, source: str) -> str:
    """Returns one sentence on the test."""
    true, made = counts(truth), counts(model)
    data = f"; data: {source}" if source else ""
    return (
        f"{true['events']:,} held-out primaries with {true['muons']:,} true and "
        f"{made['muons']:,} generated muons; {100 * true['empty_fraction']:.1f}% of "
        f"the true events are empty, the largest has {true['most_muons']:,} "
        f"muons{data}."
    )


def add_highlights(
    report: Report, closure: Closure, columns: Mapping[str, Mapping[str, float]]
) -> None:
    """Adds the numbers on top of the page."""
    tested = [row for row in closure.rows if row.verdict != "n/a"]
    met = [row for row in tested if row.verdict != "missed"]
    values = closure.values
    report.add_highlight("tests met", f"{len(met)} of {len(tested)}")
    report.add_highlight("of these good", f"{len(closure.good)}")
    report.add_highlight("sum of the three distances", _plain(values["w1_sum"]))
    if np.isfinite(values["fano_pooled"]):
        report.add_highlight("fluctuation, model / truth", values["fano_pooled"])
    report.add_highlight("classifier AUC", values["classifier_auc"])
    for name, other in columns.items():
        if "w1_sum" in other:
            report.add_highlight(f"this sum of {name}", _plain(other["w1_sum"]))


def _plain(value: float) -> float | str:
    return value if np.isfinite(value) else "no muons"


def range_text(limits: tuple[float, float] | None, criterion: Criterion) -> str:
    """Returns an accepted range in words: ≤ 0.02, ≥ 0.001 or 0.75–1.3.

    Args:
        limits: lowest and highest value; None: there is no such range.
        criterion: whose range it is.
    """
    if limits is None:
        return ""
    low, high = limits
    if low == 0:
        return f"≤ {high:g}"
    if high == 1 and criterion.name.endswith("_p"):
        return f"≥ {low:g}"
    return f"{low:g}–{high:g}"


def _floor_text(row: Row) -> str:
    if row.floor is None or not np.isfinite(row.floor).all():
        return ""
    texts = [format_number(v, 2) for v in row.floor]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"


def closure_table(
    closure: Closure, columns: Mapping[str, Mapping[str, float]], caption: str
) -> Table:
    """Returns the table of all tests, a column for each further model.

    Args:
        closure: of the model.
        columns: values of the tests for further models, by name.
        caption: of the table.
    """
    floors = any(row.floor is not None for row in closure.rows)
    rows, missed = [], []
    for index, row in enumerate(closure.rows):
        c = row.criterion
        rows.append((
            c.label, row.value, _VERDICTS[row.verdict], range_text(c.must, c),
            range_text(c.good, c), *([_floor_text(row)] if floors else []),
            *(values.get(row.name) for values in columns.values()),
        ))  # fmt: skip
        if row.verdict == "missed":
            missed.append(index)
    rows.append((
        "sum of the three W1", closure.values["w1_sum"], "", "", "",
        *([""] if floors else []), *(v.get("w1_sum") for v in columns.values()),
    ))  # fmt: skip
    floor = ["truth against truth"] if floors else []
    return Table(
        caption,
        ["test", Column("model"), "verdict", "must be", "good", *floor, *columns],
        rows,
        notes=["Bold: tests that are missed."] if missed else [],
        emphasis=missed,
    )


def add_closure(
    report: Report, closure: Closure, columns: Mapping[str, Mapping[str, float]]
) -> None:
    """Adds the table of tests and what it says in words."""
    text = (
        "W1 is the Wasserstein distance, the area between two distribution functions, "
        "of a base-10 logarithm: 0.01 in lg E is a shift of 2.3%. The Fano factor, "
        "variance over mean of the number of muons, is compared at fixed conditions: "
        "200 showers of each of 200 primaries; for data without repeated primaries it "
        "is taken about a regression of the mean. The classifier (boosted trees on ten "
        "numbers of an event) has an AUC of 0.5 if nothing tells a generated from a "
        "true bundle."
    )
    remarks = [*_fluctuation_remark(closure), *_against(closure, columns)]
    if closure.missed:
        labels = [r.criterion.label for r in closure.rows if r.verdict == "missed"]
        remarks.append(f"Missed: {'; '.join(labels)}.")
    text += "\n\n" + "\n".join(f"- {r}" for r in remarks) if remarks else ""
    caption = "Generated against true bundles."
    if any(row.floor is not None for row in closure.rows):
        caption += " Truth against truth, new showers of the same primaries, is the "
        caption += "smallest difference that can be seen."
    report.add_section(
        "Closure test", text, tables=[closure_table(closure, columns, caption)]
    )


def _fluctuation_remark(closure: Closure) -> list[str]:
    value = closure.values["fano_pooled"]
    if not np.isfinite(value) or value > _NO_FLUCTUATION:
        return []
    return [
        "The number of muons of this model is a function of the condition: showers of "
        "one primary do not fluctuate. --multiplicity=negative_binomial does."
    ]


def _against(closure: Closure, columns: Mapping[str, Mapping[str, float]]) -> list[str]:
    found, own = [], closure.values
    for name, its in columns.items():
        words = []
        for key, text, value in (
            ("w1_sum", "sum of the three W1", lambda v: v),
            ("fano_pooled", "Fano factor", lambda v: abs(np.log(max(v, 1e-3)))),
            ("classifier_auc", "classifier AUC", lambda v: abs(v - 0.5)),
        ):
            if np.isfinite([own[key], its.get(key, np.nan)]).all():
                better = value(own[key]) < value(its[key])
                words.append(f"{text} {'better' if better else 'not better'}")
        if words:
            found.append(f"Against {name}: {', '.join(words)}.")
    return found


def add_distributions(
    report: Report, truth: Events, model: Events, others: Mapping[str, Events]
) -> None:
    """Adds the spectra of N, E and r."""
    pictures = [plots.distributions(truth, model, others), plots.joint(truth, model)]
    rows = [
        (name, *counts(events).values())
        for name, events in {"truth": truth, "model": model, **others}.items()
    ]
    table = Table(
        "What the samples hold.",
        ["sample", "events", "muons", "muons / event", "fraction empty",
         "most muons of an event"],
        rows,
    )  # fmt: skip
    showers = len(np.unique(truth.showers, axis=0))
    text = ""
    if showers < len(truth):
        text = (
            f"The {len(truth):,} events are {showers:,} showers at several depths. "
            "Errors of the figures take all events as independent and are too small "
            f"for the truth, by up to a factor of {np.sqrt(len(truth) / showers):.2g}."
        )
    report.add_section("Distributions", text, pictures, [table])


def add_fluctuations(
    report: Report,
    truth: Events,
    model: Events,
    closure: Closure,
    columns: Mapping[str, Closure | Mapping[str, float]],
) -> None:
    """Adds mean and fluctuation of the number of muons."""
    pictures = [plots_moments.mean_number(truth, model), _fano(closure, columns)]
    report.add_section(
        "Number of muons", figures=pictures, tables=[_worst_bins(closure)]
    )


def _fano(
    closure: Closure, columns: Mapping[str, Closure | Mapping[str, float]]
) -> Picture:
    if isinstance(closure.fano, RegressionFano):
        found = closure.fano
        return plots_moments.fano_about_regression(
            found.edges, found.truth, found.model
        )
    model, truth = closure.fano
    samples = {"model": _moments(model)}
    for name, other in columns.items():
        if isinstance(other, Closure) and not isinstance(other.fano, RegressionFano):
            samples[name] = _moments(other.fano[0])
    return plots_moments.fano(_moments(truth), samples)


def _moments(replicas) -> CountMoments:
    return CountMoments.of_replicas(replicas.primaries, replicas.num_muons)


def _worst_bins(closure: Closure) -> Table:
    """Returns the bins of the condition whose mean number deviates most."""
    ratio, muons = closure.yields.ratio, closure.yields.true_muons
    off = np.where(np.isfinite(ratio), np.abs(ratio - 1), -1.0)
    order = np.argsort(-off, axis=None)[:_WORST_BINS]
    rows: list[tuple[Any, ...]] = []
    for flat in order:
        place = np.unravel_index(int(flat), ratio.shape)
        if off[place] >= 0:
            texts = [
                _bin_text(edges, int(i))
                for i, (_, edges) in zip(place, metrics.BIN_EDGES, strict=True)
            ]
            rows.append((*texts, int(muons[place]), float(ratio[place])))
    return Table(
        "Mean number of muons in bins of the condition: the largest deviations among "
        f"the {int(np.isfinite(ratio).sum())} bins with at least "
        f"{metrics.MIN_TRUE_MUONS} true muons.",
        ["lg E / GeV", "mass [GeV]", "depth [m]", "true muons",
         Column("model / truth")],
        rows,
        empty="No bin holds enough muons.",
    )  # fmt: skip


def _bin_text(edges, index: int) -> str:
    if index == 0:
        return f"below {edges[0]:,g}"
    if index == len(edges):
        return f"above {edges[-1]:,g}"
    return f"{edges[index - 1]:,g} to {edges[index]:,g}"


def add_bins(report: Report, truth: Events, model: Events) -> None:
    """Adds the spectra in ranges of the condition."""
    report.add_section(
        "Ranges of the condition",
        "A model may agree over all events and still shift muons between conditions.",
        figures=[
            plots_bins.in_bins(truth, model, quantity)
            for quantity in plots_bins.QUANTITIES
        ],
    )


def add_shapes(report: Report, truth: Events, model: Events) -> None:
    """Adds the lateral profile and the correlations within bundles."""
    report.add_section(
        "Shape of bundles",
        figures=[
            plots_lateral.lateral(truth, model),
            plots_bins.correlations(truth, model),
        ],
    )
