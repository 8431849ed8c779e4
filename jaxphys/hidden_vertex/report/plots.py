"""Figures of a Hidden Vertex report; matplotlib is imported on use."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxphys.hidden_vertex.analysis import scores
from jaxphys.hidden_vertex.analysis.sculpting import Sculpting
from jaxphys.hidden_vertex.inference.scored import Scored
from jaxphys.report import figures
from jaxphys.report.figures import Picture

BACKGROUND, SIGNAL, UNKNOWN = "#3f6fd8", "#e42536", "#3b4250"
_GREY = "#717581"
_SCORES = ("#3f6fd8", "#f89c20", "#964a8b", "#2f9e72", "#8c5a2b", "#9c9ca1")
_CUTS = ("#f89c20", "#e42536", "#964a8b", "#2f9e72")
_FEWEST_KEPT = 20  # events after a cut whose spectrum can be read


def classes_of(scored: Scored) -> dict[str, tuple[np.ndarray, str]]:
    """Returns the kinds of events that are there: name -> (which [E], colour)."""
    if scored.label is None:
        return {"all events": (np.ones(len(scored), bool), UNKNOWN)}
    signal = np.asarray(scored.label) > 0
    kinds = {"background": (~signal, BACKGROUND), "signal": (signal, SIGNAL)}
    return {name: kind for name, kind in kinds.items() if kind[0].any()}


def score_histogram(scored: Scored, bins: int = 50) -> Picture:
    """Returns the spectrum of the leading score, linear and logarithmic.

    Args:
        scored: the events.
        bins: of each panel.
    """
    name = "score_histogram"
    caption = (
        f"Score “{scored.headline}” in {bins} bins. Left: its core, each class "
        "normalised to one; right: number of events over the whole range, where the "
        "tail is what a search looks at."
    )
    score = scored.score
    if not len(score) or np.ptp(score) == 0:
        reason = "All events have the same score: there is no spectrum to show."
        return Picture(name, caption, reason=reason)
    kinds = classes_of(scored)
    core = [_core(score[some]) for some, _ in kinds.values()]
    low, high = min(c[0] for c in core), max(c[1] for c in core)
    if low == high:
        low, high = score.min(), score.max()
    ranges = np.linspace(low, high, bins + 1), _whole_range(score, bins)
    with figures.style():
        figure, axes = figures.canvas(1, 2, (11, 4.1))
        for ax, edges, normalised in zip(axes[0], ranges, (True, False), strict=True):
            for text, (some, color) in kinds.items():
                counts = np.histogram(score[some], edges)[0].astype(np.float64)
                if normalised:
                    counts /= some.sum()
                label = f"{text} ({some.sum():,})"
                ax.stairs(counts, edges, fill=True, color=color, alpha=0.25)
                ax.stairs(counts, edges, color=color, linewidth=1.5, label=label)
            ax.set(xlabel=f"score {scored.headline}", xlim=(edges[0], edges[-1]))
        axes[0, 0].set(ylabel="fraction of the class / bin", ylim=(0, None))
        axes[0, 1].set(ylabel="events / bin", yscale="log", ylim=(0.5, None))
        axes[0, 0].legend()
    return Picture(name, caption, figure)


def _core(score: np.ndarray) -> tuple[float, float]:
    """Returns the range of the bulk, however far a few events lie outside."""
    low, high = np.quantile(score, [0.05, 0.95])
    width = high - low
    first, last = np.quantile(score, [0.002, 0.998])
    return max(first, low - width), min(last, high + width)


def _whole_range(score: np.ndarray, bins: int) -> np.ndarray:
    low, high = score.min(), score.max()
    return np.linspace(low, high + 1e-9 * (high - low), bins + 1)


def roc(scored: Scored, areas: Mapping[str, float]) -> Picture:
    """Returns the ROC curves of all scores, with linear and logarithmic abscissa.

    Args:
        scored: events with labels.
        areas: AUC by name of the score, for the legend.
    """
    name = "roc"
    caption = (
        "ROC curve: signal efficiency against background efficiency, linear and "
        "logarithmic. On the dashed diagonal a score is worth nothing."
    )
    if scored.label is None or not scored.has_both:
        return Picture(name, caption, reason=_no_labels("ROC curve"))
    num_background = int(scored.background.sum())
    with figures.style():
        figure, axes = figures.canvas(1, 2, (11, 4.8))
        grid = np.geomspace(1 / num_background, 1, 200)
        for ax in axes[0]:
            ax.plot(grid, grid, "--", color=_GREY, linewidth=1.1)
            for text, color in _colors(scored).items():
                curve = scores.roc_curve(scored.label, scored.scores[text])
                width = 2.2 if text == scored.headline else 1.3
                label = f"{text}: AUC {areas[text]:.3f}"
                ax.plot(
                    curve.fpr, curve.tpr, color=color, linewidth=width, label=label
                )  # fmt: skip
            ax.set(ylim=(0, 1), ylabel=r"signal efficiency $\epsilon_S$")
            ax.set_xlabel(r"background efficiency $\epsilon_B$")
        axes[0, 0].set(xlim=(0, 1))
        axes[0, 0].legend(loc="lower right")
        axes[0, 1].set(xscale="log", xlim=(max(1 / num_background, 1e-5), 1))
    return Picture(name, caption, figure)


def _colors(scored: Scored) -> dict[str, str]:
    """Returns a colour for each score, the leading one first."""
    names = sorted(scored.scores, key=lambda n: n != scored.headline)
    return {n: _SCORES[i % len(_SCORES)] for i, n in enumerate(names)}


def _no_labels(what: str) -> str:
    return f"No {what}: it needs labels of both background and signal."


def sic(
    scored: Scored, others: Mapping[str, ArrayLike] | None = None
) -> Picture:  # fmt: skip
    """Returns the significance improvement against the signal efficiency.

    Args:
        scored: events with labels.
        others: values [E] by name of what is shown beside the scores in grey.
    """
    name, least = "sic", scores.SIC_MIN_BACKGROUND
    caption = (
        r"Significance improvement εS / √εB of a cut against its signal efficiency; "
        f"cuts that fewer than {least} background events pass are left out. A dot "
        "marks the best cut; below the dashed line a cut loses significance."
    )
    if scored.label is None or not scored.has_both:
        return Picture(name, caption, reason=_no_labels("SIC curve"))
    curves: dict[str, tuple[ArrayLike, dict[str, Any]]] = {
        text: (scored.scores[text], {"color": color})
        for text, color in _colors(scored).items()
    }
    for index, (text, values) in enumerate((others or {}).items()):
        line = {"color": _GREY, "linestyle": (":", "-.", (0, (5, 1)))[index % 3]}
        curves[text] = (values, line)
    drawn = False
    with figures.style():
        figure, axes = figures.canvas(1, 1, (9, 4.4))
        ax = axes[0, 0]
        ax.axhline(1, color=_GREY, linestyle="--", linewidth=1.1)
        for text, (values, look) in curves.items():
            signal, _, gain, _ = scores.sic_curve(scored.label, values)
            if not len(gain):
                continue
            drawn, at = True, int(np.argmax(gain))
            width = 2.2 if text == scored.headline else 1.3
            label = f"{text}: {gain[at]:.2f} at $\\epsilon_S$ = {signal[at]:.2f}"
            ax.plot(signal, gain, linewidth=width, label=label, **look)
            ax.plot(signal[at], gain[at], "o", color=look["color"])
        ax.set(xlim=(0, 1), ylim=(0, None))
        ax.set_xlabel(r"signal efficiency $\epsilon_S$")
        ax.set_ylabel(r"$\epsilon_S\,/\,\epsilon_B^{1/2}$")
        if drawn:
            figure.legend(loc="outside right upper")
    if not drawn:
        reason = f"No cut keeps {least} background events: too few for a SIC curve."
        return Picture(name, caption, reason=reason)
    return Picture(name, caption, figure)


def mass_sculpting(found: Sculpting | None, labelled: bool = True) -> Picture:
    """Returns the dijet mass before and after cuts, and their ratio.

    Args:
        found: the spectra; None: there is no mass.
        labelled: whether the events are background only.
    """
    name, of = "mass_sculpting", "background" if labelled else "all events"
    caption = (
        f"Dijet mass of {of} without a cut and after cuts on the score, each "
        "normalised to one; below, their ratio to no cut with its statistical error, "
        "in bins where at least one event is expected to pass. A score that does not "
        "sculpt the mass stays at 1."
    )
    if found is None:
        reason = "No dijet mass to look at: it is not known, or of too few events."
        return Picture(name, caption, reason=reason)
    middle = (found.edges[:-1] + found.edges[1:]) / 2
    few = [f"{100 * c:g}%" for c, n in found.kept.items() if n < _FEWEST_KEPT]
    if few:
        caption += (
            f" Under {_FEWEST_KEPT} events are left, not drawn: {', '.join(few)}."
        )
    with figures.style():
        ratios = {"height_ratios": [2, 1.2]}
        figure, axes = figures.canvas(
            2, 1, (7.6, 5.4), sharex=True, gridspec_kw=ratios
        )  # fmt: skip
        top, bottom = axes[:, 0]
        share = found.before / found.total
        look = {"color": _GREY, "alpha": 0.3, "label": f"no cut ({found.total:,})"}
        top.stairs(share, found.edges, fill=True, **look)
        bottom.axhline(1, color=_GREY, linewidth=1.1)
        shown = [item for item in found.kept.items() if item[1] >= _FEWEST_KEPT]
        for index, (cut, kept) in enumerate(shown):
            color = _CUTS[index % len(_CUTS)]
            label = f"highest {100 * cut:g}% ({kept:,})"
            top.stairs(
                found.after[cut] / kept, found.edges, color=color, linewidth=1.6,
                label=label,
            )  # fmt: skip
            value, error = found.ratio(cut)
            value[found.before * kept < found.total] = np.nan  # noise, no information
            # side by side, so that the bars can be told apart
            shift = (index - (len(shown) - 1) / 2) * 0.18 * np.diff(found.edges)
            bottom.errorbar(
                middle + shift, value, error, fmt="o", color=color, elinewidth=1.1
            )  # fmt: skip
        top.set(ylabel=f"fraction of {of} / bin", ylim=(0, None))
        top.legend()
        bottom.set(xlabel=r"dijet mass $m_{jj}$ [GeV]", ylabel="ratio to no cut")
        bottom.set(xlim=(found.edges[0], found.edges[-1]), ylim=(0, _top(bottom)))
    return Picture(name, caption, figure)


def _top(ax) -> float:
    return float(np.clip(ax.get_ylim()[1], 2, 5))


def training(history: figures.History, floor: float | None = None) -> Picture:
    """Returns the losses by epoch, with the floor of a model that has one.

    Args:
        history: see `jaxphys.report.figures.history_columns`.
        floor: the smallest loss that the model can reach on the validation events.
    """
    caption = "Loss after every epoch."
    if floor is not None:
        caption += (
            " The dotted line is the floor of the validation events, the smallest loss "
            "that a model with one vector per event can reach on them; the training "
            "events have a floor of their own."
        )
    picture = figures.training_curves(
        history,
        {"train_loss": "training", "val_loss": "validation"},
        best="val_loss",
        caption=caption,
    )
    if picture.figure is None:
        return picture
    (ax,) = picture.figure.axes
    values = np.concatenate([line.get_ydata() for line in ax.get_lines()])
    if floor is not None:
        values = np.append(values, floor)
    low, high = np.nanmin(values), np.nanmax(values)
    with figures.style():
        if low <= 0 or high < 5 * low:
            ax.set_yscale("linear")  # within a decade a log axis has no numbers
        if floor is not None:
            ax.axhline(
                floor, color="black", linestyle=":", label=f"floor {floor:.4f}"
            )  # fmt: skip
        ax.legend()
    return picture


def floor_gap(history: figures.History, floor: float | None) -> Picture | None:
    """Returns how far the validation loss lies above its floor, in percent by epoch.

    Args:
        history: see `jaxphys.report.figures.history_columns`.
        floor: the smallest loss that the model can reach on the validation events.

    Returns:
        None for a model without a floor.
    """
    if floor is None or floor <= 0:
        return None
    name, caption = "floor_gap", "Validation loss above its floor, in percent of it."
    columns = figures.history_columns(history)
    gap = 100 * (columns.get("val_loss", np.zeros(0)) - floor) / floor
    epoch = columns.get("epoch", np.arange(1, len(gap) + 1))[: len(gap)]
    keep = np.isfinite(gap) & (gap > 0)
    if not keep.any():
        reason = "The history of this run holds no validation loss above the floor."
        return Picture(name, caption, reason=reason)
    with figures.style():
        figure, axes = figures.canvas(1, 1, (7.2, 3.2))
        ax = axes[0, 0]
        ax.semilogy(epoch[keep], gap[keep], "o-", color=_SCORES[1])
        ax.yaxis.set_major_formatter("{x:g}")
        ax.set(xlabel="epoch", ylabel="(loss − floor) / floor [%]")
        ax.xaxis.get_major_locator().set_params(integer=True)
    return Picture(name, caption, figure)
