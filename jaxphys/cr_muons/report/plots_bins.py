"""Figures of the spectra in bins of the condition; matplotlib is imported on use."""

import dataclasses

import numpy as np

from jaxphys.cr_muons.analysis import metrics, spectra
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.report import plots
from jaxphys.report import figures
from jaxphys.report.figures import Picture

_MOST_MASSES = 6
_NUCLEI = {1: "p", 4: "He", 12: "C", 14: "N", 16: "O", 27: "Al", 28: "Si", 54: "Fe",
           55: "Fe", 56: "Fe"}  # fmt: skip
_GEV_PER_NUCLEON = 0.9315
QUANTITIES = {
    "num_muons": ("number of muons N", "probability of N"),
    "energy": ("muon energy [GeV]", "muons per event / decade"),
    "radius": ("distance from the axis [m]", "muons per event / decade"),
}


@dataclasses.dataclass(frozen=True)
class Band:
    """Events whose condition lies in one interval.

    Attributes:
        text: of the legend.
        chosen: [N] bool, the events.
    """

    text: str
    chosen: np.ndarray


def name_of_nucleus(mass: float) -> str:
    """Returns the name of a primary particle by its mass in GeV."""
    number = max(1, round(mass / _GEV_PER_NUCLEON))
    return _NUCLEI.get(number, f"A = {number}")


def mass_bands(primaries: np.ndarray) -> list[Band]:
    """Returns a band for each mass, or three ranges where there are many masses.

    Args:
        primaries: [N, 4].
    """
    mass = primaries[:, 2].astype(np.float64)
    nucleons = np.maximum(np.round(mass / _GEV_PER_NUCLEON), 1)
    kinds = np.unique(nucleons)
    if len(kinds) > _MOST_MASSES:
        return _ranges(mass, "{} GeV", log=True)
    return [Band(name_of_nucleus(float(mass[nucleons == kind][0])), nucleons == kind)
            for kind in kinds]  # fmt: skip


def _ranges(values: np.ndarray, text: str, log: bool = False) -> list[Band]:
    """Returns three intervals of equal width without empty ones, or a single value.

    Args:
        values: [N].
        text: of the legend, with a place for the interval.
        log: equal widths in the logarithm.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        return [Band(text.format(f"{low:.3g}"), np.ones(len(values), bool))]
    edges = np.geomspace(low, high, 4) if log else np.linspace(low, high, 4)
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, 2)
    found = [
        Band(text.format(f"{edges[i]:.3g}–{edges[i + 1]:.3g}"), place == i)
        for i in range(3)
    ]
    return [band for band in found if band.chosen.any()]


def bands_of(primaries: np.ndarray) -> dict[str, list[Band]]:
    """Returns bands of energy, mass, zenith angle and depth.

    Args:
        primaries: [N, 4] energy GeV, zenith rad, mass GeV, depth m.
    """
    energy = np.log10(np.maximum(primaries[:, 0].astype(np.float64), 1e-3))
    cosine = np.cos(primaries[:, 1].astype(np.float64))
    depth = primaries[:, 3].astype(np.float64) / 1000
    return {
        "primary energy": _ranges(energy, "lg E/GeV {}"),
        "primary": mass_bands(primaries),
        "zenith angle": _ranges(cosine, "cos θ {}"),
        "depth": _ranges(depth, "{} km"),
    }


def in_bins(truth: Events, model: Events, quantity: str) -> Picture:
    """Returns the spectra of a quantity in bands of each part of the condition.

    Args:
        truth: bundles.
        model: bundles generated for the same primaries.
        quantity: num_muons, energy or radius.
    """
    name = f"bins_{quantity}"
    xlabel, ylabel = QUANTITIES[quantity]
    caption = (
        f"{xlabel[0].upper()}{xlabel.split(' [')[0][1:]} in ranges of each part of the "
        "condition: truth (lines) and model (points), per event; below the ratio of "
        "model to truth."
    )
    if not len(truth.muons):
        return Picture(name, caption, reason="The truth holds no muon.")
    bands = bands_of(truth.primaries)
    with figures.style():
        figure, axes = figures.canvas(
            2, len(bands), (11, 5.4), sharex=True, sharey="row",
            gridspec_kw={"height_ratios": [2.1, 1]},
        )  # fmt: skip
        found = [
            _column(truth, model, quantity, parts, axes[:, index])
            for index, parts in enumerate(bands.values())
        ]
        values = np.concatenate([v for v, _ in found])
        axes[0, 0].set_ylim(values.min() / 2, values.max() * 4)
        known = [np.concatenate(part) for part in zip(*_known(found), strict=True)]
        limits = plots.ratio_limits(known[0], known[1], np.zeros(len(known[0])))
        for index, title in enumerate(bands):
            _finish(axes[:, index], found[index][1], limits)
            axes[0, index].set_title(title)
            axes[0, index].legend(fontsize=8, handlelength=1.2, borderpad=0.2)
            axes[1, index].set_xlabel(xlabel, fontsize=10)
        axes[0, 0].set_ylabel(ylabel)
        axes[1, 0].set_ylabel("model / truth")
    return Picture(name, caption, figure)


def _known(found):
    return [(r.value, r.error) for _, ratios in found for r in ratios]


@dataclasses.dataclass(frozen=True)
class _Ratio:
    middle: np.ndarray
    value: np.ndarray
    error: np.ndarray
    color: str


def _column(truth: Events, model: Events, quantity: str, bands, axes):
    """Draws the spectra of all bands; returns their values and their ratios."""
    count = quantity == "num_muons"
    edges = _edges(truth, model, quantity)
    values, ratios = [], []
    axes[0].set(xscale="log", yscale="log")
    for index, band in enumerate(bands):
        color = plots.BANDS[index % len(plots.BANDS)]
        both = []
        for events in (truth.select(band.chosen), model.select(band.chosen)):
            both.append(_spectrum(events, quantity, edges))
        drawn = plots.drawn_edges(both[0], count)
        middle = plots.drawn_middles(both[0], count)
        axes[0].stairs(both[0].value, drawn, color=color, label=band.text)
        there = both[1].value > 0
        axes[0].plot(
            middle[there], both[1].value[there], "o", color=color, markersize=2.6
        )  # fmt: skip
        ratios.append(_Ratio(middle, *plots.known_ratio(both[1], both[0], 0.3), color))
        values.append(both[0].value[both[0].value > 0])
        plots.set_abscissa(axes[1], drawn, count, few=True)
    return np.concatenate(values), ratios


def _edges(truth: Events, model: Events, quantity: str) -> np.ndarray:
    if quantity == "num_muons":
        most = max(int(e.num_muons.max(initial=0)) for e in (truth, model))
        return spectra.count_edges(most, 2, 1.8)
    of = {"energy": metrics.log_energy, "radius": spectra.log_radius}[quantity]
    return plots.decade_edges(of(truth), of(model), 20)


def _spectrum(events: Events, quantity: str, edges: np.ndarray) -> spectra.Spectrum:
    if quantity == "num_muons":
        return spectra.count_spectrum(events.num_muons, edges)
    of = {"energy": metrics.log_energy, "radius": spectra.log_radius}[quantity]
    return spectra.muon_spectrum(events, of(events), edges)


def _finish(axes, ratios: list[_Ratio], limits: tuple[float, float]) -> None:
    for index, r in enumerate(ratios):
        # side by side, so that the errors of two bands can be told apart
        shift = 1 + 0.03 * (index - (len(ratios) - 1) / 2)
        plots.draw_points(
            axes[1], r.middle * shift, r.value, r.error, limits, color=r.color
        )
    axes[1].axhline(1, color=plots.GREY, linewidth=0.9)
    axes[1].set_ylim(limits)


def correlations(truth: Events, model: Events) -> Picture:
    """Returns the correlations of what is seen of a bundle with its primary.

    Args:
        truth: bundles.
        model: bundles generated for the same primaries.
    """
    name = "correlations"
    caption = (
        "Rank correlations (Spearman) of events with at least one muon: of the truth, "
        "and the difference of the model to it in hundredths. A difference of 0.05 "
        "would be seen by an analysis; errors are about 0.01 for 10,000 events."
    )
    found = [_features(events) for events in (truth, model)]
    if min(len(f) for f in found) < 10:
        reason = "Fewer than ten events with muons: no correlation can be told."
        return Picture(name, caption, reason=reason)
    names = ["N", "max E", "mean lg E", "mean lg r", "max r", "E primary", "cos θ",
             "mass", "depth"]  # fmt: skip
    matrices = [_rank_correlation(f) for f in found]
    difference = matrices[1] - matrices[0]
    with figures.style():
        figure, axes = figures.canvas(1, 2, (11, 4.9))
        _matrix(axes[0, 0], matrices[0], names, 1.0, "{:.2f}", "truth")
        top = max(5.0, 100 * float(np.abs(np.nan_to_num(difference)).max()))
        _matrix(axes[0, 1], 100 * difference, names, top, "{:+.0f}",
                "(model − truth) × 100")  # fmt: skip
    return Picture(name, caption, figure)


def _features(events: Events) -> np.ndarray:
    """Returns [events with muons, 9]."""
    some = events.select(events.num_muons > 0)
    if not len(some):
        return np.zeros((0, 9))
    start, number = some.offsets[:-1], some.num_muons
    energy, radius = metrics.log_energy(some), metrics.radius(some)
    log_radius = np.log10(np.maximum(radius, 1e-3))
    columns = [
        number,
        np.maximum.reduceat(energy, start),
        np.add.reduceat(energy, start) / number,
        np.add.reduceat(log_radius, start) / number,
        np.maximum.reduceat(radius, start),
        some.primaries[:, 0],
        np.cos(some.primaries[:, 1]),
        some.primaries[:, 2],
        some.primaries[:, 3],
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def _rank_correlation(features: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    ranks = rankdata(features, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        # a column that never changes (one depth) has no correlation
        return np.corrcoef(ranks, rowvar=False)


def _matrix(ax, values, names, top: float, form: str, title: str) -> None:
    ax.imshow(values, cmap="RdBu_r", vmin=-top, vmax=top, aspect="auto")
    places = range(len(names))
    ax.set_xticks(places, names, rotation=40, ha="right")
    ax.set_yticks(places, names)
    ax.minorticks_off()
    ax.tick_params(length=0)
    ax.grid(False)
    ax.set_title(title)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value) and row != column:
            color = "white" if abs(value) > 0.6 * top else "black"
            text = form.format(value + 0.0).replace("-", "−")
            text = text if text.strip("+−0.") else "0"
            ax.text(column, row, text, ha="center", va="center", fontsize=8.5,
                    color=color)  # fmt: skip
