"""Figures of states and their transitions; matplotlib is imported on use."""

from collections.abc import Sequence

import numpy as np

from jaxphys.gdynet.analysis.kinetics import Kinetics
from jaxphys.gdynet.report.plots import GREY, Plot, color_of, grid_columns
from jaxphys.report import figures
from jaxphys.report.figures import Picture

_TIME_BINS = 200
# frames and changes of state of one target that can be read in a picture
_WINDOW, _CHANGES = 1500, 60
_KINDS = ("#a9c1f2", "#3f6fd8", "#1c3f91")  # no colours of states


def populations_in_time(
    predictions: Sequence[np.ndarray], names: Sequence[str], time_unit: float, unit: str
) -> Plot:
    """Returns the mean probabilities against the time since the start.

    Args:
        predictions: probabilities, [F_r, n, S] per trajectory.
        names: of the S states.
        time_unit: duration of a frame.
        unit: its name.
    """
    name = "populations_in_time"
    caption = (
        "Population of each state against the time since the start of a trajectory, "
        "mean over targets and trajectories. A drift means that the trajectories are "
        "not in equilibrium, and that the timescales are not those of equilibrium."
    )
    time, share = _mean_in_time(predictions)
    with figures.style():
        figure, axes = figures.canvas(1, 1, (9, 3.4))
        ax = axes[0, 0]
        for state, text in enumerate(names):
            mark = "o-" if len(time) == 1 else "-"
            color = color_of(state)
            ax.plot(time * time_unit, share[:, state], mark, color=color, label=text)
        if len(time) > 1:
            ax.set_xlim(0, (time[0] + time[-1]) * time_unit)
        ax.set(xlabel=f"time [{unit}]", ylabel="population", ylim=(0, 1))
        figure.legend(loc="outside right upper")
    columns = {"time": time * time_unit}
    columns |= {f"state_{text}": share[:, s] for s, text in enumerate(names)}
    return Plot(Picture(name, caption, figure), columns)


def _mean_in_time(predictions) -> tuple[np.ndarray, np.ndarray]:
    """Returns middles of time bins in frames, [bins], and mean populations there."""
    longest = max(len(p) for p in predictions)
    total = np.zeros((longest, predictions[0].shape[2]))
    count = np.zeros(longest)
    for p in predictions:
        total[: len(p)] += p.sum(axis=1, dtype=np.float64)
        count[: len(p)] += p.shape[1]
    edges = np.unique(np.linspace(0, longest, _TIME_BINS + 1).astype(int))[:-1]
    frames = np.diff([*edges, longest])
    middle = edges + (frames - 1) / 2
    return middle, np.add.reduceat(total, edges) / np.add.reduceat(count, edges)[
        :, None
    ]


def along_target(
    predictions: Sequence[np.ndarray], names: Sequence[str], time_unit: float, unit: str
) -> Plot:
    """Returns the state probabilities of one target atom against time.

    Args:
        predictions: probabilities, [F_r, n, S] per trajectory.
        names: of the S states.
        time_unit: duration of a frame.
        unit: its name.
    """
    trajectory, target, start, end = _example(predictions)
    p = predictions[trajectory][start:end, target]
    time = np.arange(start, end) * time_unit
    caption = (
        f"Probabilities of target {target} of trajectory {trajectory} (counted from "
        f"0), stacked to one{_of_window(p, predictions)}. Not a typical choice: of the "
        "trajectories and targets that were looked at, it changes its state most often."
    )
    with figures.style():
        figure, axes = figures.canvas(1, 1, (9.6, 3.2))
        ax = axes[0, 0]
        colors = [color_of(s) for s in range(len(names))]
        ax.stackplot(time, p.T, colors=colors, labels=list(names), linewidth=0)
        ax.set(xlabel=f"time [{unit}]", ylabel="probability", ylim=(0, 1))
        if len(time) > 1:
            ax.set_xlim(time[0], time[-1])
        figure.legend(loc="outside right upper")
    columns = {"time": time}
    columns |= {f"state_{text}": p[:, s] for s, text in enumerate(names)}
    return Plot(Picture("along_target", caption, figure), columns)


def _of_window(p, predictions) -> str:
    return (
        ", in a piece of the trajectory"
        if len(p) < max(len(q) for q in predictions)
        else ""
    )


def _example(predictions, most: int = 200) -> tuple[int, int, int, int]:
    """Returns trajectory, target, first and last frame + 1 of what changes most."""
    best, place = -1, (0, 0, 0, 0)
    for index, p in enumerate(predictions[:most]):
        changes = np.diff(np.argmax(p[:, :most], axis=2), axis=0) != 0
        target = int(np.argmax(changes.sum(axis=0)))
        place_of = np.flatnonzero(changes[:, target])
        if len(place_of) > best:
            best = len(place_of)
            # from the start, as far as it can be read
            end = place_of[_CHANGES] + 1 if best > _CHANGES else len(p)
            place = (index, target, 0, int(min(end, _WINDOW, len(p))))
    return place


def transition_matrix(found: Kinetics, names: Sequence[str], lag: str) -> Plot:
    """Returns the transition matrix as a map, that of hard states beside it.

    Args:
        found: kinetics of S states.
        names: of the states.
        lag: in words, with its unit.
    """
    caption = (
        f"Probability to be in the state of the column after the lag {lag}, from the "
        "state of the row. Left: from the probabilities; right: from counts of the "
        "most probable states."
    )
    if found.constrained:
        caption += (
            " The operator has negative entries, so the best matrix without them "
            "stands on the left."
        )
    both = {"probabilities": found.transition, "most probable": found.hard_transition}
    size = len(names)
    with figures.style():
        side = float(np.clip(0.6 * size + 1.6, 3.2, 5.6))
        figure, axes = figures.canvas(1, 2, (2 * side, side))
        for ax, (title, matrix) in zip(axes[0], both.items(), strict=True):
            ax.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
            ax.grid(False)
            ax.minorticks_off()
            ax.tick_params(length=0)
            ticks = range(size)
            ax.set(title=title, xlabel="to", xticks=ticks, yticks=ticks)
            ax.set(xticklabels=names, yticklabels=names, ylabel="from")
            for (i, j), value in np.ndenumerate(matrix):
                ax.text(j, i, _short(value, size), ha="center", va="center",
                        fontsize=10 if size < 6 else 7.5,
                        color="white" if value > 0.55 else "black")  # fmt: skip
    columns = grid_columns(
        {"transition": found.transition, "hard_transition": found.hard_transition},
        "from", "to",
    )  # fmt: skip
    state = np.asarray(names)
    places = {key: state[columns[key]] for key in ("from", "to")}
    return Plot(Picture("transition_matrix", caption, figure), columns | places)


def _short(value: float, size: int) -> str:
    return f"{value:.3f}" if size < 6 else f"{value:.2f}".replace("0.", ".")


def transition_graph(
    found: Kinetics, names: Sequence[str], shown: Sequence[int], unit: str
) -> Plot:
    """Returns the states as circles and the rates between them as arrows.

    Args:
        found: kinetics of S states.
        names: of the states.
        shown: the states that are drawn.
        unit: name of the unit of time.
    """
    name = "transition_graph"
    caption = (
        "States with their stationary populations, which the area of a circle shows, "
        f"and rates [1/{unit}]: the logarithm of the transition matrix over the lag. "
        "Rates below 1% of the largest are left out."
    )
    shown = list(shown)
    pick = np.ix_(shown, shown)
    rates = found.rates[pick]
    if len(shown) < 2 or not np.isfinite(rates).all():
        reason = "There is one state: no transition to draw."
        if len(shown) > 1:
            reason = "No rates: the transition matrix has no real logarithm."
        return Plot.missing(name, caption, reason)
    off = np.where(np.eye(len(shown)) > 0, 0.0, rates)
    if off.max() <= 0:
        return Plot.missing(name, caption, "No state is ever left: no rate to draw.")
    if len(shown) == 2:
        points = np.array([[-0.75, 0.0], [0.75, 0.0]])
    else:
        angle = np.pi / 2 - 2 * np.pi * np.arange(len(shown)) / len(shown)
        points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    with figures.style():
        low, high = points[:, 1].min() - 0.4, points[:, 1].max() + 0.4
        figure, axes = figures.canvas(1, 1, (7.2, 2.35 * (high - low)))
        ax = axes[0, 0]
        ax.set_axis_off()
        ax.set(xlim=(-1.5, 1.5), ylim=(low, high), aspect="equal")
        radius = np.sqrt(np.clip(found.stationary[shown], 0.02, 1)) * 0.38
        for i, j in zip(*np.nonzero(off > 0.01 * off.max()), strict=True):
            part = off[i, j] / off.max()
            _arrow(ax, points[i], points[j], radius[[i, j]], part, f"{off[i, j]:.3g}")
        for at, state in enumerate(shown):
            _circle(ax, points[at], radius[at], color_of(state), names[state],
                    found.stationary[state])  # fmt: skip
    columns = grid_columns({"rate": rates}, "from", "to")
    state = np.asarray([names[s] for s in shown])
    places = {key: state[columns[key]] for key in ("from", "to")}
    return Plot(Picture(name, caption, figure), columns | places)


def _circle(ax, centre, radius, color, name, population) -> None:
    from matplotlib.patches import Circle

    ax.add_patch(Circle(centre, radius, facecolor=color, edgecolor="white", zorder=3))
    text = f"{name}\n{100 * population:.3g}%"
    inside = radius > 0.13
    where = centre if inside else centre * (1 + (radius + 0.17) / np.hypot(*centre))
    ax.text(*where, text, ha="center", va="center", zorder=4, fontsize=10,
            color="white" if inside else "black")  # fmt: skip


def _arrow(ax, one, other, radius, part, text) -> None:
    """Draws an arrow to the left of the line between two circles, with its rate."""
    from matplotlib.patches import FancyArrowPatch

    along = (other - one) / np.hypot(*(other - one))
    side = np.array([-along[1], along[0]]) * 0.055
    start, end = one + along * radius[0] + side, other - along * radius[1] + side
    ax.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=13, shrinkA=3, shrinkB=2,
            linewidth=0.8 + 3 * part, color="#4a5262", zorder=2,
        )
    )  # fmt: skip
    # nearer to the tail, so that labels of crossing arrows do not meet
    where = start + 0.36 * (end - start) + 2.2 * side
    ax.text(*where, text, ha="center", va="center", fontsize=9.5, zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})  # fmt: skip


def autocorrelation(
    found: Kinetics, names: Sequence[str], time_unit: float, unit: str
) -> Plot:
    """Returns the autocorrelation of the populations.

    Args:
        found: kinetics of S states.
        names: of the states.
        time_unit: duration of a frame.
        unit: its name.
    """
    name = "autocorrelation"
    caption = (
        "Autocorrelation of the population of each state, mean over trajectories. The "
        "mean of each trajectory is removed, so that short trajectories give a "
        "correlation that is too small."
    )
    values = found.autocorrelation
    if not np.isfinite(values).any() or values.shape[1] < 2:
        return Plot.missing(name, caption, "No population changes in time.")
    time = np.arange(values.shape[1]) * time_unit
    with figures.style():
        figure, axes = figures.canvas(1, 1, (7.6, 3.2))
        ax = axes[0, 0]
        ax.axhline(0, color=GREY, linewidth=0.9)
        # two states mirror one another
        for state, text in enumerate(names):
            style = "--" if len(names) == 2 and state else "-"
            ax.plot(time, values[state], style, color=color_of(state), label=text)
        ax.set(xlabel=f"time [{unit}]", ylabel="autocorrelation", xlim=time[[0, -1]])
        figure.legend(loc="outside right upper")
    columns = {"time": time}
    columns |= {f"state_{text}": values[s] for s, text in enumerate(names)}
    return Plot(Picture(name, caption, figure), columns)


def populations(
    found: Kinetics, names: Sequence[str], exact: Sequence[float] = ()
) -> Plot:
    """Returns the populations in three ways, beside exact ones where known.

    Args:
        found: kinetics of S states.
        names: of the states.
        exact: population of each state; empty: unknown.
    """
    caption = (
        "Populations of the states: mean probability, stationary vector of the "
        "operator, and part of the atoms for which a state is the most probable."
    )
    bars = {
        "mean probability": found.mean,
        "stationary": found.stationary,
        "most probable": found.hard,
    }
    place = np.arange(len(names))
    with figures.style():
        figure, axes = figures.canvas(1, 1, (min(11, 3.5 + 1.1 * len(names)), 3.2))
        ax = axes[0, 0]
        for index, (text, values) in enumerate(bars.items()):
            where = place + 0.26 * (index - 1)
            ax.bar(where, values, 0.24, color=_KINDS[index], label=text)
        for at, value in enumerate(exact):
            label = "exact" if not at else None
            line = {"color": "black", "linestyle": "--", "linewidth": 1.3}
            ax.plot([at - 0.42, at + 0.42], [value] * 2, label=label, **line)
        ax.set(ylabel="population", xticks=place, xticklabels=names, xlabel="state")
        ax.tick_params(axis="x", which="both", length=0)
        figure.legend(loc="outside right upper")
    columns = {"state": np.asarray(names)} | {
        key.replace(" ", "_"): value for key, value in bars.items()
    }
    if len(exact):
        columns["exact"] = np.asarray(exact)
    return Plot(Picture("populations", caption, figure), columns)
