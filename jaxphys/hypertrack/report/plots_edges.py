"""Figures of the edges and of the training; matplotlib is imported on use."""

from collections.abc import Mapping

import numpy as np

from jaxphys.hypertrack.analysis import edge_scores
from jaxphys.hypertrack.model.voxels import VoxelModel
from jaxphys.hypertrack.report.plots import COLORS, GREY
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


def training(history: figures.History, joint_step: float | None = None) -> Picture:
    """Returns losses, AUC and learning rate in the course of the training.

    Args:
        history: see `jaxphys.report.figures.history_columns`; columns step,
            train_loss, val_loss, train_auc, val_auc, train_auc_without_self,
            val_auc_without_self and learning_rate, as far as they are known.
        joint_step: iteration at which the joint phase began; None: it did not.
    """
    name = "training"
    caption = (
        "Loss, AUC of the candidate edges and learning rate during the training; "
        "training values are means since the last evaluation."
    )
    if joint_step is not None:
        caption += (
            " The dotted line is where the joint phase began: the transformer trains "
            "from there on, its losses are added, the optimizer starts anew."
        )
    columns = figures.history_columns(history)
    known = {k for k, v in columns.items() if np.isfinite(v).any()}
    shown = {
        title: {k: text for k, text in panel.items() if k in known}
        for title, panel in _TRAINING_PANELS.items()
    }
    shown = {title: panel for title, panel in shown.items() if panel}
    if not shown:
        reason = "The history of this run holds no evaluation."
        return Picture(name, caption, reason=reason)
    with figures.style():
        figure, axes = figures.canvas(1, len(shown), (4.6 * len(shown), 4.0))
        for ax, (title, panel) in zip(axes[0], shown.items(), strict=True):
            for key, text in panel.items():
                _curve(ax, columns, key, text)
            if joint_step is not None:
                ax.axvline(joint_step, color="black", linestyle=":", linewidth=1.1)
            ax.set_xlabel("iteration" if "step" in columns else "evaluation")
            ax.set_ylabel(title)
            if len(panel) > 1:
                ax.legend(loc="upper right" if title == "loss" else "lower right")
    return Picture(name, caption, figure)


_TRAINING_PANELS: Mapping[str, Mapping[str, str]] = {
    "loss": {"train_loss": "training", "val_loss": "validation"},
    "AUC of the edges": {
        "train_auc_without_self": "training, without self edges",
        "val_auc_without_self": "validation, without self edges",
        "train_auc": "training, all edges",
        "val_auc": "validation, all edges",
    },
    "learning rate": {"learning_rate": ""},
}


def _curve(ax, columns: Mapping[str, np.ndarray], key: str, text: str) -> None:
    y = columns[key]
    x = columns.get("step", np.arange(1.0, len(y) + 1))[: len(y)]
    keep = np.isfinite(y)
    style = "o" if keep.sum() == 1 else ("--" if key.endswith("auc") else "-")
    color = GREY if key == "learning_rate" else COLORS[key.startswith("val")]
    ax.plot(x[keep], y[keep], style, color=color, label=text)


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
