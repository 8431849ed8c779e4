"""Figures of the edges and of the training; matplotlib is imported on use."""

from collections.abc import Mapping

import numpy as np

from jaxphys.hypertrack import edge_scores
from jaxphys.hypertrack.plots import COLORS, GREY
from jaxphys.hypertrack.voxels import VoxelModel
from jaxphys.report import figures
from jaxphys.report.figures import Picture

_MOST_CELLS = 20_000


def roc(
    label: np.ndarray, prob: np.ndarray, edge_index: np.ndarray, threshold: float
) -> Picture:
    """Returns the ROC curve of candidate edges, with and without self edges.

    Args:
      label: whether both ends belong to one track, [E].
      prob: [E].
      edge_index: [2, E].
      threshold: the cut of the clustering, marked.
    """
    name = "edge_roc"
    caption = (
        "ROC curve of the candidate edges: true edges that pass against false ones "
        "that do, linear and with a logarithmic abscissa. The dot is the cut at "
        f"{threshold:g} of the clustering. Self edges of hits are easy; the curve "
        "without them is the one to look at."
    )
    label, prob = np.asarray(label) > 0.5, np.asarray(prob)
    other = edge_index[0] != edge_index[1]
    if label[other].all() or not label[other].any():
        reason = "The candidate edges are of one class only: there is no ROC curve."
        return Picture(name, caption, reason=reason)
    with figures.style():
        figure, axes = figures.canvas(1, 2, (11.4, 4.4))
        for text, some, color in (
            ("without self edges", other, COLORS[0]),
            ("all candidate edges", slice(None), GREY),
        ):
            curve = edge_scores.roc(label[some], prob[some])
            area = edge_scores.auc(label[some], prob[some])
            at = edge_scores.rates(label[some], prob[some], threshold)
            for ax in axes[0]:
                ax.plot(
                    curve.fpr, curve.tpr, color=color, label=f"{text}: AUC {area:.4f}"
                )  # fmt: skip
                ax.plot(at["fpr"], at["tpr"], "o", color=color)
        least = 1 / max((~label[other]).sum(), 1)
        for ax in axes[0]:
            ax.set(ylim=(0, 1.02), ylabel="true edges that pass")
            ax.set_xlabel("false edges that pass")
        axes[0, 0].set_xlim(0, 1)
        axes[0, 0].legend(loc="lower right")
        axes[0, 1].set(xscale="log", xlim=(max(least, 1e-6), 1))
    return Picture(name, caption, figure)


def scores_by_class(
    label: np.ndarray, prob: np.ndarray, edge_index: np.ndarray, threshold: float
) -> Picture:
    """Returns the probabilities of true, false and self edges.

    Args:
      label: whether both ends belong to one track, [E].
      prob: [E].
      edge_index: [2, E].
      threshold: the cut of the clustering, marked.
    """
    name = "edge_scores"
    caption = (
        "Probability that the net gives to candidate edges, by what they are. Self "
        f"edges join a hit to itself. The dashed line is the cut at {threshold:g}."
    )
    label, prob = np.asarray(label) > 0.5, np.asarray(prob)
    if not len(prob):
        return Picture(name, caption, reason="There is no candidate edge.")
    own = edge_index[0] == edge_index[1]
    classes = {
        "true edge": (label & ~own, COLORS[0], "-"),
        "false edge": (~label & ~own, COLORS[5], "-"),
        "self edge of a track": (label & own, COLORS[0], ":"),
        "self edge of noise": (~label & own, COLORS[5], ":"),
    }
    edges = np.linspace(0, 1, 51)
    with figures.style():
        figure, axes = figures.canvas(1, 1, (8.4, 4.4))
        ax = axes[0, 0]
        for text, (some, color, line) in classes.items():
            if some.any():
                share = np.histogram(prob[some], edges)[0] / some.sum()
                what = f"{text} ({int(some.sum()):,})"
                ax.stairs(
                    share, edges, color=color, linestyle=line, linewidth=1.6, label=what
                )  # fmt: skip
        ax.axvline(threshold, color=GREY, linestyle="--", linewidth=1.1)
        ax.set(yscale="log", xlim=(0, 1), xlabel="probability of the edge")
        ax.set_ylabel("part of the class / bin")
        figure.legend(loc="outside right upper")
    return Picture(name, caption, figure)


def progress(history: figures.History) -> Picture:
    """Returns AUC and track scores in the course of the training.

    Args:
      history: see `jaxphys.report.figures.history_columns`; columns auc, auc_no_self,
        dms, efficiency and purity of the validation events, where there are any.
    """
    name, caption = "progress", "Scores of the validation events during the training."
    columns = figures.history_columns(history)
    panels: tuple[Mapping[str, str], ...] = (
        {"auc_no_self": "AUC without self edges", "auc": "AUC of all edges"},
        {"efficiency": "efficiency", "purity": "purity", "dms": "weighted score (DMS)"},
    )
    known = {k for k, v in columns.items() if np.isfinite(v).any()}
    shown = [{k: t for k, t in panel.items() if k in known} for panel in panels]
    shown = [panel for panel in shown if panel]
    if not shown:
        reason = "The history of this run holds no score of validation events."
        return Picture(name, caption, reason=reason)
    with figures.style():
        figure, axes = figures.canvas(1, len(shown), (5.8 * len(shown), 4.0))
        for ax, panel in zip(axes[0], shown, strict=True):
            for index, (key, text) in enumerate(panel.items()):
                y = columns[key]
                x = columns.get("step", np.arange(1.0, len(y) + 1))[: len(y)]
                keep = np.isfinite(y)
                look = {"color": COLORS[index], "label": text}
                line = "o" if keep.sum() == 1 else "-"
                ax.plot(x[keep], y[keep], line, **look)
            ax.set_xlabel("iteration" if "step" in columns else "evaluation")
            ax.legend(loc="lower right")
    return Picture(name, caption, figure)


def voxel_cells(model: VoxelModel) -> Picture:
    """Returns the cells of a Voxel-Dynamics model, coloured by their connections."""
    name = "voxel_cells"
    caption = (
        "Centres of the cells of the Voxel-Dynamics model, coloured by the number of "
        "cells that a track of the training events connects each with."
    )
    if model.num_cells > _MOST_CELLS:
        reason = f"{model.num_cells:,} cells are too many to draw one by one."
        return Picture(name, caption, reason=reason)
    x, y, z = np.asarray(model.centroids).T
    degree = np.diff(model.indptr)
    order = np.argsort(degree)
    with figures.style():
        figure, axes = figures.canvas(1, 2, (12, 4.6), width_ratios=[1, 1.7])
        look = {"c": degree[order], "cmap": "viridis", "s": 3, "rasterized": True}
        axes[0, 0].scatter(x[order], y[order], linewidths=0, **look)
        drawn = axes[0, 1].scatter(
            z[order], np.hypot(x, y)[order], linewidths=0, **look
        )  # fmt: skip
        figure.colorbar(drawn, ax=axes[0, 1], label="connected cells")
        axes[0, 0].set(xlabel="x [mm]", ylabel="y [mm]", aspect="equal")
        axes[0, 1].set(xlabel="z [mm]", ylabel="r [mm]", ylim=(0, None))
    return Picture(name, caption, figure)
