"""Pictures of single events in eta and phi; matplotlib is imported on use."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from jaxphys.hidden_vertex.inference.scored import Scored
from jaxphys.hidden_vertex.physics.graphs import knn_neighbours
from jaxphys.hidden_vertex.report.plots import BACKGROUND, SIGNAL, UNKNOWN
from jaxphys.report import figures
from jaxphys.report.figures import Picture

JET_RADIUS = 1.0
_AREA_PER_GEV = 0.8  # square points
_TURNS = (-2 * np.pi, 0.0, 2 * np.pi)  # what crosses phi = pi shows on both sides


@dataclasses.dataclass(frozen=True, eq=False)
class Display:
    """One event as it is drawn.

    Attributes:
        particles: [n, 3] pT in GeV, eta, phi.
        title: text above.
        color: of the particles.
        jets: (eta, phi) of the jets that are circled.
    """

    particles: np.ndarray
    title: str
    color: str = UNKNOWN
    jets: Sequence[tuple[float, float]] = ()


def displays_of(
    scored: Scored,
    positions: np.ndarray,
    particles_of: Callable[[int], np.ndarray],
    ranks: Sequence[int] | None = None,
) -> list[Display]:
    """Returns what is drawn of events.

    Args:
        scored: all events.
        positions: [n] which of them.
        particles_of: position -> particles [n, 3] pT in GeV, eta, phi.
        ranks: place of each among the most anomalous, for the title.
    """
    found = []
    for index, position in enumerate(int(p) for p in positions):
        kind, color = "", UNKNOWN
        if scored.label is not None:
            signal = scored.label[position] > 0
            kind, color = ("signal", SIGNAL) if signal else ("background", BACKGROUND)
        # the font of the figures has no raised digits
        score = f"{scored.score[position]:.3g}".replace("-", "−")
        place = "" if ranks is None else f"#{ranks[index]}  "
        parts = [
            f"{place}event {scored.event_id[position]}",
            kind,
            f"{scored.headline} {score}",
        ]
        mjj = scored.observables.get("mjj")
        if mjj is not None and np.isfinite(mjj[position]):
            parts.append(f"$m_{{jj}}$ {mjj[position] / 1000:.2f} TeV")
        particles = np.asarray(particles_of(position))
        title = "  ·  ".join(p for p in parts[:2] if p) + "\n" + "  ·  ".join(parts[2:])
        found.append(Display(particles, title, color, _jets(scored, position)))
    return found


def _jets(scored: Scored, position: int) -> list[tuple[float, float]]:
    found = []
    for jet in (1, 2):
        names = (f"pt{jet}", f"eta{jet}", f"phi{jet}")
        if any(name not in scored.observables for name in names):
            continue
        pt, eta, phi = (float(scored.observables[name][position]) for name in names)
        # an event may hold one jet only
        if pt > 0 and np.isfinite(eta) and np.isfinite(phi):
            found.append((eta, phi))
    return found


def event_displays(
    events: Sequence[Display],
    name: str,
    caption: str,
    k: int = 6,
    periodic_phi: bool = False,
) -> Picture:
    """Returns events side by side, three in a row.

    Args:
        events: what to draw.
        name: file name of the picture.
        caption: its first sentence.
        k: neighbours of a particle whose edges are drawn; 0: no edges.
        periodic_phi: whether the graph wraps around phi.

    Returns:
        The picture; without a figure when there is no event.
    """
    caption += (
        " Every particle has a dot, and a disc whose area is proportional to pT; "
        "circles show the two leading jets"
        f" (R = {JET_RADIUS:g}), which wrap around at φ = ±π"
    )
    caption += f"; faint lines are the edges of the graph (k = {k})." if k else "."
    if not events:
        return Picture(name, caption, reason="There is no event to display.")
    rows = -(-len(events) // 3)
    reach = max([np.abs(e.particles[:, 1]).max() for e in events if len(e.particles)],
                default=1.0)  # fmt: skip
    reach = float(np.clip(np.ceil(2 * reach) / 2, 2.0, 5.0))
    with figures.style():
        figure, axes = figures.canvas(rows, 3, (11, 0.4 + 2.78 * rows))
        for index, ax in enumerate(axes.ravel()):
            if index >= len(events):
                ax.set_axis_off()
                continue
            _draw(ax, events[index], k, periodic_phi)
            ax.set(xlim=(-reach, reach), ylim=(-np.pi, np.pi), aspect="equal")
            ax.set_title(events[index].title, fontsize=9, loc="left")
            ax.set_yticks([-np.pi, 0, np.pi], [r"$-\pi$", "0", r"$\pi$"])
            ax.tick_params(axis="y", which="minor", left=False, right=False)
            if index % 3 == 0:
                ax.set_ylabel("φ")
            if index >= len(events) - 3:
                ax.set_xlabel("η")
        _scale(figure)
    return Picture(name, caption, figure)


def _draw(ax, event: Display, k: int, periodic_phi: bool) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Circle

    ax.grid(False)
    pt, place = event.particles[:, 0], event.particles[:, 1:].astype(np.float64)
    if k and len(place) > 1:
        lines = _edges(place, k, periodic_phi)
        ax.add_collection(
            LineCollection(list(lines), colors="#9aa2ae", linewidths=0.35, alpha=0.55),
            autolim=False,
        )
    ax.scatter(*place.T, s=2.0, color=event.color, linewidths=0, zorder=3)
    order = np.argsort(-pt)  # small ones stay visible on top of the large ones
    ax.scatter(
        *place[order].T, s=_AREA_PER_GEV * pt[order], color=event.color, alpha=0.55,
        linewidths=0, zorder=3,
    )  # fmt: skip
    for eta, phi in event.jets:
        for turn in _TURNS:
            look = {"edgecolor": "black", "linewidth": 1.0, "zorder": 4}
            ax.add_patch(Circle((eta, phi + turn), JET_RADIUS, fill=False, **look))


def _edges(place: np.ndarray, k: int, periodic_phi: bool) -> np.ndarray:
    """Returns the edges as lines [M, 2, 2] of eta and phi."""
    neighbour = knn_neighbours(place, k, periodic_phi)
    start = np.repeat(place, neighbour.shape[1], axis=0)
    stop = place[neighbour.reshape(-1)]
    lines = np.stack([start, stop], axis=1)
    if not periodic_phi:
        return lines
    step = lines[:, 1, 1] - lines[:, 0, 1]
    lines[:, 1, 1] -= 2 * np.pi * np.round(step / (2 * np.pi))
    outside = np.abs(lines[:, 1, 1]) > np.pi
    again = lines[outside].copy()
    # the other half of an edge over the border starts on the other side
    again[:, :, 1] -= 2 * np.pi * np.sign(again[:, 1:, 1])
    return np.concatenate([lines, again])


def _scale(figure) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], marker="o", linestyle="", color=UNKNOWN, alpha=0.55,
            markeredgewidth=0, markersize=np.sqrt(_AREA_PER_GEV * pt),
            label=f"{pt:,} GeV",
        )
        for pt in (1, 10, 100, 500)
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper right", ncols=4, title=None)
