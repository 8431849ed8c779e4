"""Figures of how well tracks are found; matplotlib is imported on use."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.hypertrack.analysis.efficiency import (
    ACCEPTED_ETA,
    ACCEPTED_PT,
    EDGES,
    TrackTable,
    binomial_profile,
    pileup_edges,
)
from jaxphys.report import figures
from jaxphys.report.binning import Profile
from jaxphys.report.figures import Picture

COLORS = ("#3f6fd8", "#f89c20", "#964a8b", "#2f9e72", "#8c5a2b", "#e42536")
GREY = "#717581"
_MARKERS = "osD^vP"
_LABELS = {
    "pt": r"$p_\mathrm{T}$ [GeV]",
    "eta": r"$\eta$",
    "vertex_radius": "radius of the vertex [mm]",
    "num_hits": "hits of the track",
    "pileup": "true tracks of the event with at least 4 hits",
}
# the innermost layer, beyond which a particle cannot leave a hit on every layer
_FIRST_LAYER_MM = 32
_FEW_ENTRIES = 10
_SHIFT = 0.12  # of the width of a bin, from curve to curve
_DEFINITIONS = {
    "passed": "double majority",
    "lhc": "more than 75 % of the hits from one particle",
    "perfect": "all hits and no other",
}


def _edges(variable: str, tables: Mapping[str, TrackTable]) -> np.ndarray:
    if variable in EDGES:
        return EDGES[variable]
    return pileup_edges(np.concatenate([t.true[variable] for t in tables.values()]))


def _spread(ax: Any, edges: np.ndarray, index: int, count: int) -> np.ndarray:
    """Returns bin edges moved a little, so that several points can be told apart."""
    shift = (index - (count - 1) / 2) * _SHIFT
    if ax.get_xscale() == "log":
        return edges * (edges[1] / edges[0]) ** shift
    # bins of very different widths shall not move their points by as different steps
    widths = np.minimum(np.diff(edges), 2 * np.median(np.diff(edges)))
    if ax.get_xscale() == "symlog":
        widths = np.diff(edges) / 3
    return edges + shift * np.append(widths, widths[-1])


def _draw(
    ax: Any, x: Any, passed: Any, edges: np.ndarray, place: Any, **look: Any
) -> Profile:
    profile = binomial_profile(x, passed, edges)
    moved = dataclasses.replace(profile, low=place[:-1], high=place[1:])
    figures.draw_profile(ax, moved, **look)
    return profile


def efficiency(tables: Mapping[str, TrackTable], variable: str) -> Picture:
    """Returns efficiency and, below, fake rate against a property of the tracks.

    Args:
      tables: name of the clustering -> its tracks on the same events.
      variable: pt, eta, vertex_radius, num_hits or pileup.
    """
    name = f"efficiency_{variable}"
    has_fakes = variable != "vertex_radius"
    caption = _efficiency_caption(variable, has_fakes)
    if not any(len(t.true["pt"]) for t in tables.values()):
        return Picture(name, caption, reason="No true track has at least 4 hits.")
    edges = _edges(variable, tables)
    rows = 2 if has_fakes else 1
    ratios = {"height_ratios": [1.5, 1][:rows]}
    with figures.style():
        size = (10.6, 5.6 if has_fakes else 4.0)
        figure, axes = figures.canvas(rows, 1, size, sharex=True, gridspec_kw=ratios)
        top, bottom = axes[0, 0], axes[-1, 0]
        scale = {"pt": "log", "vertex_radius": "symlog"}.get(variable, "linear")
        options = {"linthresh": 1.0} if scale == "symlog" else {}
        top.set_xscale(scale, **options)
        fakes: list[Profile] = []
        for index, (text, table) in enumerate(tables.items()):
            color = COLORS[index % len(COLORS)]
            look = {"color": color, "fmt": _MARKERS[index % len(_MARKERS)]}
            place = _spread(top, edges, index, len(tables))
            chosen = _denominator(table.true, variable)
            x, passed = table.true[variable][chosen], table.true["passed"][chosen]
            wrong = ~table.reco["matched"]
            label = f"{text}: {_percent(passed)}, fakes {_percent(wrong)}"
            _draw(top, x, passed, edges, place, label=label, **look)
            if has_fakes:
                found = table.reco[variable]
                fakes.append(_draw(bottom, found, wrong, edges, place, **look))
        top.set(ylabel="efficiency", ylim=(0, 1.03))
        figure.legend(*top.get_legend_handles_labels(), loc="outside right upper")
        if has_fakes:
            bottom.set(ylabel="fake rate", ylim=(0, _fake_top(fakes)))
        if variable == "vertex_radius":
            top.axvline(_FIRST_LAYER_MM, color=GREY, linestyle=":", linewidth=1.1)
            top.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        margin = 0.03 * (edges[-1] - edges[0]) if variable == "pileup" else 0
        if variable == "vertex_radius":
            margin = 0.2  # the first bin ends at 0, its points lie to both sides of it
        bottom.set(xlabel=_LABELS[variable])
        bottom.set_xlim(edges[0] - margin, edges[-1] + margin)
        if variable == "pt":
            bottom.set_xticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"])
    return Picture(name, caption, figure)


def _percent(flags: np.ndarray) -> str:
    return f"{100 * flags.mean():.1f} %" if len(flags) else "none"


def _denominator(true: Mapping[str, np.ndarray], variable: str) -> np.ndarray:
    """Returns which true tracks count: each curve cuts on the other kinematics."""
    chosen = np.ones(len(true["pt"]), bool)
    if variable == "pt":
        chosen &= np.abs(true["eta"]) < ACCEPTED_ETA
    elif variable == "eta":
        chosen &= true["pt"] > ACCEPTED_PT
    return chosen


def _efficiency_caption(variable: str, has_fakes: bool) -> str:
    cut = {
        "pt": f", |η| < {ACCEPTED_ETA}",
        "eta": f", pT > {ACCEPTED_PT} GeV",
    }.get(variable, "")
    text = (
        f"Efficiency (double majority; true tracks with at least 4 hits{cut}) against "
        f"{_PLAIN[variable]}"
    )
    if has_fakes:
        fitted = variable in ("pt", "eta")
        text += "; below, reconstructed tracks of at least 4 hits without a match"
        text += (
            ", against the value of a helix through their hits" if fitted else ""
        )  # fmt: skip
    else:
        text += "; the dotted line is the innermost layer"
    return text + ". Clopper–Pearson errors of 68 %; the legend gives both in total."


_PLAIN = {
    "pt": "transverse momentum",
    "eta": "pseudorapidity",
    "vertex_radius": "the radius at which the particle begins",
    "num_hits": "the number of hits",
    "pileup": "the number of true tracks of the event",
}


def _fake_top(profiles: Sequence[Profile]) -> float:
    """Returns an upper end that bins with few entries do not set."""
    values = [p.value[p.count >= _FEW_ENTRIES] for p in profiles]
    highest = np.concatenate([np.zeros(1), *values]).max()
    return float(np.clip(1.25 * highest, 0.05, 1.03))


def definitions(table: TrackTable) -> Picture:
    """Returns the efficiency against pT by three definitions of a found track."""
    name = "efficiency_definitions"
    caption = (
        "Efficiency against transverse momentum by three definitions of a found track "
        f"(true tracks with at least 4 hits, |η| < {ACCEPTED_ETA}): double majority, "
        "LHC (more than 75 % of the reconstructed hits from one particle) and perfect "
        "(all hits of the particle and no other). Clopper–Pearson errors of 68 %."
    )
    true = table.true
    chosen = _denominator(true, "pt")
    if not chosen.any():
        return Picture(name, caption, reason="No true track has at least 4 hits.")
    with figures.style():
        figure, axes = figures.canvas(1, 1, (10.6, 4.2))
        ax = axes[0, 0]
        ax.set_xscale("log")
        for index, (field, text) in enumerate(_DEFINITIONS.items()):
            found = true[field][chosen]
            place = _spread(ax, EDGES["pt"], index, len(_DEFINITIONS))
            look = {"color": COLORS[index], "fmt": _MARKERS[index]}
            label = f"{text}: {100 * found.mean():.1f} %"
            _draw(
                ax, true["pt"][chosen], found, EDGES["pt"], place, label=label, **look
            )
        ax.set(
            xlabel=_LABELS["pt"], ylabel="efficiency", ylim=(0, 1.03), xlim=(0.1, 10)
        )
        ax.set_xticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"])
        figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper")
    return Picture(name, caption, figure)


def hit_counts(table: TrackTable, size: int = 21) -> Picture:
    """Returns true against reconstructed numbers of hits of the matches."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator

    name = "hit_counts"
    caption = (
        "Number of hits of true tracks and of the reconstructed tracks that match "
        "them. On the diagonal no hit is missing or too many (or as many of each). "
        "Right: parts of the hits of a true track that were found, and of those of its "
        "match that are right."
    )
    true = table.true
    some = true["passed"]
    if not some.any():
        return Picture(name, caption, reason="No true track was found.")
    with figures.style():
        figure, axes = figures.canvas(1, 2, (11.4, 4.4))
        left, right = axes[0]
        edges = np.arange(3.5, size)
        counts, _, _ = np.histogram2d(
            true["num_hits"][some], true["reco_hits"][some], [edges, edges]
        )
        shown = np.where(counts > 0, counts, np.nan)
        norm = LogNorm(1, max(counts.max(), 2))
        mesh = left.pcolormesh(edges, edges, shown.T, cmap="viridis", norm=norm)
        left.grid(False)
        figure.colorbar(mesh, ax=left, label="tracks")
        left.plot(edges[[0, -1]], edges[[0, -1]], color=GREY, linewidth=0.8)
        left.set(xlabel="true hits", ylabel="reconstructed hits", aspect="equal")
        for axis in (left.xaxis, left.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        bins = np.linspace(0.5, 1 + 1e-9, 26)
        for field, text, color in (
            ("hit_efficiency", "hit efficiency", COLORS[0]),
            ("hit_purity", "hit purity", COLORS[1]),
        ):
            label = f"{text}: mean {true[field][some].mean():.3f}"
            figures.histogram(
                right, true[field][some], bins, label=label, color=color, linewidth=1.6
            )  # fmt: skip
        right.set(xlabel="part of the hits", ylabel="tracks / bin", yscale="log")
        right.legend(loc="upper left")
    return Picture(name, caption, figure)


def stage_costs(
    num_hits: Sequence[int],
    seconds: Mapping[str, Sequence[float]],
    peak_bytes: Sequence[int],
) -> Picture:
    """Returns time by stage and memory of events against their number of hits.

    Args:
      num_hits: of each event, [E].
      seconds: stage -> wall time of each event, [E].
      peak_bytes: largest resident memory of each event, [E].
    """
    name = "costs"
    caption = (
        "Wall time of each stage and largest memory of the process against the number "
        "of hits of the event; the slope is the power of the number of hits with which "
        "a stage grows."
    )
    hits = np.asarray(num_hits, np.float64)
    if not len(hits):
        return Picture(name, caption, reason="No event was timed.")
    order = np.argsort(hits)
    with figures.style():
        figure, axes = figures.canvas(1, 2, (13, 4.2))
        left, right = axes[0]
        for index, (stage, values) in enumerate(seconds.items()):
            y = np.maximum(np.asarray(values, np.float64)[order], 1e-5)
            label = stage + _power(hits[order], y)
            marker = _MARKERS[index % len(_MARKERS)]
            look = {"color": COLORS[index % len(COLORS)], "label": label}
            left.loglog(hits[order], y, marker + "-", linewidth=0.9, **look)
        memory = np.asarray(peak_bytes, np.float64)[order] / 2**30
        right.plot(hits[order], memory, "o-", color=GREY, linewidth=0.9)
        left.set(xlabel="hits of the event", ylabel="wall time [s]")
        right.set(
            xlabel="hits of the event", ylabel="peak memory [GiB]", ylim=(0, None)
        )
        figure.legend(*left.get_legend_handles_labels(), loc="outside right upper")
    return Picture(name, caption, figure)


def _power(x: np.ndarray, y: np.ndarray) -> str:
    if len(x) < 3 or x[-1] < 1.5 * x[0]:
        return ""
    slope = np.polyfit(np.log(x), np.log(y), 1)[0]
    return f": slope {slope:.1f}"
