"""Figures of the structure around targets by state; matplotlib is imported on use."""

from collections.abc import Sequence

import numpy as np

from jaxphys.gdynet.analysis.environment import Environment
from jaxphys.gdynet.physics.elements import SYMBOLS
from jaxphys.gdynet.report.plots import GREY, Plot, color_of, grid_columns
from jaxphys.report import figures
from jaxphys.report.figures import Picture

_MOST_SPECIES = 6
_AXES = "xyz"


def radial(found: Environment, names: Sequence[str], shown: Sequence[int]) -> Plot:
    """Returns the neighbours of a target by distance, a panel for each species.

    Args:
        found: structure by state.
        names: of the S states.
        shown: the states that are drawn.
    """
    name = "radial"
    if found.radial is None:
        reason = (
            "The distances are the same in every frame: they cannot tell states apart."
        )
        return Plot.missing(name, "Neighbours of a target by distance.", reason)
    has_volume = bool(np.isfinite(found.radial.g).any())
    width = found.radial.r[1] - found.radial.r[0]
    values = found.radial.g if has_volume else found.radial.shells / width
    what = (
        "Radial distribution function g(r)"
        if has_volume
        else "Mean number of neighbours per ångström (g(r) would need the volume)"
    )
    end = found.radial.complete_to
    caption = (
        f"{what} around a target by state and species of the neighbour, from "
        f"{found.frames:,} frames. Only the {found.distances.shape[1]} nearest are "
    )
    caption += (
        f"stored: beyond the dotted line at {end:.3g} Å some are missing in some "
        "frames, and curves fall off for that reason."
        if end > found.radial.r[0]
        else "stored, so that curves are no densities at any distance."
    )
    kinds = [a for a in range(len(found.species)) if np.nanmax(values[:, a]) > 0]
    if len(kinds) > _MOST_SPECIES:
        caption += f" Shown are the first {_MOST_SPECIES} species."
        kinds = kinds[:_MOST_SPECIES]
    columns_of_panels = min(len(kinds), 2)
    rows = -(-len(kinds) // columns_of_panels)
    with figures.style():
        size = (10.4 if columns_of_panels > 1 else 7.6, 3.4 * rows)
        figure, axes = figures.canvas(rows, columns_of_panels, size)
        for ax in axes.flat[len(kinds) :]:
            ax.set_axis_off()
        for ax, kind in zip(axes.flat, kinds, strict=False):
            for state in shown:
                line = {"color": color_of(state), "label": names[state]}
                ax.plot(found.radial.r, values[state, kind], **line)
            if end > found.radial.r[0]:
                ax.axvline(end, color=GREY, linestyle=":")
            symbol = SYMBOLS[int(found.species[kind])]
            ylabel = "g(r)" if has_volume else "neighbours per Å"
            ax.set(title=f"{symbol} neighbours", xlabel="r [Å]", ylabel=ylabel)
            ax.set(ylim=(0, None), xlim=found.radial.r[[0, -1]])
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper")
    columns = grid_columns(
        {
            "neighbours_per_angstrom": found.radial.shells / width,
            "g": found.radial.g,
        },
        "state", "species", "r",
    )  # fmt: skip
    places = {
        "state": np.asarray(names)[columns["state"]],
        "species": found.species[columns["species"]],
        "r": found.radial.r[columns["r"]],
    }
    return Plot(Picture(name, caption, figure), columns | places)


def distances(found: Environment, names: Sequence[str], shown: Sequence[int]) -> Plot:
    """Returns the mean distance of the neighbours by rank.

    Args:
        found: structure by state.
        names: of the S states.
        shown: the states that are drawn.
    """
    name = "distances"
    caption = "Mean distance of the nearest neighbours of a target by rank and state."
    if found.radial is None:
        reason = "The distances are the same in every frame and state."
        return Plot.missing(name, caption, reason)
    rank = np.arange(1, found.distances.shape[1] + 1)
    if len(rank) == 1:
        means = (f"{names[s]}: {found.distances[s, 0]:.3g} Å" for s in shown)
        return Plot.missing(name, caption, f"One is stored. {', '.join(means)}.")
    with figures.style():
        figure, axes = figures.canvas(1, 1, (7.6, 3.4))
        ax = axes[0, 0]
        for state in shown:
            color, text = color_of(state), names[state]
            ax.plot(rank, found.distances[state], "o-", color=color, label=text)
        ax.set(xlabel="rank of the neighbour", ylabel="mean distance [Å]")
        ax.set_xlim(0.5, len(rank) + 0.5)
        ax.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(loc="outside right upper")
    columns = grid_columns({"distance": found.distances}, "state", "rank")
    state = np.asarray(names)[columns["state"]]
    columns |= {"state": state, "rank": columns["rank"] + 1}
    return Plot(Picture(name, caption, figure), columns)


def directions(found: Environment, names: Sequence[str], shown: Sequence[int]) -> Plot:
    """Returns the histogram of each component of the directions by state.

    Args:
        found: structure by state.
        names: of the S states.
        shown: the states that are drawn.
    """
    name = "directions"
    caption = (
        "Distribution of the components of the direction of a target by state, each "
        f"normalised to one, from {found.frames:,} frames."
    )
    if not found.directions.size:
        return Plot.missing(name, caption, "The data have no directions.")
    # a component that is the same for all atoms fills one bin; of a state that never
    # occurs nothing is known
    peaks = np.where(np.isnan(found.directions), 1.0, found.directions).max(axis=2)
    spread = [k for k in range(3) if peaks[:, k].min() < 1 - 1e-9]
    constant = [_AXES[k] for k in range(3) if k not in spread]
    if not spread:
        reason = "All targets have the same direction in all frames."
        return Plot.missing(name, caption, reason)
    if constant:
        caption += f" Constant, not drawn: {', '.join(constant)}."
    with figures.style():
        size = (3.5 * len(spread) + 1.4, 3.4) if len(spread) > 1 else (7.6, 3.4)
        figure, axes = figures.canvas(1, len(spread), size, sharey=True)
        for ax, axis in zip(axes[0], spread, strict=True):
            for state in shown:
                counts = found.directions[state, axis]
                look = {"color": color_of(state), "linewidth": 1.6}
                ax.stairs(counts, found.direction_edges, label=names[state], **look)
            ax.set(xlabel=f"{_AXES[axis]} component", ylim=(0, None))
        axes[0, 0].set_ylabel("part of the state / bin")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper")
    columns = grid_columns({"part": found.directions}, "state", "component", "bin")
    place = columns.pop("bin")
    columns |= {
        "state": np.asarray(names)[columns["state"]],
        "component": np.asarray(list(_AXES))[columns["component"]],
        "low": found.direction_edges[place],
        "high": found.direction_edges[place + 1],
    }
    return Plot(Picture(name, caption, figure), columns)
