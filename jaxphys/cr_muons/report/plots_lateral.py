"""Figures of the lateral profile of bundles; matplotlib is imported on use."""

from collections.abc import Sequence

import numpy as np

from jaxphys.cr_muons.analysis import metrics, spectra
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.report import plots
from jaxphys.report import figures
from jaxphys.report.binning import Profile, bin_profile
from jaxphys.report.figures import Picture


def lateral(truth: Events, model: Events) -> Picture:
    """Returns the lateral density in ranges of N, and the mean distance against N.

    Args:
        truth: bundles.
        model: bundles generated for the same primaries.
    """
    name = "lateral_profile"
    caption = (
        "Left: density of muons around the axis, per muon, for bundles of few and of "
        "many muons: truth (lines) and model (points). Right: mean distance against "
        "the number of muons, and the ratio; the model has bundles of its own, its "
        "error bars are those of the mean."
    )
    if not len(truth.muons):
        return Picture(name, caption, reason="The truth holds no muon.")
    ranges = _count_ranges(truth)
    with figures.style():
        figure, axes = figures.canvas(
            2, 2, (11, 5.2), sharex="col", gridspec_kw={"height_ratios": [2.1, 1]}
        )
        _densities(axes[:, 0], truth, model, ranges)
        _mean_radius(axes[:, 1], truth, model)
    return Picture(name, caption, figure)


def _count_ranges(truth: Events) -> list[tuple[int, int]]:
    most = int(truth.num_muons.max())
    marks = [m for m in (1, 2, 5, 20, 100, 1000) if m <= most]
    return list(zip(marks, [*(m - 1 for m in marks[1:]), most], strict=True))


def _densities(axes, truth: Events, model: Events, ranges) -> None:
    edges = plots.decade_edges(spectra.log_radius(truth), spectra.log_radius(model), 18)
    shown = 10**edges
    middle = np.sqrt(shown[1:] * shown[:-1])
    # per decade to per square metre
    area = np.pi * np.diff(shown**2) / np.diff(edges)
    ratios = []
    axes[0].set(xscale="log", yscale="log", xlim=shown[[0, -1]])
    for index, (low, high) in enumerate(ranges):
        color = plots.BANDS[index % len(plots.BANDS)]
        found = []
        for events in (truth, model):
            inside = (events.num_muons >= low) & (events.num_muons <= high)
            part = events.select(inside)
            spectrum = spectra.muon_spectrum(part, spectra.log_radius(part), edges)
            found.append(spectrum.scaled(len(part) / max(len(part.muons), 1)))
        text = f"N = {low}" if low == high else f"N {low:,}–{high:,}"
        axes[0].stairs(found[0].value / area, shown, color=color, label=text)
        there = found[1].value > 0
        values = (found[1].value / area)[there]
        axes[0].plot(middle[there], values, "o", color=color, markersize=3)
        ratios.append(plots.known_ratio(found[1], found[0], 0.35))
    axes[0].set_ylabel("density / muon [1/m²]")
    axes[0].legend(fontsize=9)
    axes[1].set_xlabel("distance from the axis [m]")
    _ratio_panel(axes[1], middle, ratios)


def _ratio_panel(ax, middle: np.ndarray, ratios: Sequence) -> None:
    value, error = (np.concatenate(part) for part in zip(*ratios, strict=True))
    limits = plots.ratio_limits(value, error, np.zeros(len(value)))
    for index, (value, error) in enumerate(ratios):
        color = plots.BANDS[index % len(plots.BANDS)]
        shift = 1 + 0.03 * (index - (len(ratios) - 1) / 2)
        plots.draw_points(ax, middle * shift, value, error, limits, color=color)
    ax.axhline(1, color=plots.GREY, linewidth=0.9)
    ax.set(ylim=limits, ylabel="model / truth")


def _mean_radius(axes, truth: Events, model: Events) -> None:
    most = max(int(e.num_muons.max(initial=1)) for e in (truth, model))
    edges = spectra.count_edges(most, 5, 1.5)[1:]
    found = []
    for events in (truth, model):
        some = events.select(events.num_muons > 0)
        mean = np.add.reduceat(metrics.radius(some), some.offsets[:-1])
        found.append(bin_profile(some.num_muons, mean / some.num_muons, edges, "mean"))
    middle = np.sqrt((edges[1:] - 0.5) * (edges[:-1] + 0.5))
    axes[0].set(xscale="log", xlim=edges[[0, -1]])
    true, made = found
    figures.curve_with_band(
        axes[0], middle, true.value, true.value - true.error[0],
        true.value + true.error[0], label="truth", color=plots.TRUTH,
    )  # fmt: skip
    there = np.isfinite(made.value)
    axes[0].errorbar(
        middle[there], made.value[there], made.error[0][there], fmt="o",
        color=plots.MODEL, label="model", elinewidth=1,
    )  # fmt: skip
    axes[0].set(ylabel="mean distance [m]", ylim=(0, None))
    axes[0].legend()
    value, error = _profile_ratio(true, made)
    limits = plots.ratio_limits(value, error, np.zeros(len(value)))
    plots.draw_points(axes[1], middle, value, error, limits, color=plots.MODEL)
    axes[1].axhline(1, color=plots.GREY, linewidth=0.9)
    axes[1].set(ylim=limits, ylabel="model / truth", xlabel="number of muons N")


def _profile_ratio(truth: Profile, model: Profile) -> tuple[np.ndarray, np.ndarray]:
    """Returns model / truth and its error; both samples are as large."""
    there = np.nan_to_num(truth.value) > 0
    below = np.where(there, truth.value, 1)
    value = np.where(there & np.isfinite(model.value), model.value / below, np.nan)
    error = np.hypot(model.error[0], np.nan_to_num(value) * truth.error[0]) / below
    return value, np.where(np.isfinite(value), error, np.nan)
