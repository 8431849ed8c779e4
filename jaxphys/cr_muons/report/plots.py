"""Figures of generated bundles against the truth; matplotlib is imported on use."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.cr_muons.analysis import metrics, spectra
from jaxphys.cr_muons.analysis.spectra import Spectrum
from jaxphys.cr_muons.physics.events import Events
from jaxphys.report import figures
from jaxphys.report.figures import Picture

TRUTH, MODEL = "#3b4250", "#e42536"
OTHERS = ("#3f6fd8", "#f89c20", "#2f9e72", "#964a8b")
BANDS = ("#3f6fd8", "#f89c20", "#2f9e72", "#964a8b", "#8c5a2b", "#1a9fb4")
GREY = "#717581"
_COUNT_TICKS = (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000)
# the narrowest of these that shows nine tenths of what is measured well
_RATIO_LIMITS = ((0.9, 1.1), (0.75, 1.25), (0.5, 1.5), (0.0, 2.0))


def distributions(
    truth: Events, model: Events, others: Mapping[str, Events] | None = None
) -> Picture:
    """Returns spectra of N, E and r, and their ratios to the truth.

    Args:
        truth: bundles.
        model: bundles generated for the same primaries.
        others: of further models, by name.
    """
    name = "distributions"
    caption = (
        "Number of muons of an event, energy and distance from the axis of the muons: "
        "truth (filled) and model, per event, so that also the heights must agree. "
        "Below: their ratio to the truth; the band is the truth's statistical error, a "
        "triangle a point outside of the panel. Errors are the spread between events."
    )
    if not len(truth.muons):
        return Picture(name, caption, reason="The truth holds no muon.")
    samples = {"truth": truth, "model": model, **(others or {})}
    with figures.style():
        figure, axes = figures.canvas(
            2, 3, (11, 5.2), sharex="col", gridspec_kw={"height_ratios": [2.3, 1]}
        )
        for column, (found, count) in enumerate(_quantities(samples)):
            top, bottom = axes[:, column]
            draw_spectra(top, found, count)
            draw_ratios(bottom, found, colors_of(found), count)
        label_quantities(axes)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(samples))
    return Picture(name, caption, figure)


def label_quantities(axes: np.ndarray) -> None:
    """Writes the names of N, E and r at the axes [2, 3] of a figure."""
    heads = (
        ("number of muons N", "probability of N"),
        ("muon energy [GeV]", "muons per event / decade"),
        ("distance from the axis [m]", "muons per event / decade"),
    )
    for column, (xlabel, ylabel) in enumerate(heads):
        axes[0, column].set_ylabel(ylabel)
        axes[-1, column].set_xlabel(xlabel)
    axes[-1, 0].set_ylabel("ratio to truth")


def _quantities(samples: Mapping[str, Events]):
    """Yields spectra by name, and whether the abscissa is a number of muons."""
    events = list(samples.values())
    most = max(int(e.num_muons.max(initial=0)) for e in events)
    edges = spectra.count_edges(most)
    yield (
        {n: spectra.count_spectrum(e.num_muons, edges) for n, e in samples.items()},
        True,
    )
    for quantity in (metrics.log_energy, spectra.log_radius):
        values = {n: quantity(e) for n, e in samples.items()}
        edges = decade_edges(values["truth"], values["model"])
        yield (
            {n: spectra.muon_spectrum(e, values[n], edges) for n, e in samples.items()},
            False,
        )


def decade_edges(truth: np.ndarray, model: np.ndarray, bins: int = 40) -> np.ndarray:
    """Returns bin edges of a log10 that hold the truth, and most of the model.

    Args:
        truth: [M] values, -10 and below stand for nothing; the lowest 0.05 % may lie
            outside, single muons that would fill half of a figure.
        model: likewise; its outermost thousandth may lie outside.
        bins: at most.
    """
    truth, model = truth[truth > -5], model[model > -5]
    low, high = np.quantile(truth, [5e-4, 1]) if len(truth) else (0.0, 1.0)
    if len(model):
        first, last = np.quantile(model, [0.001, 0.999])
        # a broken model must not squeeze the truth into a few bins
        width = max(high - low, 1e-3)
        low = max(min(low, first), low - 0.5 * width)
        high = min(max(high, last), high + 0.5 * width)
    return np.linspace(low, high + 1e-6, bins + 1)


def colors_of(names: Mapping[str, Any]) -> dict[str, str]:
    """Returns the colour of each sample; truth and model have their own."""
    known = {"truth": TRUTH, "model": MODEL}
    rest = [n for n in names if n not in known]
    return {
        n: known[n] if n in known else OTHERS[rest.index(n) % len(OTHERS)]
        for n in names
    }


def drawn_edges(spectrum: Spectrum, count: bool) -> np.ndarray:
    """Returns edges [B + 1] as they are drawn: 1 + N, or the quantity itself."""
    return spectrum.edges + 1 if count else 10**spectrum.edges


def drawn_middles(spectrum: Spectrum, count: bool) -> np.ndarray:
    """Returns [B] where points are drawn; a bin of one N has its point at this N."""
    edges, inset = drawn_edges(spectrum, count), 0.5 if count else 0.0
    return np.sqrt((edges[1:] - inset) * (edges[:-1] + inset))


def draw_spectra(ax, found: Mapping[str, Spectrum], count: bool) -> None:
    """Draws spectra by name; the one called truth is filled.

    Args:
        ax: the axes.
        found: by name.
        count: whether the abscissa is the number of muons.
    """
    colors = colors_of(found)
    # the panel ends with what one event in the sample would make of its last bins
    high = max(s.value.max() for s in found.values())
    positive = found["truth"].value[found["truth"].value > 0]
    low = positive.min() / 3
    ax.set(xscale="log", yscale="log", ylim=(low, 3 * high))
    for name, spectrum in found.items():
        edges, value = drawn_edges(spectrum, count), spectrum.value
        if name == "truth":
            ax.stairs(value, edges, fill=True, color="#cdd2da", baseline=low / 10)
            ax.stairs(value, edges, color=TRUTH, linewidth=1.2, label=name)
        else:
            width = 1.8 if name == "model" else 1.1
            ax.stairs(value, edges, color=colors[name], linewidth=width, label=name)
    set_abscissa(ax, drawn_edges(found["truth"], count), count)


def set_abscissa(ax, edges: np.ndarray, count: bool, few: bool = False) -> None:
    """Sets limits and ticks of a logarithmic abscissa.

    Args:
        ax: the axes.
        edges: of the bins, as drawn.
        count: whether the axis holds 1 + N, whose ticks say N.
        few: whether the panel is narrow.
    """
    ax.set_xlim(edges[0], edges[-1])
    if count:
        ticks = [n for n in _COUNT_TICKS if n + 1 <= edges[-1]]
        if few:
            ticks = [n for n in ticks if not str(n).startswith("3")]
        ax.set_xticks([n + 1 for n in ticks], [f"{n:,}" for n in ticks])
        ax.minorticks_off()


def label_log_axis(axis, low: float, high: float) -> None:
    """Gives a logarithmic axis plain numbers where powers of ten alone are too few.

    Args:
        axis: xaxis or yaxis of axes.
        low: lower limit.
        high: upper limit.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    if high < 200 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def draw_ratios(
    ax, found: Mapping[str, Spectrum], colors: Mapping[str, str], count: bool
) -> None:
    """Draws the ratios of spectra to the one called truth, with its error as a band.

    Args:
        ax: the axes, with the same abscissa as the spectra.
        found: spectra by name.
        colors: by name.
        count: whether the abscissa is the number of muons.
    """
    truth = found["truth"]
    edges = drawn_edges(truth, count)
    band = np.nan_to_num(spectra.relative_error(truth), nan=0.0)
    ax.stairs(1 + band, edges, baseline=1 - band, fill=True, color="#cdd2da")
    ratios = {n: known_ratio(s, truth) for n, s in found.items() if n != "truth"}
    middle = drawn_middles(truth, count)
    if "model" in ratios:
        limits = ratio_limits(*ratios["model"], relative=band)
    else:
        limits = _RATIO_LIMITS[-1]
    for name, (value, error) in ratios.items():
        if name == "model":
            draw_points(ax, middle, value, error, limits, color=colors[name])
        else:
            ax.stairs(np.clip(value, *limits), edges, color=colors[name], linewidth=1)
    ax.axhline(1, color=GREY, linewidth=0.9)
    ax.set_ylim(limits)


def known_ratio(
    model: Spectrum, truth: Spectrum, most: float = 0.6
) -> tuple[np.ndarray, np.ndarray]:
    """Returns ratio [B] and error [B], without bins whose few entries say nothing.

    Args:
        model: a spectrum.
        truth: another in the same bins.
        most: relative error of both together, above which there is no ratio (NaN).
    """
    value, error = spectra.ratio(model, truth)
    # a model that has nothing where the truth has a lot is shown at 0
    own = np.nan_to_num(spectra.relative_error(model), nan=0)
    theirs = np.nan_to_num(spectra.relative_error(truth), nan=1)
    return np.where(np.hypot(own, theirs) < most, value, np.nan), error


def ratio_limits(
    value: np.ndarray, error: np.ndarray, relative: np.ndarray
) -> tuple[float, float]:
    """Returns a range that shows most of the ratios that are known well.

    Args:
        value: [B] ratios.
        error: [B] of them.
        relative: [B] error of the truth over its value.
    """
    sure = np.isfinite(value) & (np.hypot(np.nan_to_num(error), relative) < 0.25)
    if not sure.any():
        return _RATIO_LIMITS[-1]
    # half of the bars inside: points alone would hide how little is known
    below = value[sure] - 0.5 * np.nan_to_num(error)[sure]
    above = value[sure] + 0.5 * np.nan_to_num(error)[sure]
    for low, high in _RATIO_LIMITS:
        if np.mean((below > low) & (above < high)) >= 0.9:
            return low, high
    return _RATIO_LIMITS[-1]


def draw_points(
    ax, x: np.ndarray, value: np.ndarray, error: np.ndarray,
    limits: tuple[float, float], *, color: str, marker: str = "o", label: str = "",
) -> None:  # fmt: skip
    """Draws points with errors; those outside of the limits become triangles there."""
    low, high = limits
    there = np.isfinite(value)
    inside = there & (value >= low) & (value <= high)
    ax.errorbar(
        x[inside], value[inside], error[inside], fmt=marker, color=color,
        markersize=3.5, elinewidth=0.9, label=label or None,
    )  # fmt: skip
    margin = 0.04 * (high - low)
    for outside, at, sign in (
        (there & (value < low), low + margin, "v"),
        (there & (value > high), high - margin, "^"),
    ):
        points = np.full(int(outside.sum()), at)
        ax.plot(x[outside], points, sign, color=color, markersize=4.5)


def joint(truth: Events, model: Events) -> Picture:
    """Returns energy against radius: truth, model and their ratio.

    Args:
        truth: bundles.
        model: bundles generated for the same primaries.
    """
    name = "energy_radius"
    caption = (
        "Muons per event in cells of energy and distance from the axis: harder muons "
        "lie closer. Right: model over truth where both have ten muons; grey cells "
        "have fewer. Lines: mean log r at each energy, dashed of the model."
    )
    if not len(truth.muons) or not len(model.muons):
        return Picture(name, caption, reason="One of the samples holds no muon.")
    pairs = [(metrics.log_energy(e), spectra.log_radius(e)) for e in (truth, model)]
    edges = [decade_edges(pairs[0][i], pairs[1][i], 28) for i in (0, 1)]
    # the pictures lose nothing when the faintest radii are cut
    counts = [np.histogram2d(*pair, edges)[0] for pair in pairs]
    with figures.style():
        figure, axes = figures.canvas(1, 3, (11, 3.9), sharex=True, sharey=True)
        _joint_panels(figure, axes[0], edges, counts, (len(truth), len(model)))
        for ax, shown in zip(axes[0], ((0,), (1,), (0, 1)), strict=True):
            for index in shown:
                _mean_line(ax, *pairs[index], edges, index)
            ax.set(xscale="log", yscale="log", xlabel="muon energy [GeV]")
            ax.set(xlim=10 ** edges[0][[0, -1]], ylim=10 ** edges[1][[0, -1]])
        axes[0, 0].set_ylabel("distance from the axis [m]")
    return Picture(name, caption, figure)


def _joint_panels(figure, axes, edges, counts, events: Sequence[int]) -> None:
    from matplotlib.colors import LogNorm

    area = np.outer(np.diff(edges[0]), np.diff(edges[1]))
    density = [c / n / area for c, n in zip(counts, events, strict=True)]
    high = density[0].max()  # a model may be a needle
    norm = LogNorm(high * 1e-4, high)
    grid = [10**e for e in edges]
    mesh = None
    for ax, values, text in zip(axes, density, ("truth", "model"), strict=False):
        shown = np.where(values > 0, values, np.nan).T
        mesh = ax.pcolormesh(*grid, shown, norm=norm, cmap="viridis", rasterized=True)
        ax.set_title(text)
        ax.grid(False)
    figure.colorbar(mesh, ax=axes[:2], label="muons per event / decade²", extend="both")
    both = (counts[0] >= 10) & (counts[1] >= 10)
    some = (counts[0] > 0) | (counts[1] > 0)
    found = np.where(both, density[1] / np.where(both, density[0], 1), np.nan)
    last = axes[2]
    thin = np.where(some & ~both, 1.0, np.nan).T
    last.pcolormesh(*grid, thin, cmap="Greys", vmin=0.6, vmax=4, rasterized=True)
    mesh = last.pcolormesh(
        *grid, found.T, norm=LogNorm(0.5, 2), cmap="RdBu_r", rasterized=True
    )
    bar = figure.colorbar(mesh, ax=last, extend="both")
    bar.ax.minorticks_off()
    bar.set_ticks([0.5, 0.7, 1, 1.4, 2], labels=["0.5", "0.7", "1", "1.4", "2"])
    last.set_title("model / truth")
    last.grid(False)


def _mean_line(ax, energy, radius, edges, index: int) -> None:
    there = radius > -5
    grid = edges[0]
    bins = len(grid) - 1
    place = np.searchsorted(grid, energy[there], side="right") - 1
    inside = (place >= 0) & (place < bins)
    count = np.bincount(place[inside], minlength=bins)
    total = np.bincount(place[inside], radius[there][inside], bins)
    keep = count >= 20
    middle = 10 ** ((grid[1:] + grid[:-1]) / 2)
    style = "--" if index else "-"
    ax.plot(middle[keep], 10 ** (total[keep] / count[keep]), style, color="black")
