"""Figures of mean and fluctuation of N; matplotlib is imported on use."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.report import plots
from jaxphys.cr_muons.report.plots_bins import Band, mass_bands
from jaxphys.report import figures
from jaxphys.report.binning import Profile, bin_profile
from jaxphys.report.figures import Picture

_FEWEST_MUONS = 20
_FEWEST_CONDITIONS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class CountMoments:
    """Mean and variance of the number of muons at each of many conditions.

    Attributes:
        primaries: [C, 4].
        mean: [C] of the number of muons.
        variance: [C] about that mean; of single events the square of the deviation.
    """

    primaries: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of_replicas(
        cls, primaries: np.ndarray, num_muons: np.ndarray
    ) -> "CountMoments":  # fmt: skip
        """Returns the moments of repeated draws.

        Args:
            primaries: [C, 4].
            num_muons: [C, R] of R draws each.
        """
        counts = np.asarray(num_muons, np.float64)
        return cls(primaries, counts.mean(axis=1), counts.var(axis=1, ddof=1))

    @classmethod
    def of_expected(
        cls, primaries: np.ndarray, num_muons: np.ndarray, expected: np.ndarray
    ) -> "CountMoments":
        """Returns the moments of single events around what is expected of them.

        Args:
            primaries: [N, 4].
            num_muons: [N].
            expected: [N] their expectation, from a regression.
        """
        return cls(primaries, expected, (num_muons - np.asarray(expected)) ** 2)


def mean_number(truth: Events, model: Events) -> Picture:
    """Returns the mean number of muons against the primary energy, by mass.

    Args:
        truth: bundles.
        model: bundles generated for the same primaries.
    """
    name = "mean_number"
    caption = (
        "Mean number of muons of an event against the energy of the primary, averaged "
        "over zenith angle and depth: truth (lines) and model (points), and their "
        f"ratio where the truth holds {_FEWEST_MUONS} muons."
    )
    if not len(truth.muons):
        return Picture(name, caption, reason="The truth holds no muon.")
    bands = mass_bands(truth.primaries)
    edges = _energy_edges(truth.primaries)
    with figures.style():
        figure, axes = figures.canvas(
            2, 1, (7.6, 5.6), sharex=True, gridspec_kw={"height_ratios": [2.1, 1]}
        )
        top, bottom = axes[:, 0]
        top.set(xscale="log", yscale="log", xlim=edges[[0, -1]])
        found = [
            _mean_profiles(truth, model, band, edges, 1 + 0.02 * (i - len(bands) / 2))
            for i, band in enumerate(bands)
        ]
        ratios = [
            _paired_ratio(truth, model, band, edges, np.isfinite(pair[0].value))
            for band, pair in zip(bands, found, strict=True)
        ]
        value, error = (np.concatenate(part) for part in zip(*ratios, strict=True))
        limits = plots.ratio_limits(value, error, np.zeros(len(value)))
        for i, (band, (true, made)) in enumerate(zip(bands, found, strict=True)):
            color = plots.BANDS[i % len(plots.BANDS)]
            middle = np.sqrt(made.low * made.high)
            there = true.value > 0
            top.plot(middle[there], true.value[there], color=color, label=band.text)
            figures.draw_profile(top, made, color=color)
            plots.draw_points(bottom, middle, *ratios[i], limits, color=color)
        top.set_ylabel("mean number of muons")
        top.legend(title="primary")
        bottom.axhline(1, color=plots.GREY, linewidth=0.9)
        bottom.set(ylim=limits, ylabel="model / truth")
        bottom.set_xlabel("energy of the primary [GeV]")
    return Picture(name, caption, figure)


def _energy_edges(primaries: np.ndarray, bins: int = 12) -> np.ndarray:
    energy = primaries[:, 0].astype(np.float64)
    low, high = energy.min(), energy.max()
    return np.geomspace(low * 0.999, max(high * 1.001, low * 1.01), bins + 1)


def _mean_profiles(truth, model, band: Band, edges, shift: float):
    """Returns the profiles of truth and model, shifted so that points do not overlap.

    A bin without enough muons of the truth has no value in either.
    """
    found = []
    for events in (truth, model):
        part = events.primaries[band.chosen, 0]
        found.append(bin_profile(part, events.num_muons[band.chosen], edges))
    enough = found[0].value * found[0].count >= _FEWEST_MUONS
    return [
        Profile(
            p.low * shift, p.high * shift, np.where(enough, p.value, np.nan), p.error,
            p.count,
        )
        for p in found
    ]  # fmt: skip


def _paired_ratio(truth, model, band: Band, edges, known: np.ndarray):
    """Returns the ratio of the sums of muons in bins of energy, [B], and its error.

    Truth and model have the same conditions, whose spread is no error of the ratio.
    """
    bins = len(edges) - 1
    place = np.searchsorted(edges, truth.primaries[band.chosen, 0], side="right") - 1
    place = np.clip(place, 0, bins - 1)
    true, made = (e.num_muons[band.chosen].astype(np.float64) for e in (truth, model))
    below = np.bincount(place, true, bins)
    safe = np.where(known, below, 1)
    value = np.bincount(place, made, bins) / safe
    rest = np.bincount(place, (made - value[place] * true) ** 2, bins)
    return np.where(known, value, np.nan), np.sqrt(rest) / safe


def fano(truth: CountMoments, models: Mapping[str, CountMoments]) -> Picture:
    """Returns variance over mean of the number of muons at fixed condition.

    Args:
        truth: of the truth.
        models: by name; the one called model stands out.
    """
    name = "fano"
    caption = (
        "Fluctuation of the number of muons at a fixed condition: variance over mean "
        "(Fano factor), pooled over the conditions of a bin. Left: against the energy "
        "of the primary, truth (lines) and model (points) by mass; right: against the "
        "mean number, with further models. A Poisson law lies at 1, a number that is a "
        "function of the condition at 0."
    )
    if not (truth.mean > 0).any():
        return Picture(name, caption, reason="No condition has any muon.")
    samples = {"truth": truth, **models}
    with figures.style():
        figure, axes = figures.canvas(1, 2, (11, 4.3), sharey=True)
        _fano_by_mass(axes[0, 0], truth, models.get("model"))
        _fano_by_mean(axes[0, 1], samples)
        shown = [v for ax in axes[0] for v in _line_values(ax)]
        for ax in axes[0]:
            ax.axhline(1, color=plots.GREY, linestyle=":", linewidth=1.1)
            top = 1.25 * max([1.0, *shown])
            ax.set_ylim(-0.03 * top, top)  # a line at 0 is not the frame
            ax.legend(fontsize=9, ncols=3)
        axes[0, 0].set(ylabel="variance / mean of N")
    return Picture(name, caption, figure)


def fano_about_regression(
    edges: Sequence[float], truth: np.ndarray, model: np.ndarray
) -> Picture:
    """Returns Fano factors about a regression of the mean, for data without replicas.

    Args:
        edges: [B + 1] limits of the expected number.
        truth: [B] squared deviations over expected number, pooled; NaN: too few.
        model: [B] likewise.
    """
    name = "fano"
    caption = (
        "Fluctuation of the number of muons about the mean that boosted trees learn "
        "from half of the true showers: squared deviation over mean, pooled over the "
        "events of a bin. A Poisson law lies at 1."
    )
    known = np.isfinite(truth) & np.isfinite(model)
    if not known.any():
        reason = "Too few events for fluctuations about a regression of the mean."
        return Picture(name, caption, reason=reason)
    limits = np.asarray(edges, np.float64)
    middle = np.sqrt(limits[1:] * limits[:-1])
    with figures.style():
        figure, axes = figures.canvas(1, 1, (6.6, 4.2))
        ax = axes[0, 0]
        ax.set(xscale="log", xlim=limits[[0, -1]], ylabel="variance / mean of N")
        plots.label_log_axis(ax.xaxis, limits[0], limits[-1])
        ax.plot(middle[known], truth[known], "o-", color=plots.TRUTH, label="truth",
                markerfacecolor="white")  # fmt: skip
        ax.plot(middle[known], model[known], "o", color=plots.MODEL, label="model")
        ax.axhline(1, color=plots.GREY, linestyle=":", linewidth=1.1)
        top = 1.25 * float(max(1, truth[known].max(), model[known].max()))
        ax.set(ylim=(-0.03 * top, top), xlabel="expected number of muons")
        ax.legend()
    return Picture(name, caption, figure)


def _line_values(ax) -> list[float]:
    values = [np.asarray(line.get_ydata(), np.float64) for line in ax.get_lines()]
    return [float(v[np.isfinite(v)].max()) for v in values if np.isfinite(v).any()]


def _fano_by_mass(ax, truth: CountMoments, model: CountMoments | None) -> None:
    edges = _energy_edges(truth.primaries, 6)
    ax.set(xscale="log", xlim=edges[[0, -1]], xlabel="energy of the primary [GeV]")
    for index, band in enumerate(mass_bands(truth.primaries)):
        color = plots.BANDS[index % len(plots.BANDS)]
        line = _pooled(truth, truth.primaries[:, 0], edges, band.chosen)
        keep = np.isfinite(line.value)
        middle = np.sqrt(line.low * line.high)
        alone = "o-" if keep.sum() == 1 else "-"
        ax.plot(middle[keep], line.value[keep], alone, color=color, label=band.text,
                markerfacecolor="none")  # fmt: skip
        if model is not None:
            points = _pooled(model, model.primaries[:, 0], edges, band.chosen)
            shift = 1 + 0.03 * (index - 2)
            moved = dataclasses.replace(
                points, low=points.low * shift, high=points.high * shift
            )
            figures.draw_profile(ax, moved, color=color)


def _fano_by_mean(ax, samples: Mapping[str, CountMoments]) -> None:
    # all samples in bins of the truth's mean, so that a bin holds the same conditions
    mean = samples["truth"].mean
    some = mean[mean > 0]
    edges = np.geomspace(max(some.min(), 0.05), some.max() * 1.001, 9)
    ax.set(xscale="log", xlim=edges[[0, -1]], xlabel="mean number of muons (truth)")
    plots.label_log_axis(ax.xaxis, edges[0], edges[-1])
    for name, color in plots.colors_of(samples).items():
        profile = _pooled(samples[name], mean, edges, np.ones(len(mean), bool))
        keep = np.isfinite(profile.value)
        if name == "model":
            figures.draw_profile(ax, profile, color=color, label=name)
            continue
        middle = np.sqrt(profile.low * profile.high)
        ax.plot(middle[keep], profile.value[keep], "-", color=color, label=name,
                linewidth=2 if name == "truth" else 1.1)  # fmt: skip


def _pooled(
    moments: CountMoments, position: np.ndarray, edges: np.ndarray, chosen: np.ndarray
) -> Profile:
    """Returns the sum of variances over the sum of means in bins, with errors.

    The error is that of a ratio of sums over independent conditions.
    """
    bins = len(edges) - 1
    place = np.searchsorted(edges, position, side="right") - 1
    inside = chosen & (place >= 0) & (place < bins)
    place = place[inside]
    mean, variance = moments.mean[inside], moments.variance[inside]
    count = np.bincount(place, minlength=bins)
    below = np.bincount(place, mean, bins)
    known = (count >= _FEWEST_CONDITIONS) & (below > 0)
    safe = np.where(known, below, 1)
    value = np.bincount(place, variance, bins) / safe
    rest = np.bincount(place, (variance - value[place] * mean) ** 2, bins)
    error = np.where(known, np.sqrt(rest) / safe, np.nan)
    value = np.where(known, value, np.nan)
    return Profile(edges[:-1], edges[1:], value, np.stack([error, error]), count)
