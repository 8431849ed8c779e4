"""Figures of a track extrapolator's report; matplotlib is imported on use."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from jaxphys.report import binning, figures
from jaxphys.report.figures import Picture
from jaxphys.track_extrapolator.analysis.metrics import MOMENTUM_BINS

_NETWORK, _TAIL, _GREY = "#3f6fd8", "#e42536", "#717581"
_OTHERS = ("#f89c20", "#964a8b", "#2f9e72", "#9c9ca1", "#3b4250", "#8c5a2b")
_GROUP_COLORS = {"network": _NETWORK, "rk4": _TAIL, "other": "#3b4250"}
_BATCH_LOOKS = (("o", 9), ("s", 6), ("^", 6), ("v", 5), ("D", 4))  # marker, size
_LINES = ("--", "-.", ":", (0, (5, 1)), "-")


def error_histogram(errors: Mapping[str, np.ndarray]) -> Picture:
    """Returns the spectra of position errors, the first one filled.

    Args:
        errors: radial errors [N] in mm by the name of the method.

    Returns:
        The picture; without a figure when no error is positive.
    """
    name = "error_histogram"
    caption = (
        "Position error of every test track, in bins of equal ratio. "
        "Tracks outside of the axis, if any, are counted in the legend."
    )
    positive = {k: e[np.isfinite(e) & (e > 0)] for k, e in errors.items()}
    shown = [e for e in positive.values() if e.size]
    if not shown:
        return Picture(name, caption, reason="No test track has an error to show.")
    low = min(np.quantile(e, 0.002) for e in shown)
    high = max(e.max() for e in shown)
    # whole decades, so that the edges of the axis can be read
    first, last = np.floor(np.log10(low)), np.ceil(np.log10(high * 1.0001))
    # few tracks get wide bins
    per_decade = int(np.clip(np.sqrt(max(e.size for e in shown)) / 5, 3, 12))
    edges = np.logspace(first, last, int(last - first) * per_decade + 1)
    with figures.style():
        figure, axes = figures.canvas(size=(8.2, 4.6))
        ax = axes[0, 0]
        ax.set_xscale("log")
        for index, (label, error) in enumerate(errors.items()):
            color = _OTHERS[(index - 1) % len(_OTHERS)] if index else _NETWORK
            look = {"alpha": 0.45} if not index else {"linewidth": 1.5}
            figures.histogram(
                ax, error, edges, label=label, fill=not index, color=color, **look
            )
        ax.set(xlim=(edges[0], edges[-1]), ylim=(0, None))
        ax.set_xlabel("position error (dx² + dy²)$^{1/2}$ [mm]")
        ax.set_ylabel("tracks / bin")
        figure.legend(loc="outside upper center", ncols=3)
    return Picture(name, caption, figure)


def momentum_profile(
    p_gev, errors: Mapping[str, np.ndarray], log_bins: int = 20
) -> Picture:
    """Returns mean and 95% quantile of the position error against momentum.

    Args:
        p_gev: momenta [N], GeV.
        errors: radial errors [N] in mm by the name of the method; the first one is
            shown in both binnings, the others by their mean.
        log_bins: number of bins of equal ratio.

    Returns:
        The picture; without a figure when there is nothing to show.
    """
    name = "error_momentum"
    caption = (
        "Position error against momentum: points in "
        f"{log_bins} bins of equal ratio, bars in the five momentum bins of the "
        "tables; broken lines are the means of the other methods on the same tracks."
    )
    p_gev = np.asarray(p_gev, np.float64)
    usable = p_gev[np.isfinite(p_gev) & (p_gev > 0)]
    if not usable.size:
        return Picture(name, caption, reason="No test track has a momentum.")
    edges = binning.log_edges(usable.min(), usable.max() * (1 + 1e-9), log_bins)
    five = np.array([low for low, _ in MOMENTUM_BINS] + [MOMENTUM_BINS[-1][1]], float)
    five[0] = min(usable.min(), five[1] / 2)  # 0 has no place on a log axis
    with figures.style():
        figure, axes = figures.canvas(size=(8.2, 4.8))
        ax = axes[0, 0]
        ax.set(xscale="log", yscale="log")
        (label, error), *others = errors.items()
        drawn = [
            _both_binnings(ax, p_gev, error, (edges, five), statistic, text, color)
            for statistic, text, color in (
                ("mean", f"{label}: mean", _NETWORK),
                (0.95, f"{label}: 95% quantile", _TAIL),
            )
        ]
        for index, (other, values) in enumerate(others):
            profile = binning.bin_profile(p_gev, values, edges)
            middle = np.sqrt(profile.low * profile.high)
            style = _LINES[index % len(_LINES)]
            color = _OTHERS[index % len(_OTHERS)]
            ax.plot(middle, profile.value, ls=style, color=color, label=other)
        if not any(drawn):
            return Picture(name, caption, reason="No momentum bin holds two tracks.")
        _momentum_ticks(ax, usable)
        ax.set(xlabel="momentum p [GeV]", ylabel="position error [mm]")
        handles, labels = ax.get_legend_handles_labels()
        own = [text.startswith(label) for text in labels]
        first = sorted(range(len(labels)), key=lambda i: not own[i])
        figure.legend(
            [handles[i] for i in first], [labels[i] for i in first],
            loc="outside right upper",
        )  # fmt: skip
    return Picture(name, caption, figure)


def _both_binnings(ax, p_gev, error, edges, statistic, label, color) -> bool:
    fine, five = (binning.bin_profile(p_gev, error, e, statistic) for e in edges)
    bars = {"fmt": "none", "alpha": 0.45, "elinewidth": 3}
    figures.draw_profile(ax, five, width=True, color=color, **bars)
    return figures.draw_profile(ax, fine, label=label, color=color)


def _momentum_ticks(ax, p_gev: np.ndarray) -> None:
    from matplotlib.ticker import FixedLocator, NullFormatter

    low, high = p_gev.min(), p_gev.max()
    known = (0.5, 1, 2, 5, 10, 20, 50, 100, 200)
    ticks = [t for t in known if low / 1.01 <= t <= high * 1.01]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())


def bias_profile(p_gev, difference, log_bins: int = 12) -> Picture:
    """Returns the signed mean errors in x and y against momentum.

    Args:
        p_gev: momenta [N], GeV.
        difference: prediction minus truth [N, 4]; x and y in mm.
        log_bins: number of bins of equal ratio.

    Returns:
        The picture; without a figure when there is nothing to show.
    """
    name = "bias_momentum"
    caption = (
        "Signed mean of prediction minus truth, in units of the mean absolute error of "
        "the same bin, with its standard error. A network without bias has 0."
    )
    p_gev = np.asarray(p_gev, np.float64)
    usable = p_gev[np.isfinite(p_gev) & (p_gev > 0)]
    if usable.size < 2:
        return Picture(name, caption, reason="Fewer than two tracks: no bias to show.")
    edges = binning.log_edges(usable.min(), usable.max() * (1 + 1e-9), log_bins)
    drawn = []
    with figures.style():
        figure, axes = figures.canvas(size=(8.2, 3.4))
        ax = axes[0, 0]
        ax.set_xscale("log")
        ax.axhline(0, color=_GREY, linewidth=1)
        for column, color, marker in ((0, _NETWORK, "o"), (1, _OTHERS[0], "s")):
            profile = _relative_bias(p_gev, difference[:, column], edges)
            label = f"d{'xy'[column]}"
            drawn.append(
                figures.draw_profile(ax, profile, label=label, color=color, fmt=marker)
            )
        if not any(drawn):
            return Picture(name, caption, reason="No momentum bin holds two errors.")
        _momentum_ticks(ax, usable)
        low, high = ax.get_ylim()
        half = max(0.1, -low, high)
        ax.set(xlabel="momentum p [GeV]", ylim=(-half, half))
        ax.set_ylabel("mean error / mean |error|")
        figure.legend(loc="outside right upper")
    return Picture(name, caption, figure)


def _relative_bias(p_gev, signed, edges) -> binning.Profile:
    bias = binning.bin_profile(p_gev, signed, edges)
    size = binning.bin_profile(p_gev, np.abs(signed), edges).value
    size = np.where(size > 0, size, np.nan)
    return dataclasses.replace(
        bias, value=bias.value / size, error=bias.error / size[None]
    )


def error_maps(state, error, bins: int = 24, z_in: float | None = None) -> Picture:
    """Returns the median position error over the entry plane and the entry slopes.

    Args:
        state: entry states [N, 5]: x, y in mm, tx, ty, q/p.
        error: radial errors [N], mm.
        bins: cells along each axis.
        z_in: the entry plane in mm for the labels; None: not one plane.

    Returns:
        The picture; without a figure when there is nothing to show.
    """
    name = "error_maps"
    caption = "Median position error in cells of the entry position and entry slope."
    state, error = np.asarray(state, np.float64), np.asarray(error, np.float64)
    keep = np.isfinite(state).all(axis=1) & np.isfinite(error)
    state, error = state[keep], error[keep]
    if not (error > 0).any():
        return Picture(name, caption, reason="No test track has an error to show.")
    # few tracks get large cells: a median needs about forty
    bins = int(np.clip(np.sqrt(len(error) / 40), 4, bins))
    at = "" if z_in is None else f" at z = {z_in:g} mm"
    panels = ((0, f"x{at} [mm]", f"y{at} [mm]"), (2, "slope $t_x$", "slope $t_y$"))
    with figures.style():
        figure, axes = figures.canvas(1, 2, (11, 4.3))
        for ax, (column, xlabel, ylabel) in zip(axes[0], panels, strict=True):
            a, b = state[:, column], state[:, column + 1]
            edges = [_span(v, bins) for v in (a, b)]
            figures.map2d(
                ax, a, b, error, *edges, statistic="median", log=True,
                label="median position error [mm]",
            )  # fmt: skip
            ax.set(xlabel=xlabel, ylabel=ylabel)
    return Picture(name, caption, figure)


def _span(values: np.ndarray, bins: int) -> np.ndarray:
    low, high = values.min(), values.max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1)


@dataclasses.dataclass(frozen=True)
class SpeedPoint:
    """What a method costs and how exact it is.

    Attributes:
        label: the method.
        error_mm: its mean position error, mm.
        times_us: microseconds per track by batch size.
        group: "network", "rk4" or "other"; RK4 points are joined by a line.
    """

    label: str
    error_mm: float
    times_us: Mapping[int, float]
    group: str = "other"


def speed_accuracy(
    points: Sequence[SpeedPoint], published: Mapping[str, float] | None = None
) -> Picture:
    """Returns the mean error against the time per track of all methods.

    Args:
        points: the methods.
        published: mean errors in mm without a comparable time, by label, drawn as
            horizontal lines.

    Returns:
        The picture; without a figure when no method has a time and an error.
    """
    name = "speed_accuracy"
    caption = (
        "Mean position error against time per track, both measured in this run. Small "
        "batches share the cost of a call among few tracks. Lower left is better."
    )
    points = [p for p in points if p.times_us and p.error_mm > 0]
    if not points:
        reason = "No method has both a measured time and a positive error."
        return Picture(name, caption, reason=reason)
    published = dict(published or {})
    batches = sorted({b for p in points for b in p.times_us}, reverse=True)
    looks = dict(zip(batches, _BATCH_LOOKS, strict=False))
    with figures.style():
        figure, axes = figures.canvas(size=(8.6, 5.4))
        ax = axes[0, 0]
        ax.set(xscale="log", yscale="log")
        for batch, (marker, size) in looks.items():
            label = f"batches of {batch:,}"
            ax.plot([], [], marker, ms=size, color=_GREY, label=label)
        for point in points:
            _draw_point(ax, point, looks, published.values())
        rk4 = [p for p in points if p.group == "rk4" and batches[0] in p.times_us]
        rk4.sort(key=lambda p: p.error_mm)
        x, y = [p.times_us[batches[0]] for p in rk4], [p.error_mm for p in rk4]
        ax.plot(x, y, color=_GROUP_COLORS["rk4"], zorder=1)
        for label, error in published.items():
            ax.axhline(error, color="black", linestyle=":", linewidth=1.1)
            ax.text(
                0.99, error, label, transform=ax.get_yaxis_transform(), ha="right",
                va="bottom", fontsize=9,
            )  # fmt: skip
        heights = [p.error_mm for p in points] + list(published.values())
        ax.set_ylim(min(heights) / 6, max(heights) * 6)
        left, right = ax.get_xlim()
        ax.set_xlim(left, right * 1.6)
        ax.set(xlabel="time per track [µs]", ylabel="mean position error [mm]")
        figure.legend(loc="outside upper center", ncols=3)
    return Picture(name, caption, figure)


def _draw_point(ax, point: SpeedPoint, looks, lines) -> None:
    color = _GROUP_COLORS[point.group]
    times = point.times_us
    ax.plot(
        [min(times.values()), max(times.values())], [point.error_mm] * 2, color=color,
        linewidth=0.9, alpha=0.5,
    )  # fmt: skip
    for batch, (marker, size) in looks.items():
        if batch in times:
            ax.plot(times[batch], point.error_mm, marker, ms=size, color=color)
    # a name above the marker would lie on a line that runs just above it
    below = any(1 < line / point.error_mm < 10 for line in lines)
    ax.annotate(
        point.label, (min(times.values()), point.error_mm), (-4, -9 if below else 8),
        textcoords="offset points", color=color, fontsize=10, fontweight="bold",
        va="top" if below else "bottom",
        bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.8},
    )  # fmt: skip


def axis_field(field: Callable, z) -> np.ndarray:
    """Returns By [N] in tesla on the axis x = y = 0 at z [N], mm."""
    z = np.asarray(z, np.float64)
    with jax.enable_x64(True):
        return np.asarray(field(np.zeros_like(z), np.zeros_like(z), z)[1], np.float64)


def axis_integral(field: Callable, z_in: float, z_out: float) -> float:
    """Returns the integral of By along the axis from z_in to z_out (mm), in T m."""
    z = np.linspace(z_in, z_out, 4001)
    return float(np.trapezoid(axis_field(field, z), z)) / 1000


def field_profile(field: Callable | None, z_in: float, z_out: float) -> Picture:
    """Returns By on the axis and its running integral from the entry plane.

    Args:
        field: (x, y, z) in mm -> (Bx, By, Bz) in tesla; None: no map is at hand.
        z_in: entry plane, mm.
        z_out: target plane, mm.

    Returns:
        The picture; without a figure when there is no field.
    """
    name = "field_profile"
    caption = (
        "The vertical field on the axis x = y = 0 and its integral from the entry "
        "plane; the shaded region lies between the two planes."
    )
    if field is None:
        reason = "The data came as pairs of states: their field is not at hand."
        return Picture(name, caption, reason=reason)
    low, high = sorted((z_in, z_out))
    margin = (high - low) / 2
    z = np.linspace(low - margin, high + margin, 1601)
    by = axis_field(field, z)
    steps = np.diff(z) * (by[1:] + by[:-1]) / 2000  # T m
    running = np.concatenate([[0.0], np.cumsum(steps)])
    running -= np.interp(z_in, z, running)
    total = float(np.interp(z_out, z, running))
    with figures.style():
        figure, axes = figures.canvas(1, 2, (11, 3.7))
        labels = ("$B_y(0, 0, z)$ [T]", r"$\int B_y\,dz$ [T m]")
        for ax, curve, label in zip(axes[0], (by, running), labels, strict=True):
            ax.axvspan(low / 1000, high / 1000, color=_NETWORK, alpha=0.08, linewidth=0)
            ax.axhline(0, color=_GREY, linewidth=0.8)
            ax.plot(z / 1000, curve, color=_NETWORK)
            ax.set(xlabel="z [m]", ylabel=label, xlim=(z[0] / 1000, z[-1] / 1000))
        ax.plot(z_out / 1000, total, "o", color=_TAIL)
        ax.annotate(
            f"{total:.3f} T m", (z_out / 1000, total), (8, -6), color=_TAIL,
            textcoords="offset points", ha="left", va="top",
        )  # fmt: skip
    return Picture(name, caption, figure)
