"""Drawing parts that every system's report uses; matplotlib is imported on use.

A part draws on axes that it is given and returns whether there was anything to draw.
A part never leaves a mute empty axis: its caller says so with `say`, or makes a
`Picture` that carries a sentence in place of a figure.
"""

import contextlib
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxphys.report.binning import Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# mplhep's ROOT style is drawn for 10 inch slides: its colours, ticks and font are
# kept, its sizes are brought down to a page
_PAGE = {
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "axes.linewidth": 0.9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#d9dce1",
    "grid.linestyle": "-",
    "grid.linewidth": 0.6,
    "grid.alpha": 1.0,
    "legend.fontsize": 9.5,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "xtick.major.size": 5,
    "xtick.minor.size": 2.5,
    "xtick.major.pad": 4,
    "ytick.major.size": 5,
    "ytick.minor.size": 2.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "figure.dpi": 100,
    "figure.facecolor": "white",
}


# columns by name, or one mapping of scalars per round
History = Mapping[str, Sequence[float] | np.ndarray] | Sequence[Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure of a report, or the reason why there is none.

    Attributes:
        name: file name without ending, unique in a report.
        caption: what is shown, one or two sentences.
        figure: the matplotlib figure; None when there is nothing to draw.
        reason: the sentence shown in place of a missing figure.
    """

    name: str
    caption: str
    figure: "Figure | None" = None
    reason: str = ""

    def __post_init__(self):
        if self.figure is None and not self.reason:
            raise ValueError(
                f"picture {self.name!r}: expected a figure or a reason, got neither"
            )


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Sets the house style while figures are made or saved."""
    import matplotlib
    import mplhep

    settings: Any = {**mplhep.style.ROOT, **_PAGE}
    with matplotlib.rc_context(settings):
        yield


def canvas(
    rows: int = 1, columns: int = 1, size: tuple[float, float] | None = None, **kwargs
) -> "tuple[Figure, np.ndarray]":
    """Returns a figure outside of pyplot's registry and its axes.

    Args:
        rows: number of rows of panels.
        columns: number of columns of panels.
        size: width and height in inches; default 6.4 by 4.2 for each panel.
        **kwargs: further arguments of `Figure.subplots`.

    Returns:
        The figure and its axes, [rows, columns].
    """
    from matplotlib.figure import Figure

    figure = Figure(size or (6.4 * columns, 4.2 * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def png(figure: "Figure", dpi: int = 150) -> bytes:
    """Returns the figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    with style():
        figure.set_dpi(dpi)
        engine = figure.get_layout_engine()
        if engine is not None:  # savefig would draw once more to lay out
            engine.execute(figure)
            figure.set_layout_engine("none")
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def say(ax: "Axes", sentence: str) -> None:
    """Writes a sentence in place of an axis that has nothing to show."""
    ax.set_axis_off()
    ax.text(
        0.5, 0.5, sentence, ha="center", va="center", wrap=True, transform=ax.transAxes
    )


def histogram(
    ax: "Axes", values, edges, *, label: str = "", fill: bool = False, **kwargs
) -> bool:
    """Draws counts per bin and notes in the label what lies outside of the bins.

    Args:
        ax: the axes.
        values: the entries, any shape.
        edges: bin edges [B + 1].
        label: text of the legend; the counts below, above and not finite are added.
        fill: whether the area is filled.
        **kwargs: further arguments of `Axes.stairs`.

    Returns:
        Whether any entry lies inside of the bins.
    """
    values, edges = np.ravel(np.asarray(values, np.float64)), np.asarray(edges)
    finite = values[np.isfinite(values)]
    counts, _ = np.histogram(finite, edges)
    outside = {
        "below": int(np.sum(finite < edges[0])),
        "above": int(np.sum(finite > edges[-1])),
        "not finite": values.size - finite.size,
    }
    note = ", ".join(f"{n:,} {where}" for where, n in outside.items() if n)
    if not counts.any():
        return False
    text = f"{label} ({note})" if label and note else label or note
    ax.stairs(counts, edges, label=text or None, fill=fill, **kwargs)
    return True


def curve_with_band(
    ax: "Axes", x, middle, low, high, *, label: str = "", color: Any = None
) -> bool:
    """Draws a curve and the band between low and high around it, all [N]."""
    x, middle = np.asarray(x), np.asarray(middle, np.float64)
    if not np.isfinite(middle).any():
        return False
    (line,) = ax.plot(x, middle, label=label or None, color=color)
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    return True


def draw_profile(
    ax: "Axes", profile: Profile, *, label: str = "", width: bool = False, **kwargs
) -> bool:
    """Draws a profile as points with error bars.

    Args:
        ax: the axes, with their scales already set (points sit in the middle of the
            bin as it is seen, and a value of 0 cannot be drawn on a log scale).
        profile: what to draw.
        label: text of the legend.
        width: whether horizontal bars show the bins.
        **kwargs: further arguments of `Axes.errorbar`.

    Returns:
        Whether any point was drawn.
    """
    keep = np.isfinite(profile.value)
    if ax.get_yscale() == "log":
        keep &= profile.value > 0
    if not keep.any():
        return False
    low, high = profile.low[keep], profile.high[keep]
    x = np.sqrt(low * high) if ax.get_xscale() == "log" else (low + high) / 2
    kwargs = {"fmt": "o", "elinewidth": 1.1, **kwargs}
    ax.errorbar(
        x,
        profile.value[keep],
        yerr=profile.error[:, keep],
        xerr=np.stack([x - low, high - x]) if width else None,
        label=label or None,
        **kwargs,
    )
    return True


def map2d(
    ax: "Axes",
    x,
    y,
    values,
    x_edges,
    y_edges,
    *,
    label: str,
    statistic: str = "mean",
    log: bool = False,
    min_count: int = 1,
    limits: tuple[float, float] | None = None,
) -> bool:
    """Draws a statistic of values in cells of x and y with a colour bar.

    Args:
        ax: the axes.
        x: positions [N].
        y: positions [N].
        values: values [N]; those that are not finite are left out.
        x_edges: cell edges in x.
        y_edges: cell edges in y.
        label: text of the colour bar, with unit.
        statistic: "mean", "median" or another of `scipy.stats.binned_statistic_2d`.
        log: whether the colours are logarithmic.
        min_count: entries below which a cell stays blank.
        limits: range of the colours; default the full range of the cells.

    Returns:
        Whether any cell was drawn.
    """
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
    from scipy.stats import binned_statistic_2d

    x, y, values = (np.asarray(v, np.float64) for v in (x, y, values))
    keep = np.isfinite(x) & np.isfinite(y) & np.isfinite(values)
    if not keep.any():
        return False
    edges: Any = [np.asarray(x_edges), np.asarray(y_edges)]
    points = (x[keep], y[keep])
    cells = binned_statistic_2d(*points, values[keep], statistic, edges).statistic
    count, _, _ = np.histogram2d(*points, edges)
    cells = np.where(count >= min_count, cells, np.nan)
    if log:
        cells = np.where(cells > 0, cells, np.nan)
    if not np.isfinite(cells).any():
        return False
    low, high = limits or (np.nanmin(cells), np.nanmax(cells))
    norm = LogNorm(low, high) if log and low < high else Normalize(low, high)
    mesh = ax.pcolormesh(*edges, cells.T, norm=norm, cmap="viridis", rasterized=True)
    ax.grid(False)
    outside = {"both": (True, True), "max": (False, True), "min": (True, False)}
    beyond = (bool(np.nanmin(cells) < low), bool(np.nanmax(cells) > high))
    extend = next((k for k, v in outside.items() if v == beyond), "neither")
    bar = ax.figure.colorbar(mesh, ax=ax, label=label, extend=extend)
    if isinstance(norm, LogNorm) and high < 100 * low:
        # powers of ten alone would leave such a bar without numbers
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        bar.ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
    return True


def history_columns(
    history: History,
) -> dict[str, np.ndarray]:
    """Returns a training history as one float column per name.

    Args:
        history: columns by name, or one mapping of scalars per round; a scalar that
            a round lacks becomes NaN, text is left out.

    Returns:
        Columns by name.
    """
    if isinstance(history, Mapping):
        return {k: np.asarray(v, np.float64) for k, v in history.items()}
    names = dict.fromkeys(
        name for row in history for name in row if not isinstance(row[name], str)
    )
    return {
        name: np.asarray([row.get(name, np.nan) for row in history], np.float64)
        for name in names
    }


def history_by_epoch(history: History) -> dict[str, np.ndarray]:
    """Returns `history_columns` with `epoch`, the rounds that were finished."""
    columns = history_columns(history)
    return {**columns, "epoch": columns["round"]} if "round" in columns else columns


def training_curves(
    history: History,
    losses: Mapping[str, str],
    *,
    rate: str = "",
    best: str = "",
    xlabel: str = "epoch",
    ylabel: str = "loss",
    name: str = "training",
    caption: str = "Loss and learning rate after every epoch.",
) -> Picture:
    """Returns the curves of a training, the learning rate in a panel below.

    Args:
        history: see `history_columns`; a column "epoch" gives the abscissa.
        losses: column name -> text of the legend, for the upper panel.
        rate: column of the learning rate; empty: no lower panel.
        best: column whose smallest value is marked; empty: no mark.
        xlabel: text below.
        ylabel: text of the upper panel, with unit.
        name: file name of the picture.
        caption: caption of the picture.

    Returns:
        The picture; without a figure when the history holds no finite loss.
    """
    from matplotlib.ticker import MaxNLocator

    columns = history_columns(history)
    known = {k for k, v in columns.items() if np.isfinite(v).any()}
    shown = {key: text for key, text in losses.items() if key in known}
    if not shown:
        return Picture(name, caption, reason="The history of this run holds no loss.")
    has_rate = rate in known
    rounds = max(len(columns[k]) for k in shown)
    epoch = columns.get("epoch", np.arange(1, rounds + 1))
    with style():
        ratios = {"height_ratios": [2.4, 1]} if has_rate else {}
        size = (7.2, 5.2 if has_rate else 4.2)
        figure, axes = canvas(1 + has_rate, 1, size, sharex=True, gridspec_kw=ratios)
        top, bottom = axes[0, 0], axes[-1, 0]
        for key, text in shown.items():
            _curve(top, epoch, columns[key], label=text)
        if all(np.nanmin(columns[k]) > 0 for k in shown):
            top.set_yscale("log")
        if best in shown:
            at = int(np.nanargmin(columns[best]))
            note = f"best: {xlabel} {epoch[at]:g}"
            point = (epoch[at], columns[best][at])
            top.plot(*point, "*", color="black", markersize=10, label=note)
        top.set_ylabel(ylabel)
        top.legend()
        if has_rate:
            _curve(bottom, epoch, columns[rate], color="#717581")
            top_rate = np.nanmax(columns[rate])
            bottom.set(ylabel="learning rate", ylim=(0, 1.1 * top_rate or 1.0))
        bottom.set_xlabel(xlabel)
        bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    return Picture(name, caption, figure)


def _curve(ax: "Axes", x: np.ndarray, y: np.ndarray, **kwargs) -> None:
    keep = np.isfinite(y)
    # a line through a single point is invisible
    ax.plot(x[: len(y)][keep], y[keep], "o" if keep.sum() == 1 else "-", **kwargs)
