"""Figures of a training and of reference numbers; matplotlib is imported on use."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.cr_muons.report import plots
from jaxphys.report import figures
from jaxphys.report.figures import History, Picture

DISTANCES = {
    "w1_n": "lg(1 + N)",
    "w1_logE": "lg E",
    "w1_logr": "lg r",
    "w1_sum": "sum",
}
# (title, label, {column: text}, whether the ordinate may be logarithmic)
_PANELS: tuple[tuple[str, str, dict[str, str], bool], ...] = (
    ("critic", "loss", {
        "train_c_loss": "critic", "train_w_gap": "real − fake", "train_gp": "penalty",
    }, False),
    ("generator", "loss", {"train_g_loss": "loss"}, False),
    ("multiplicity", "loss", {"train_m_loss": "loss"}, False),
    ("validation", "Wasserstein distance", DISTANCES, True),
    ("gradients", "norm of the gradient", {
        "train_grad_norm_gen": "generator", "train_grad_norm_crit": "critic",
    }, True),
    ("adaptation", "value", {
        "train_critic_steps": "critic steps", "train_lambda_gp": "penalty weight",
        "train_score_ema": "mean |score|",
    }, False),
)  # fmt: skip


def training(history: History, best: str = "w1_sum") -> Picture:
    """Returns the losses and the distances of the validation against the step.

    Args:
        history: columns by name, or one mapping per evaluation: step, train_c_loss,
            train_w_gap, train_gp, train_g_loss, train_m_loss, w1_n, w1_logE, w1_logr,
            w1_sum, ..., as far as known; a name of an evaluation may begin with val_.
        best: the column whose smallest value is marked.
    """
    name = "training"
    caption = (
        "Training against the step. The losses of a critic and a generator do not say "
        "how good the generator is: the distances between generated and true "
        "distributions of the validation showers do; the star marks the smallest sum, "
        "the weights that are kept."
    )
    columns = plain_names(figures.history_columns(history))
    distances = [columns[k] for k in DISTANCES if k in columns and k != "w1_sum"]
    if "w1_sum" not in columns and distances:
        columns["w1_sum"] = np.sum(distances, axis=0)
    panels = [
        (title, label, {k: t for k, t in keys.items() if _known(columns, k)}, log)
        for title, label, keys, log in _PANELS
    ]
    panels = [panel for panel in panels if panel[2]]
    if not panels:
        return Picture(name, caption, reason="The history of this run holds no loss.")
    count = max(len(columns[k]) for panel in panels for k in panel[2])
    step = columns.get("step", np.arange(1, count + 1))
    width = min(3, len(panels))
    rows = -(-len(panels) // width)
    with figures.style():
        figure, axes = figures.canvas(rows, width, (11, 3.1 * rows), sharex=True)
        for ax, panel in zip(axes.flat, panels, strict=False):
            _panel(ax, step, columns, panel, best)
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        for index in range(len(panels)):
            if index + width >= len(panels):
                axes.flat[index].set_xlabel("step")
                axes.flat[index].tick_params(labelbottom=True)
    return Picture(name, caption, figure)


def plain_names(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns columns without val_ before the names of distances."""
    return {
        k.removeprefix("val_") if k.removeprefix("val_") in DISTANCES else k: v
        for k, v in columns.items()
    }


def _known(columns: Mapping[str, np.ndarray], key: str) -> bool:
    return key in columns and bool(np.isfinite(columns[key]).any())


def _panel(ax, step, columns, panel, best: str) -> None:
    title, label, keys, log = panel
    for index, (key, text) in enumerate(keys.items()):
        values = columns[key]
        keep = np.isfinite(values)
        mark = "o" if keep.sum() == 1 else "-"
        color = plots.BANDS[index % len(plots.BANDS)]
        ax.plot(step[keep], values[keep], mark, color=color, label=text)
        if key == best:
            at = int(np.nanargmin(values))
            ax.plot(step[at], values[at], "*", color="black", markersize=10)
    shown = np.concatenate([columns[k] for k in keys])
    shown = shown[np.isfinite(shown)]
    if log and shown.min() > 0:
        ax.set_yscale("log")
        plots.label_log_axis(ax.yaxis, shown.min(), shown.max())
    else:
        _without_spikes(ax, shown)
    alone = len(keys) == 1
    ax.set(ylabel=next(iter(keys.values())) if alone else label, title=title)
    if not alone:
        ax.legend(fontsize=8.5)


def _without_spikes(ax, shown: np.ndarray) -> None:
    """Keeps a few wild values, those of the first steps, from flattening the rest."""
    low, high = np.quantile(shown, [0.02, 0.98])
    margin = 0.5 * (high - low)
    bottom, top = max(shown.min(), low - margin), min(shown.max(), high + margin)
    if top > bottom:
        room = 0.06 * (top - bottom)
        ax.set_ylim(bottom - room, top + room)


def reference(rows: Sequence[Mapping[str, Any]], text: str) -> Picture:
    """Returns a quantity beside a reference, against depth, by zenith angle.

    Args:
        rows: of cos_zenith, depth_km, reference, truth, model; truth_error and
            model_error where they are known; a value that is missing is left out.
        text: the quantity, label of the ordinate.
    """
    name = "reference"
    caption = (
        f"{text[:1].upper() + text[1:]}: parametrisation of MuonGun (lines; Hoerandel "
        "flux, SIBYLL), truth (open points) and model (full points), against depth. "
        "A check of marginals only: both integrate over the flux of the primaries."
    )
    found = [r for r in rows if any(_number(r, k) for k in ("truth", "model"))]
    if not found:
        reason = "This run was not compared with the reference."
        return Picture(name, caption, reason=reason)
    cosines = sorted({float(r["cos_zenith"]) for r in rows}, reverse=True)
    with figures.style():
        figure, axes = figures.canvas(1, 1, (7.6, 4.4))
        ax = axes[0, 0]
        for index, cosine in enumerate(cosines):
            part = [r for r in rows if float(r["cos_zenith"]) == cosine]
            part.sort(key=lambda r: float(r["depth_km"]))
            color = plots.BANDS[index % len(plots.BANDS)]
            depth = [float(r["depth_km"]) for r in part]
            known = [float(r["reference"]) for r in part]
            ax.plot(depth, known, "-", color=color, label=f"cos θ = {cosine:g}")
            for key, filled in (("truth", False), ("model", True)):
                _points(ax, part, key, color, filled, 0.012 * (index + 4 * filled - 3))
        for key, face in (("truth", "none"), ("model", "black")):
            if any(_number(row, key) for row in rows):
                ax.plot([], [], "o", color="black", markerfacecolor=face, label=key)
        ax.set(xlabel="vertical depth [km]", ylabel=text)
        ax.legend(ncols=2)
        ax.margins(x=0.08, y=0.25)
    return Picture(name, caption, figure)


def _number(row: Mapping[str, Any], key: str) -> bool:
    value = row.get(key)
    return value is not None and bool(np.isfinite(value))


def _points(ax, rows, key: str, color: str, filled: bool, shift: float) -> None:
    rows = [r for r in rows if _number(r, key)]
    error = [r[f"{key}_error"] if _number(r, f"{key}_error") else 0.0 for r in rows]
    face = color if filled else "white"
    ax.errorbar(
        [float(r["depth_km"]) + shift for r in rows], [float(r[key]) for r in rows],
        error, fmt="o", color=color, markerfacecolor=face, elinewidth=1, markersize=5,
    )  # fmt: skip
