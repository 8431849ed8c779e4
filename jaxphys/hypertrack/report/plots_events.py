"""Pictures of single events in x-y and r-z; matplotlib is imported on use."""

import numpy as np

from jaxphys.hypertrack.analysis.metrics import Matching
from jaxphys.hypertrack.inference.kept_graph import kept_graph
from jaxphys.hypertrack.physics.events import Event
from jaxphys.report import figures
from jaxphys.report.figures import Picture

WRONG, HIT, MISSED = "#e42536", "#c8ccd3", "#3b4250"
_PALETTE = (
    *("#3f6fd8", "#f89c20", "#2f9e72", "#964a8b", "#8c5a2b", "#17a2b8", "#c44e9b"),
    *("#7a8b1f", "#5b4fc4", "#d9772b", "#1f7a5c", "#b0549e", "#3c8dad", "#a0792c"),
)
_MOST_EDGES = 400
_VIEWS = (("x [mm]", "y [mm]"), ("z [mm]", "r [mm]"))


def event_display(
    event: Event,
    labels: np.ndarray,
    matching: Matching,
    edge_index: np.ndarray | None = None,
    prob: np.ndarray | None = None,
    threshold: float = 0.55,
    min_pt: float = 0.9,
    most: int = 80,
    name: str = "event",
) -> Picture:
    """Returns an event in x-y and r-z: truth, reconstruction and what is wrong.

    Args:
      event: with truth.
      labels: reconstructed track of each hit, or -1, [N].
      matching: of the labels with the truth.
      edge_index: candidate edges [2, E]; None draws no wrong edges.
      prob: of the edges, [E].
      threshold: an edge is kept when its probability is above.
      min_pt: GeV; only true tracks above are drawn as lines, and all of them if none
        is.
      most: tracks to draw; of more, those of largest transverse momentum.
      name: file name of the picture.
    """
    pt = np.where(matching.wanted, event.particles.pt, -1)
    if not (pt > min_pt).any():
        min_pt = 0.0
    if (pt > min_pt).sum() > most:
        min_pt = float(np.sort(pt)[-most - 1])
    wanted = pt > min_pt
    caption = _caption(event, matching, min_pt, edge_index is not None)
    if not event.num_hits:
        return Picture(name, caption, reason="This event has no hits.")
    pairs, total = _wrong_edges(event, edge_index, prob, threshold)
    with figures.style():
        figure, axes = figures.canvas(2, 3, (15, 9.2), height_ratios=[1.5, 1])
        for row, (x, y) in enumerate(_coordinates(event.position)):
            for ax in axes[row]:
                ax.plot(x, y, ".", color=HIT, markersize=1.6, rasterized=True, zorder=1)
                ax.set(xlabel=_VIEWS[row][0], ylabel=_VIEWS[row][1])
                ax.grid(False)
                if row == 0:
                    ax.set_aspect("equal", adjustable="datalim")
            truth = {int(t): _color(int(t)) for t in np.flatnonzero(wanted)}
            _lines(axes[row, 0], x, y, event, event.label, truth)
            _lines(axes[row, 1], x, y, event, *_reconstructed(labels, matching, truth))
            missed = {
                int(t): MISSED for t in np.flatnonzero(wanted & ~matching.passed)
            }  # fmt: skip
            _lines(axes[row, 2], x, y, event, event.label, missed)
            _segments(axes[row, 2], x, y, pairs)
        found = int((wanted & matching.passed).sum())
        axes[0, 0].set_title(f"truth: {int(wanted.sum())} tracks")
        fakes = int(matching.fake.sum())
        axes[0, 1].set_title(f"found: {found}, fakes of all momenta: {fakes}")
        few = "" if edge_index is None else f", {total:,} wrong edges"
        few += f" ({len(pairs[0])} drawn)" if total > len(pairs[0]) else ""
        axes[0, 2].set_title(f"missed: {int(wanted.sum()) - found}{few}")
    return Picture(name, caption, figure)


def _caption(event: Event, matching: Matching, min_pt: float, edges: bool) -> str:
    drawn = f"true tracks above {min_pt:.2g} GeV" if min_pt > 0 else "all true tracks"
    text = (
        f"Event {event.event_id} ({event.num_hits:,} hits, "
        f"{int(matching.wanted.sum()):,} tracks of at least 4 hits) in x-y and r-z. "
        f"Left: {drawn}. Middle: the reconstructed tracks "
        "that match them, in the colour of the true one, and fakes in red. Right: true "
        "tracks that were missed, in black"
    )
    return text + (
        ", and kept edges between different tracks, in red." if edges else "."
    )


def _color(track: int) -> str:
    return _PALETTE[track % len(_PALETTE)]


def _coordinates(position: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    x, y, z = np.asarray(position).T
    return (x, y), (z, np.hypot(x, y))


def _reconstructed(
    labels: np.ndarray, matching: Matching, truth: dict[int, str]
) -> tuple[np.ndarray, dict[int, str]]:
    """Returns the row of each hit's track and the colours of the rows to draw."""
    rows = np.full(len(labels), -1)
    assigned = labels >= 0
    rows[assigned] = np.unique(labels[assigned], return_inverse=True)[1]
    colors = {int(k): WRONG for k in np.flatnonzero(matching.fake)}
    for k in np.flatnonzero(matching.match_index >= 0):
        track = int(matching.match_index[k])
        if track in truth:
            colors[int(k)] = truth[track]
    return rows, colors


def _lines(ax, x, y, event: Event, track: np.ndarray, colors: dict[int, str]) -> None:
    """Joins the hits of tracks, from the beam line outwards."""
    from matplotlib.collections import LineCollection

    if not colors:
        return
    chosen = np.flatnonzero(np.isin(track, list(colors)))
    distance = np.linalg.norm(event.position[chosen], axis=1)
    order = chosen[np.lexsort((distance, track[chosen]))]
    points = np.stack([x[order], y[order]], axis=1)
    breaks = np.flatnonzero(np.diff(track[order])) + 1
    parts = np.split(points, breaks)
    paint = [colors[int(t)] for t in track[order[np.r_[0, breaks]]]]
    ax.add_collection(LineCollection(parts, colors=paint, linewidths=1.0, zorder=2))
    shade = [colors[int(t)] for t in track[order]]
    ax.scatter(x[order], y[order], c=shade, s=7, linewidths=0, zorder=3)


def _wrong_edges(
    event: Event,
    edge_index: np.ndarray | None,
    prob: np.ndarray | None,
    threshold: float,
) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Returns ends of some kept edges between different tracks, and their number."""
    none = np.zeros(0, int)
    if edge_index is None or prob is None:
        return (none, none), 0
    graph = kept_graph(edge_index, prob, event.num_hits, threshold)
    row = np.repeat(np.arange(event.num_hits), np.diff(graph.indptr))
    same = (event.label[row] == event.label[graph.column]) & (event.label[row] >= 0)
    wrong = np.flatnonzero(~same & (row < graph.column))
    total = len(wrong)
    if total > _MOST_EDGES:
        wrong = np.sort(np.random.default_rng(0).choice(wrong, _MOST_EDGES, False))
    return (row[wrong], graph.column[wrong]), total


def _segments(ax, x, y, pairs: tuple[np.ndarray, np.ndarray]) -> None:
    from matplotlib.collections import LineCollection

    if not len(pairs[0]):
        return
    a, b = (np.stack([x[p], y[p]], axis=1) for p in pairs)
    lines = LineCollection(
        list(np.stack([a, b], axis=1)), colors=WRONG, linewidths=0.8, alpha=0.6,
        zorder=1.5,
    )  # fmt: skip
    lines.set_rasterized(True)
    ax.add_collection(lines)
