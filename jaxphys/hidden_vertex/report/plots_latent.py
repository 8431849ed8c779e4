"""Figures of the codes of events; matplotlib is imported on use."""

import numpy as np

from jaxphys.hidden_vertex.analysis.evaluation import principal_components
from jaxphys.hidden_vertex.inference.scored import Scored
from jaxphys.hidden_vertex.report.plots import BACKGROUND, SIGNAL, UNKNOWN, classes_of
from jaxphys.report import figures
from jaxphys.report.figures import Picture

_MOST_POINTS = 4000  # of a scatter: more only hide one another


def _codes(scored: Scored) -> tuple[np.ndarray, list[str], np.ndarray] | None:
    """Returns codes [n, D], their names, and the positions of these n events."""
    if scored.code is None or scored.code.size == 0:
        return None
    count, width = scored.code.shape[1:]
    names = [
        f"jet {j + 1} $z_{{{i + 1}}}$" if count > 1 else f"$z_{{{i + 1}}}$"
        for j in range(count)
        for i in range(width)
    ]
    code = scored.code.reshape(len(scored), -1)
    finite = np.flatnonzero(np.isfinite(code).all(axis=1))
    return (code[finite], names, finite) if len(finite) > 2 else None


def _some(where: np.ndarray) -> np.ndarray:
    """Returns at most so many of the events that a scatter stays readable."""
    if len(where) <= _MOST_POINTS:
        return where
    return np.random.default_rng(0).choice(where, _MOST_POINTS, replace=False)


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.001, 0.999])
    room = 0.08 * (high - low) or 0.5
    return float(low - room), float(high + room)


def _by_label(ax, x, y, labels) -> None:
    """Draws points by class in mixed order, so that no class covers the other."""
    from matplotlib.colors import to_rgba

    order = np.random.default_rng(1).permutation(len(x))
    color = np.zeros((len(x), 4))
    for some, name in labels:
        color[some] = to_rgba(name, 0.5)
    ax.scatter(
        x[order], y[order], s=5, c=color[order], linewidths=0, rasterized=True
    )  # fmt: skip


def _by_score(ax, x, y, score) -> "object":
    order = np.argsort(score, kind="stable")  # the most anomalous on top
    low, high = np.quantile(score, [0.02, 0.98])
    return ax.scatter(
        x[order], y[order], s=5, c=score[order], cmap="viridis", alpha=0.8,
        vmin=low, vmax=high, linewidths=0, rasterized=True,
    )  # fmt: skip


def latent_pca(scored: Scored) -> Picture:
    """Returns the codes along their first two principal components.

    Coloured by label on the left, by score on the right. A code of one number is shown
    as its spectrum and against the score.
    """
    name = "latent_pca"
    caption = (
        "The codes along their first two principal components, by label and by score; "
        f"at most {_MOST_POINTS:,} events, drawn at random."
    )
    found = _codes(scored)
    if found is None:
        return Picture(name, caption, reason="There are no codes to show.")
    code, names, where = found
    with figures.style():
        figure, axes = figures.canvas(1, 2, (11, 4.5))
        left, right = axes[0]
        if code.shape[1] == 1:
            caption = "The code, one number per event: its spectrum, and the score."
            x, y = code[:, 0], scored.score[where]
            xlabel, ylabel = names[0], f"score {scored.headline}"
            edges = np.linspace(*_limits(x), 51)
            for text, (some, color) in classes_of(scored).items():
                figures.histogram(left, x[some[where]], edges, label=text, color=color)
            left.set(ylabel="events / bin")
        else:
            projected, share = principal_components(code)
            x, y = projected.T
            xlabel, ylabel = (
                f"principal component {i + 1} ({100 * part:.0f}% of the variance)"
                for i, part in enumerate(share)
            )
        pick = _some(np.arange(len(where)))
        kinds = classes_of(scored).items()
        if code.shape[1] > 1:
            labels = [(some[where[pick]], color) for _, (some, color) in kinds]
            _by_label(left, x[pick], y[pick], labels)
            left.set(ylim=_limits(y), ylabel=ylabel)
            for text, (_, color) in kinds:
                left.plot([], [], "o", color=color, label=text)
        left.legend()
        points = _by_score(right, x[pick], y[pick], scored.score[where[pick]])
        right.set(ylim=_limits(y), ylabel=ylabel)
        for ax in axes[0]:
            ax.set(xlim=_limits(x), xlabel=xlabel)
        _score_bar(figure, points, scored.headline, ax=right)
    return Picture(name, caption, figure)


def _score_bar(figure, points, headline, **place) -> None:
    from matplotlib.cm import ScalarMappable

    # of its own: a bar of the points would have their transparency
    colors = ScalarMappable(points.norm, points.cmap)
    figure.colorbar(colors, label=f"score {headline}", extend="both", **place)


def latent_pairs(scored: Scored, most: int = 4) -> Picture:
    """Returns the components of the code that vary most, one against the other.

    Args:
        scored: the events.
        most: components at most.
    """
    name = "latent_pairs"
    caption = (
        "Pairs of the components of the code that vary most: below the diagonal by "
        "label, above by score, on it the spectra of each class, normalised"
    )
    kinds = classes_of(scored)
    words = {BACKGROUND: "blue", SIGNAL: "red", UNKNOWN: "grey"}
    caption += " ({}).".format(
        ", ".join(f"{text} in {words[color]}" for text, (_, color) in kinds.items())
    )
    found = _codes(scored)
    if found is None or found[0].shape[1] < 2:
        return Picture(name, caption, reason="A code needs two components for pairs.")
    code, names, where = found
    first = np.sort(np.argsort(-code.std(axis=0), kind="stable")[:most])
    pick = _some(np.arange(len(where)))
    labels = [(some[where[pick]], color) for some, color in kinds.values()]
    size, points = len(first), None
    with figures.style():
        side = 2.4 * size + 0.6
        figure, axes = figures.canvas(size, size, (side, 0.84 * side))
        # the axes hide their inner labels, so nothing has to be fitted
        figure.set_layout_engine(None)
        figure.subplots_adjust(0.08, 0.09, 0.88, 0.98, 0.06, 0.06)
        for row, i in enumerate(first):
            for column, j in enumerate(first):
                ax = axes[row, column]
                x, y = code[pick, j], code[pick, i]
                ax.set(xlim=_limits(code[:, j]))
                if row == column:
                    edges = np.linspace(*_limits(code[:, i]), 41)
                    for some, color in kinds.values():
                        values = code[some[where], i]
                        share = np.histogram(values, edges)[0] / max(len(values), 1)
                        ax.stairs(share, edges, color=color, linewidth=1.4)
                    ax.set(yticks=[], ylim=(0, None))
                elif row > column:
                    _by_label(ax, x, y, labels)
                else:
                    points = _by_score(ax, x, y, scored.score[where[pick]])
                if row != column:
                    ax.set(ylim=_limits(code[:, i]))
                ax.tick_params(
                    labelbottom=row == size - 1, labelleft=0 == column != row
                )  # fmt: skip
                if row == size - 1:
                    ax.set_xlabel(names[j])
                if column == 0:
                    ax.set_ylabel(names[i])
        _score_bar(
            figure,
            points,
            scored.headline,
            cax=figure.add_axes((0.9, 0.09, 0.018, 0.89)),
        )
    return Picture(name, caption, figure)
