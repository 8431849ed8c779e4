"""The sections of a track finder's report on events, voxels, costs and training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.hypertrack.analysis.results import Cost, Result
from jaxphys.hypertrack.model.voxels import VoxelModel
from jaxphys.hypertrack.report import plots, plots_edges, plots_events
from jaxphys.hypertrack.report.sections import NAMES
from jaxphys.report import Column, Report, Table, figures

_STAGES = {
    "graph": "candidate graph",
    "net": "net",
    "components": "components",
    "cluster": "clustering",
}
_GIB = 2**30
_MOST_TRACKS = 60  # that an event display shows


def add_displays(report: Report, result: Result, threshold: float) -> None:
    """Adds pictures of an event of middle size and of the largest."""
    if not result.main:
        return
    tracks = [int((o.event.particles.num_hits >= 4).sum()) for o in result.found]
    order = np.argsort(tracks, kind="stable")
    order = [int(i) for i in order if tracks[i]]
    chosen = dict.fromkeys([*order[len(order) // 2 :][:1], *order[-1:]])
    main, pictures = result.clusterings[result.main], []
    for number, index in enumerate(chosen):
        one = result.found[index]
        pictures.append(
            plots_events.event_display(
                one.event,
                main.labels[index],
                main.matchings[index],
                one.edges.edge_index,
                one.edges.prob,
                threshold,
                min_pt=0.0,
                most=_MOST_TRACKS,
                name=f"event_{number}",
            )
        )
    report.add_section("Events", f"Tracks by {NAMES[result.main]}.", figures=pictures)


def add_voxels(report: Report, result: Result, model: VoxelModel) -> None:
    """Adds the voxels and what their graph holds."""
    e = result.edges
    table = Table(
        "Voxels and the candidate graph of the reported events.",
        ["cells", "joined hits", "augment", "trained on hits", "density of C",
         Column("TPR", digits=4), "error", Column("FPR"), "error of it", "purity",
         "edges per event"],
        [(model.num_cells, model.node2node, model.augment, model.num_hits,
          model.density, e["vd_tpr"], e["vd_tpr_error"], e["vd_fpr"],
          e["vd_fpr_error"], e["vd_purity"], round(e["vd_edges"]))],
        notes=["TPR and FPR do not depend on pile-up; purity falls with it."],
    )  # fmt: skip
    pictures = [plots_edges.voxel_cells(model)]
    report.add_section("Voxels", figures=pictures, tables=[table])


def describe_cost(cost: Cost) -> dict[str, Any]:
    """Returns a cost as plain numbers."""
    return {
        "fraction": cost.fraction,
        "hits": cost.hits,
        "edges": cost.edges,
        "seconds": dict(cost.meter.seconds),
        "cpu_seconds": dict(cost.meter.cpu_seconds),
        "peak_bytes": cost.meter.peak,
    }


def add_costs(report: Report, result: Result, costs: Sequence[Cost]) -> None:
    """Adds time and memory against the size of an event."""
    if not costs:
        return
    stages = [s for s in _STAGES if any(s in c.meter.seconds for c in costs)]
    rows: list[tuple[Any, ...]] = [
        (
            f"{100 * c.fraction:g}%", c.hits, c.edges,
            *(c.meter.seconds.get(stage) for stage in stages),
            sum(c.meter.seconds.values()), sum(c.meter.cpu_seconds.values()),
            c.meter.peak / _GIB,
        )
        for c in costs
    ]  # fmt: skip
    growth = growth_of(costs, stages)
    columns = [
        "tracks kept", "hits", "edges", *(Column(_STAGES[s], "s") for s in stages),
        Column("sum", "s"), Column("CPU", "s"), Column("peak memory", "GiB"),
    ]  # fmt: skip
    if growth:
        rows.append(("power of the hits", *growth))
    table = Table(
        "One event, with parts of its tracks and its own noise.",
        columns,
        rows,
        notes=[
            "The fastest of up to three passes, without compilation. Power of the "
            "hits: slope of a straight line through the logarithms.",
            "Peak memory: of the whole process, training included where the same call "
            "trained.",
        ],
        emphasis=[len(rows) - 1] if growth else [],
    )
    picture = plots.stage_costs(
        [c.hits for c in costs],
        {_STAGES[s]: [c.meter.seconds.get(s, 0.0) for c in costs] for s in stages},
        [c.meter.peak for c in costs],
    )
    text = (
        "The number of candidate edges grows with the square of the hits, and time "
        f"follows it. Clustering by {NAMES.get(result.main, result.main)}."
    )
    report.add_section("Time and memory", text, [picture], [table])


def growth_of(costs: Sequence[Cost], stages: Sequence[str]) -> list[float | None]:
    """Returns the power of the number of hits with which each column grows.

    Args:
        costs: of events of different sizes.
        stages: whose times come after hits and edges.

    Returns:
        Powers of hits, edges, every stage, sum, CPU time and memory; empty for fewer
        than three events.
    """
    if len(costs) < 3 or costs[-1].hits < 1.5 * costs[0].hits:
        return []
    x = np.log([max(c.hits, 1) for c in costs])

    def power(values: Sequence[float]) -> float | None:
        y = np.asarray(values, np.float64)
        return float(np.polyfit(x, np.log(y), 1)[0]) if (y > 0).all() else None

    return [
        1.0,
        power([c.edges for c in costs]),
        *(power([c.meter.seconds.get(s, 0.0) for c in costs]) for s in stages),
        power([sum(c.meter.seconds.values()) for c in costs]),
        power([sum(c.meter.cpu_seconds.values()) for c in costs]),
        power([c.meter.peak for c in costs]),
    ]


def add_training(
    report: Report,
    history: figures.History,
    joint_step: float | None,
    speed: Mapping[str, float],
) -> None:
    """Adds the curves of the training."""
    rows = [(phase, rate) for phase, rate in speed.items()]
    tables = [
        Table("Speed of the training.", ["phase", Column("rate", "iterations/s")], rows)
    ]
    text = "The joint phase did not begin: the transformer is not trained."
    if joint_step is not None:
        text = f"The joint phase began at iteration {joint_step:g}."
    pictures = [plots_edges.training(history, joint_step)]
    report.add_section("Training", text, pictures, tables if rows else [])


def limits(result: Result, joint_step: float | None) -> str:
    """Returns what a reader must know before relying on the numbers, as a list."""
    found = [
        "Simulated events come from a fast simulation with smeared hits; real "
        "detectors have merged clusters, dead modules and misalignment.",
        "Tracks of fewer than 4 hits do not count, neither as found nor as missed.",
        "Events that trained the voxels have all true edges among the candidates; "
        "other events do not. Reported events must not train the voxels.",
        "A subsample of tracks (--rfactor) is easier than an event of that pile-up: "
        "the tracks of a collision are torn apart.",
        "Tracks of a pivot search depend on its random seeds, by about the errors "
        "shown.",
    ]
    if joint_step is None:
        found.append("No transformer was trained here.")
    accepted = sum(
        c.scores["num_accepted"] for c in list(result.clusterings.values())[:1]
    )
    if accepted < 100:
        found.append(
            f"Only {accepted:.0f} tracks pass pT > 0.9 GeV and |η| < 2.5: efficiencies "
            "above are coarse."
        )
    return "\n".join(f"- {limit}" for limit in found)
