"""The sections of a track finder's report on tracks, efficiencies and edges."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.hypertrack.analysis import evaluation
from jaxphys.hypertrack.analysis.efficiency import (
    ACCEPTED_ETA,
    ACCEPTED_PT,
    clopper_pearson,
)
from jaxphys.hypertrack.analysis.evaluation import Clustered
from jaxphys.hypertrack.analysis.results import Result
from jaxphys.hypertrack.inference.stage_meter import StageMeter
from jaxphys.hypertrack.report import plots, plots_edges
from jaxphys.report import Column, Report, Table, format_number

NAMES = {
    "transformer": "transformer",
    "cut": "components",
    "jaccard": "jaccard",
    "dbscan": "DBSCAN, edges",
    "hdbscan": "HDBSCAN, edges",
    "dbscan_latents": "DBSCAN, latents",
    "hdbscan_latents": "HDBSCAN, latents",
}
_CUTS = f"pT > {ACCEPTED_PT} GeV, |η| < {ACCEPTED_ETA}"
_WORDS = {
    "threshold": "p >",
    "min_overlap": "shared >",
    "eps": "eps",
    "min_samples": "samples",
}
_TRACK_COLUMNS = (
    "clustering", "options", Column("EFF", "%"), "68%",
    Column("LHC", "%"), Column("perfect", "%"), Column("EFF all", "%"),
    Column("PUR", "%"), Column("fakes", "%"), Column("dupl.", "%", digits=2),
    Column("DMS", "%"), Column("TrackML", "%"),
)  # fmt: skip
_TRACK_NOTES = (
    f"EFF, LHC, perfect: true tracks with at least 4 hits, {_CUTS}, that are found; "
    "EFF all: without these cuts. Found: more than half of the hits of both "
    "tracks are shared (double majority); LHC: more than 75% of the reconstructed "
    "hits come from the particle; perfect: all its hits and no other. 68%: interval of "
    "Clopper and Pearson.",
    "PUR: matched of all reconstructed tracks. Fakes: reconstructed tracks of at least "
    "4 hits without a match, duplicates included; duplicates: their majority "
    "is from a track that another one matches.",
    "DMS: official weight of the shared hits of all matches over that of all tracks of "
    "at least 4 hits; TrackML: over that of all hits.",
    "Options of the simple clusterings were chosen on training events.",
)


def subtitle(result: Result, source: str) -> str:
    """Returns one sentence on what was reconstructed."""
    hits = [one.event.num_hits for one in result.found]
    tracks = sum(int((one.event.particles.num_hits >= 4).sum()) for one in result.found)
    data = f": {source}" if source else ""
    return (
        f"{len(hits)} events with {min(hits):,} to {max(hits):,} hits and {tracks:,} "
        f"true tracks of at least 4 hits{data}."
    )


def add_highlights(report: Report, result: Result) -> None:
    """Adds the numbers on top of the page."""
    area = result.edges["auc_without_self"]
    report.add_highlight("AUC of the edges, without self edges", _fixed(area, 4))
    if not result.main:
        return
    scores = result.clusterings[result.main].scores
    text = f"efficiency of {NAMES[result.main]}; {_CUTS}"
    report.add_highlight(text, _fixed(100 * scores["efficiency_accepted"], 1), "%")
    all_tracks = _fixed(100 * scores["efficiency"], 1)
    report.add_highlight("of all tracks with at least 4 hits", all_tracks, "%")
    report.add_highlight("purity", _fixed(100 * scores["purity"], 1), "%")
    report.add_highlight("fake rate", _fixed(100 * scores["fake_rate"], 1), "%")


def _fixed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "unknown"


def options_text(options: Mapping[str, Any]) -> str:
    """Returns options in words: p > 0.7, shared > 0.5."""
    return ", ".join(f"{_WORDS.get(k, k)} {v:g}" for k, v in options.items())


def track_row(name: str, found: Clustered) -> tuple[Any, ...]:
    """Returns the row of a clustering."""
    scores, count = found.scores, found.scores["num_accepted"]
    passed = round(scores["efficiency_accepted"] * count)
    interval = "no such track"
    if count:
        ends = clopper_pearson(np.array(passed), np.array(count))
        low, high = (100 * float(end) for end in ends)
        interval = f"{low:.0f}–{high:.0f}"
    keys = ("lhc_accepted", "perfect_accepted", "efficiency", "purity", "fake_rate",
            "duplicate_rate", "dms", "trackml_score")  # fmt: skip
    own = 100 * scores["efficiency_accepted"] if count else None
    text = options_text(found.options) or "of the flags"
    return (name, text, own, interval, *(100 * scores[key] for key in keys))


def _tracks_table(result: Result, caption: str, names: Mapping[str, str]) -> Table:
    rows, bold = [], []
    for method, found in result.clusterings.items():
        if method == result.main:
            bold.append(len(rows))
        rows.append(track_row(names.get(method, method), found))
    return Table(
        caption,
        _TRACK_COLUMNS,
        rows,
        emphasis=bold,
        empty="No clustering belongs to this graph: it holds no whole tracks.",
    )


def add_tracks(
    report: Report,
    result: Result,
    further: Mapping[str, Result],
    compared: Mapping[str, Result],
) -> None:
    """Adds the tables of all clusterings, of this run and of others."""
    own = _tracks_table(
        result, "All clusterings of the same edges; bold: that of the run.", NAMES
    )
    tables = [
        Table(own.caption, own.columns, own.rows, _TRACK_NOTES, own.emphasis, own.empty)
    ]
    for name, other in further.items():
        hits = sum(one.event.num_hits for one in other.found)
        some = "one whole event" if len(other.found) == 1 else "whole events"
        words = f"{some}, {hits:,} hits, by the same run."
        tables.append(_tracks_table(other, f"{name}: {words}", NAMES))
    for name, other in compared.items():
        caption = f"The same events by the run {name}."
        tables.append(_tracks_table(other, caption, NAMES))
    tables += _original_tables({"this run": result, **further, **compared})
    report.add_section("Tracks", _verdict(result), tables=tables)


def _verdict(result: Result) -> str:
    """Says whether the transformer is worth its time."""
    if "transformer" not in result.clusterings:
        return (
            "The transformer of this run is not trained: its joint phase did not begin."
        )
    if not result.best:
        return ""
    own, best = (result.clusterings[m].scores for m in ("transformer", result.best))
    words = [
        f"{text} {100 * (own[key] - best[key]):+.1f} points"
        for key, text in (
            ("efficiency_accepted", "EFF"),
            ("efficiency", "EFF all"),
            ("purity", "PUR"),
        )
    ]
    return (
        f"The transformer against {NAMES[result.best]}, the best simple clustering on "
        f"the events of the tuning: {', '.join(words)}."
    )


def _original_tables(results: Mapping[str, Result]) -> list[Table]:
    """Returns the columns that the original prints, and its times with memory."""
    scores, times = [], []
    for name, result in results.items():
        e, main = result.edges, result.clusterings.get(result.main)
        found = main.scores if main else {}
        own = [found.get(key) for key in ("dms", "efficiency", "purity")]
        keys = ("vd_tpr", "vd_fpr", "gnn_tpr", "gnn_fpr", "auc", "auc_without_self")
        scores.append((name, *(e[key] for key in keys), *own))
        meters = [one.meter for one in result.found]
        last = list(main.meters) if main else []
        stages = [time_text(meters, "graph"), time_text(meters, "net")]
        stages += [time_text(last, "components"), time_text(last, "cluster")]
        peak = max(meter.peak for meter in [*meters, *last])
        times.append((name, *stages, peak / 2**30))
    columns = [
        "", "VD TPR", "VD FPR", "GNN TPR", "GNN FPR", Column("AUC", digits=4),
        Column("AUC, no self", digits=4), "DMS", "EFF", "PUR",
    ]  # fmt: skip
    notes = [
        "VD: candidate edges among all pairs of hits, means over events. GNN: "
        "candidates above the threshold, all events together, as is the AUC.",
        "DMS, EFF, PUR: by the clustering of the run, all tracks of at least 4 hits.",
    ]
    names = ("VD", "GNN", "CC", "cluster")
    units = [Column(f"t {name}", "ms") for name in names]
    peak_note = [
        "Mean and spread over events, the first one left out. VD: candidate graph; CC: "
        "components. Peak: resident memory of the whole process, training included "
        "where the same call trained."
    ]
    return [
        Table("The columns of the original.", columns, scores, notes),
        Table(
            "Its times, by the clustering of the run, and memory.",
            ["", *units, Column("peak memory", "GiB")],
            times,
            peak_note,
        ),
    ]


def time_text(meters: Sequence[StageMeter], stage: str) -> str:
    """Returns mean and spread of a stage's time in ms: 12 ± 3."""
    if not any(stage in meter.seconds for meter in meters):
        return ""
    mean, spread = evaluation.stage_seconds(meters, stage)
    error = f" ± {format_number(1e3 * spread, 2)}" if np.isfinite(spread) else ""
    return f"{format_number(1e3 * mean, 2)}{error}"


def add_efficiency(report: Report, result: Result, hits_max: int) -> None:
    """Adds efficiency and fake rate against properties of tracks and events."""
    tables = {NAMES[m]: result.clusterings[m].table for m in result.shown}
    if not tables:
        return
    main = result.clusterings[result.main].table
    pictures = [
        plots.efficiency(tables, variable)
        for variable in ("pt", "eta", "vertex_radius", "num_hits", "pileup")
    ]
    pictures.append(plots.definitions(main))
    pictures.append(plots.hit_counts(main, hits_max))
    report.add_section("Efficiency and fake rate", figures=pictures)


def add_edges(report: Report, result: Result, threshold: float) -> None:
    """Adds what is known of the edges before any clustering."""
    joined = evaluation.joined_edges(result.found)
    e = result.edges
    rows = [
        ("candidate edges per event", e["vd_edges"], e["vd_edges_error"]),
        ("true pairs among the candidates [%]", *_percent(e, "vd_tpr")),
        ("purity of the candidates [%]", *_percent(e, "vd_purity")),
        ("AUC, all edges, mean over events", e["auc_mean"], e["auc_error"]),
        ("AUC without self edges, mean over events", e["auc_without_self_mean"],
         e["auc_without_self_error"]),
        (f"true candidates with p > {threshold:g} [%]", 100 * e["gnn_tpr"], None),
        (f"false candidates with p > {threshold:g} [%]", 100 * e["gnn_fpr"], None),
        (f"purity of edges with p > {threshold:g} [%]", 100 * e["gnn_purity"], None),
    ]  # fmt: skip
    table = Table(
        "Edges of the reported events.",
        ["quantity", Column("value", digits=4), Column("error of the mean", digits=2)],
        rows,
    )
    text = (
        "What the candidate graph leaves out, no net can find: its true positive rate "
        "bounds the efficiency, more for tracks of few hits."
    )
    pictures = [
        plots_edges.roc(*joined, threshold),
        plots_edges.scores_by_class(*joined, threshold),
    ]
    report.add_section("Edges", text, pictures, [table])


def _percent(found: Mapping[str, float], name: str) -> tuple[float, float]:
    return 100 * found[name], 100 * found[f"{name}_error"]
