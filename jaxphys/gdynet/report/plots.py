"""Figures of a kinetic analysis; matplotlib is imported on use.

A figure comes with the columns of numbers that it shows, for a table beside it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxphys.gdynet.analysis.analysis import Analysis
from jaxphys.gdynet.analysis.uncertainty import ChapmanKolmogorov
from jaxphys.report import figures
from jaxphys.report.figures import Picture

COLORS = ("#3f6fd8", "#e42536", "#2f9e72", "#f89c20", "#964a8b", "#1a9fb4",
          "#8c5a2b", "#c2528b", "#6b7a1e", "#9c9ca1")  # fmt: skip
GREY = "#717581"
MOST_STATES = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Plot:
    """A picture and the numbers in it.

    Attributes:
        picture: what the report shows.
        columns: name -> values, all of one length; empty without a figure.
    """

    picture: Picture
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @classmethod
    def missing(cls, name: str, caption: str, reason: str) -> "Plot":
        """Returns a sentence in place of a figure."""
        return cls(Picture(name, caption, reason=reason))


def color_of(index: int) -> str:
    """Returns the colour of a state or process."""
    return COLORS[index % len(COLORS)]


def frames_of(count: int) -> str:
    """Returns "1 frame", "2 frames" and so on."""
    return "1 frame" if count == 1 else f"{count} frames"


def grid_columns(values: Mapping[str, np.ndarray], *axes: str) -> dict[str, np.ndarray]:
    """Returns arrays of one shape as columns, with the indices of their axes."""
    shape = next(iter(values.values())).shape
    places = np.indices(shape).reshape(len(shape), -1)
    columns: dict[str, np.ndarray] = dict(zip(axes, places, strict=True))
    return columns | {name: np.ravel(value) for name, value in values.items()}


def timescales(
    analysis: Analysis, unit: str, exact: Sequence[float] = (), most: int = MOST_STATES
) -> Plot:
    """Returns the implied timescales against the lag.

    Args:
        analysis: of the predictions.
        unit: name of the unit of time.
        exact: known timescales, the slowest first.
        most: processes that get a colour, of those that are resolved at the lag tau.
    """
    name = "timescales"
    caption = (
        "Implied timescales against the lag, with 95% intervals. In the shaded region "
        "a process is faster than the lag, so that it cannot be told from no process "
        "at all; curves there are thin. The dotted line is the lag of the model."
    )
    if exact:
        caption += " Dashed: exact timescales."
    if analysis.collapsed or not np.isfinite(analysis.timescales).any():
        reason = "unresolved: no process has a timescale at any lag."
        return Plot.missing(name, caption, reason)
    with figures.style():
        figure, axes = figures.canvas(1, 1, (8.6, 4.8))
        ax, named = axes[0, 0], analysis.resolved_processes[:most].tolist()
        ax.set(xscale="log", yscale="log")
        for process in range(len(analysis.timescales)):
            _timescale_curve(ax, analysis, process, process in named)
        for process, rank in enumerate(analysis.rank):
            if 0 <= rank < len(exact):
                color = color_of(process) if process in named else GREY
                note = f"exact: {exact[rank]:.4g} {unit}"
                ax.axhline(exact[rank], color=color, ls="--", lw=1.2, label=note)
        note = f"lag of the model, {frames_of(analysis.tau)}"
        at = analysis.tau * analysis.time_unit
        ax.axvline(at, color="black", linestyle=":", linewidth=1.2, label=note)
        _timescale_axes(ax, analysis, exact)
        ax.set(xlabel=f"lag [{unit}]", ylabel=f"implied timescale [{unit}]")
        figure.legend(loc="outside right upper")
    columns = grid_columns(
        {
            "timescale": analysis.timescales,
            "lower": analysis.lower,
            "upper": analysis.upper,
            "resolved": analysis.resolved.astype(int),
        },
        "process",
        "lag",
    )
    lag = columns.pop("lag")
    columns["process"] = columns["process"] + 1
    frames = analysis.lags[lag]
    start = {"lag_frames": frames, "lag_time": frames * analysis.time_unit}
    return Plot(Picture(name, caption, figure), start | columns)


def _timescale_axes(ax, analysis: Analysis, exact: Sequence[float]) -> None:
    """Sets the limits, and shades where a timescale is below its lag."""
    from matplotlib.ticker import LogLocator, NullFormatter

    time = analysis.lags * analysis.time_unit
    shown = analysis.timescales[np.isfinite(analysis.timescales)]
    known = [v for v in exact[: len(analysis.timescales)] if v > time[0] / 3]
    low = max(min([shown.min(), *known]), time[0] / 3) / 2
    high = max([shown.max(), time[-1], *known])
    edge = (time[0] / 1.15, time[-1] * 1.15) if len(time) == 1 else time[[0, -1]]
    ax.fill_between(edge, edge, low / 100, color="#e8eaee", linewidth=0, zorder=0.5)
    ax.plot(edge, edge, color=GREY, linewidth=0.9)
    ax.set(xlim=edge, ylim=(low, high * 1.6))
    for axis, (start, end) in ((ax.xaxis, edge), (ax.yaxis, ax.get_ylim())):
        axis.set_major_formatter("{x:g}")
        if end < 200 * start:  # powers of ten alone would be too few
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_minor_formatter(NullFormatter())


def _timescale_curve(ax, analysis: Analysis, process: int, named: bool) -> None:
    time = analysis.lags * analysis.time_unit
    values = analysis.timescales[process]
    color = color_of(process) if named else GREY
    resolved = analysis.resolved[process]
    ax.plot(time, values, "-", color=color, linewidth=0.8, alpha=0.6)
    strong = np.where(resolved, values, np.nan)
    label = f"process {process + 1}" if named else None
    look = {"color": color, "alpha": 1.0 if named else 0.6}
    ax.plot(time, strong, "o-", linewidth=1.8, label=label, **look)
    if resolved.any():
        low, high = (np.where(resolved, a, np.nan) for a in
                     (analysis.lower[process], analysis.upper[process]))  # fmt: skip
        ax.fill_between(time, low, high, color=color, alpha=0.2, linewidth=0)


def chapman_kolmogorov(
    ck: ChapmanKolmogorov,
    names: Sequence[str],
    shown: Sequence[int],
    step_time: float,
    unit: str,
) -> Plot:
    """Returns the Chapman-Kolmogorov test, a panel for each pair of states.

    Args:
        ck: the test of S states.
        names: of the S states.
        shown: the states that get a row and a column.
        step_time: duration of a step, the lag of the model.
        unit: name of the unit of time.
    """
    name = "chapman_kolmogorov"
    caption = (
        "Chapman–Kolmogorov test, from the state of the row to that of the column. "
        "Line: the operator at the lag of the model, multiplied with itself; points: "
        "the operator at the longer lag itself, with the standard deviation of their "
        "difference where the data suffice for it. States are Markovian where both "
        "agree. Panels beside the diagonal share one scale, those on it another."
    )
    size, count = len(shown), ck.predicted.shape[2]
    if size < 2:
        return Plot.missing(name, caption, "There is one state: nothing to test.")
    time = step_time * np.arange(count)
    pick = np.ix_(shown, shown)
    curves, points, errors = (a[pick] for a in (ck.predicted, ck.estimated, ck.error))
    limits = [_limits(curves, points, np.eye(size) == on) for on in (0, 1)]
    with figures.style():
        width = min(11.0, 3.2 * size + 0.6)
        high = max(1.35 * size + 0.6, 0.62 * width)
        figure, axes = figures.canvas(size, size, (width, high), sharex=True)
        for (i, j), ax in np.ndenumerate(axes):
            ax.plot(time, curves[i, j], "-", color=color_of(shown[i]))
            bars = np.nan_to_num(errors[i, j])
            ax.errorbar(time, points[i, j], bars, fmt="o", color="black", elinewidth=1)
            ax.set_ylim(limits[int(i == j)])
            text = f"{names[shown[i]]} → {names[shown[j]]}"
            ax.text(0.96, 0.92, text, transform=ax.transAxes, ha="right", va="top")
        figure.supxlabel(f"time [{unit}]", fontsize=11)
        figure.supylabel("entry of the operator", fontsize=11)
    columns = grid_columns(
        {"predicted": curves, "estimated": points, "error": errors},
        "from", "to", "step",
    )  # fmt: skip
    state = np.asarray([names[s] for s in shown])
    places = {"from": state[columns["from"]], "to": state[columns["to"]]}
    return Plot(Picture(name, caption, figure), columns | places)


def _limits(curves, points, which) -> tuple[float, float]:
    both = np.concatenate([curves[which].ravel(), points[which].ravel()])
    low, high = both.min(), both.max()
    margin = 0.12 * max(high - low, 0.02)
    return low - margin, high + 3 * margin  # room for the names


def singular_values(analysis: Analysis) -> Plot:
    """Returns the singular values of the whitened operator at the model's lag.

    Args:
        analysis: of the predictions.
    """
    name = "singular_values"
    caption = (
        "Singular values of the whitened operator at the lag of the model, means "
        "removed: their sum is VAMP-1, the sum of their squares VAMP-2. The one of the "
        "constant function is not among them."
    )
    values = analysis.singular_values[: analysis.num_states - 1]
    if not len(values):
        return Plot.missing(name, caption, "There is one state: no process to show.")
    number = np.arange(1, len(values) + 1)
    with figures.style():
        size = (min(9.0, 2.0 + 0.8 * len(values)), 2.8)
        figure, axes = figures.canvas(1, 1, size)
        ax = axes[0, 0]
        ax.bar(number, values, width=0.6, color=COLORS[0])
        for x, y in zip(number, values, strict=True):
            ax.annotate(f"{y:.3f}", (x, y), (0, 2), textcoords="offset points",
                        ha="center", fontsize=9)  # fmt: skip
        ax.set(xlabel="process", ylabel="singular value", ylim=(0, 1.12))
        ax.set(xlim=(0.4, len(values) + 0.6), xticks=number)
        ax.minorticks_off()
    columns = {"process": number, "singular_value": values}
    return Plot(Picture(name, caption, figure), columns)


_PANELS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("loss", "loss", {"train_loss": "training", "val_loss_avg": "validation"}),
    ("VAMP-1", "VAMP-1", {
        "train_vamp1": "training, mean of batches",
        "val_vamp1_full": "validation, whole set",
    }),
    ("VAMP-2", "VAMP-2", {
        "train_vamp2": "training, mean of batches",
        "val_vamp2_full": "validation, whole set",
        "val_vamp2_centred": "without the mean of each target",
        "val_vamp2_static": "labels that never change",
    }),
    ("gap", "training − validation", {"gap_vamp1": "VAMP-1", "gap_vamp2": "VAMP-2"}),
)  # fmt: skip


def training(
    columns: Mapping[str, ArrayLike], phases: Sequence[str], bound: int
) -> Plot:
    """Returns loss, VAMP-1, VAMP-2 and generalisation gap by epoch.

    Args:
        columns: epoch, train_loss, train_vamp1, train_vamp2, val_loss_avg,
            val_vamp1_full, val_vamp2_full, val_vamp2_static, val_vamp2_centred, as far
            as they are known.
        phases: name of the phase of each epoch.
        bound: the largest score, S - 1.
    """
    name = "training"
    caption = (
        "Training by epoch; phases of the loss are shaded in turn. Losses of different "
        "kinds have different scales, only the scores can be followed through. Dashed: "
        "the bound S − 1. Means over training batches lie above the score of a whole "
        "set, the more so the smaller the batch, so some of the gap is no overfitting."
    )
    found = {k: np.asarray(v, np.float64) for k, v in columns.items()}
    for kind in ("vamp1", "vamp2"):
        if f"train_{kind}" in found and f"val_{kind}_full" in found:
            found[f"gap_{kind}"] = found[f"train_{kind}"] - found[f"val_{kind}_full"]
    names = [key for *_, keys in _PANELS for key in keys]
    found = {k: found[k] for k in names if k in found and np.isfinite(found[k]).any()}
    if not found:
        return Plot.missing(name, caption, "The history of this run holds no scores.")
    count = max(len(v) for v in found.values())
    epoch = np.asarray(columns.get("epoch", np.arange(1, count + 1)), np.float64)
    starts = _phase_starts(phases, count)
    with figures.style():
        figure, axes = figures.canvas(2, 2, (11, 6.8), sharex=True)
        for ax, (title, label, keys) in zip(axes.flat, _PANELS, strict=True):
            _phases(ax, epoch, starts, phases if title == "loss" else ())
            shown = {key: text for key, text in keys.items() if key in found}
            if not shown:
                figures.say(ax, "not recorded")
                continue
            for index, (key, text) in enumerate(shown.items()):
                _by_phase(ax, epoch, found[key], starts if title == "loss" else [0],
                          color_of(index), text)  # fmt: skip
            if title.startswith("VAMP"):
                ax.axhline(bound, color=GREY, linestyle="--", linewidth=1)
            if title == "gap":
                ax.axhline(0, color=GREY, linewidth=1)
            ax.set_ylabel(label)
            ax.legend(loc="best", fontsize=8.5)
        for ax in axes[1]:
            ax.set_xlabel("epoch")
            ax.xaxis.get_major_locator().set_params(integer=True)
    listed: dict[str, Any] = {"epoch": epoch}
    if len(phases) == count:
        listed["phase"] = np.asarray(phases)
    return Plot(Picture(name, caption, figure), listed | found)


def _phase_starts(phases: Sequence[str], count: int) -> list[int]:
    if len(phases) != count:
        return [0]
    return [i for i in range(count) if not i or phases[i] != phases[i - 1]]


def _phases(ax, epoch: np.ndarray, starts: list[int], phases: Sequence[str]) -> None:
    edges = [epoch[s] - 0.5 for s in starts] + [epoch[-1] + 0.5]
    ax.set_xlim(edges[0], edges[-1])
    for index, start in enumerate(starts):
        if index % 2:
            ax.axvspan(edges[index], edges[index + 1], color="#eef0f4", zorder=0.5)
        if len(phases):
            middle = (edges[index] + edges[index + 1]) / 2
            ax.text(middle, 1.02, phases[start], ha="center", fontsize=9.5,
                    transform=ax.get_xaxis_transform())  # fmt: skip


def _by_phase(ax, epoch, values, starts, color, text) -> None:
    """Draws a curve that is broken where the phase changes."""
    ends = [*starts[1:], len(values)]
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        some = slice(start, end)
        mark = "o-" if end - start < 3 else "-"
        label = text if not index else None
        ax.plot(epoch[some], values[some], mark, color=color, label=label)
