"""The sections of a track extrapolator's report."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.report import Column, Report, Table, figures, format_number
from jaxphys.track_extrapolator.analysis import metrics
from jaxphys.track_extrapolator.analysis.comparison import Measured, Published
from jaxphys.track_extrapolator.data.dataset_files import TrackSet
from jaxphys.track_extrapolator.model.surrogate import Surrogate
from jaxphys.track_extrapolator.report import plots


def subtitle(surrogate: Surrogate, test: TrackSet) -> str:
    """Returns one sentence on the network and its test."""
    widths = "-".join(str(w) for w in surrogate.hidden) or "linear"
    return (
        f"{widths} network, {surrogate.activation}, parametrisation "
        f"{surrogate.parametrisation}, {surrogate.parameter_count:,} parameters; "
        f"z = {surrogate.z_in:g} to {surrogate.z_out:g} mm; "
        f"{len(test.state):,} test tracks."
    )


def add_highlights(report: Report, ours: Measured, batches: Sequence[int]) -> None:
    """Adds the five numbers on top of the page."""
    found = ours.found
    report.add_highlight("mean position error", found.get("pos_mean"), "mm")
    report.add_highlight("95% position error", found.get("pos_p95"), "mm")
    report.add_highlight("mean slope error", found.get("slope_mean"))
    report.add_highlight("parameters", found["total_params"])
    time = ours.times_us(batches)[batches[-1]]
    report.add_highlight(f"per track in batches of {batches[-1]:,}", time, "µs")


def add_accuracy(
    report: Report,
    ours: Measured,
    others: Sequence[Measured],
    test: TrackSet,
    surrogate: Surrogate,
) -> None:
    """Adds spectra, dependence on momentum, maps and tables of the errors."""
    with np.errstate(invalid="ignore"):
        errors = {
            r.label: np.where(
                test.ok, np.hypot(*(r.prediction - test.target)[:, :2].T), np.nan
            )
            for r in (ours, *others)
        }
        difference = np.where(test.ok[:, None], ours.prediction - test.target, np.nan)
    z_in = surrogate.z_in if np.ndim(test.z_in) == 0 else None
    found = ours.found
    rows = [
        ("position √(dx² + dy²)", "mm", *_spread(found, "pos")),
        ("|dx|", "mm", *_spread(found, "abs_dx")),
        ("|dy|", "mm", *_spread(found, "abs_dy")),
        ("slope √(dtx² + dty²)", "", *_spread(found, "slope")),
    ]
    no_truth = format_number(100 * found["failed_truth_fraction"])
    if "failed_fraction" in found:
        failed = format_number(100 * found["failed_fraction"])
        text = f"Failed predictions: {failed}% of the tracks with a valid truth."
    else:
        text = "No test track has a valid truth, so there is no error to measure."
    report.add_section(
        "Accuracy",
        "Errors are prediction minus truth at the target plane. "
        f"{text} Tracks without a valid truth, left out: {no_truth}%.",
        figures=[
            plots.error_histogram(errors),
            plots.momentum_profile(test.p_gev, errors),
            plots.bias_profile(test.p_gev, difference),
            plots.error_maps(test.state, errors["network"], z_in=z_in),
        ],
        tables=[
            Table(
                "Errors of the network over all test tracks.",
                ["error", "unit", "mean", "std", "median", "95%", "99%", "max"],
                rows,
            ),
            *_bin_tables(found),
        ],
    )


def _spread(found, name: str) -> list[float | None]:
    endings = ("mean", "std", "median", "p95", "p99", "max")
    return [found.get(f"{name}_{ending}") for ending in endings]


def _bin_tables(found) -> list[Table]:
    bins = metrics.bin_rows(found)
    endings = {"mean": "mean", "p50": "median", "p95": "95%"}
    pairs = (
        (("pos", "position", "mm"), ("slope", "slope", "")),
        (("abs_dx", "|dx|", "mm"), ("abs_dy", "|dy|", "mm")),
    )
    contents = [
        (
            "Errors of the network by momentum: " + " and ".join(t for _, t, _ in pair),
            [Column(f"{text} {e}", u) for _, text, u in pair for e in endings.values()],
            [f"{key}_{e}" for key, _, _ in pair for e in endings],
        )
        for pair in pairs
    ]
    axes = (("x", "mm"), ("y", "mm"), ("tx", ""), ("ty", ""))
    contents.append(
        (
            "Signed mean errors of the network by momentum, with standard errors",
            [c for a, u in axes for c in (Column(f"d{a}", u, 2), Column("±", u, 2))],
            [f"bias_{a}{e}" for a, _ in axes for e in ("", "_error")],
        )
    )
    head = [Column("p", "GeV"), "tracks"]
    return [
        Table(
            caption + ".",
            head + columns,
            [(p, row["tracks"], *(row.get(key) for key in keys)) for p, row in bins],
            empty="No momentum bin holds a track.",
        )
        for caption, columns, keys in contents
    ]


def add_speed(
    report: Report,
    ours: Measured,
    others: Sequence[Measured],
    batches: Sequence[int],
    published: Sequence[Published],
) -> None:
    """Adds the comparison with other methods; batches in ascending order."""
    results = [ours, *others]
    points = [
        plots.SpeedPoint(
            r.label, r.found.get("pos_mean", 0.0), r.times_us(batches), r.group
        )
        for r in results
    ]
    lines = {}
    if published:
        best = min(published, key=lambda p: p.mean)
        lines[f"original's best, {best.hidden} (no time known)"] = best.mean
    errors = ["mean", "median", "95%", "max"]
    report.add_section(
        "Speed, and what else does the job",
        _verdict(ours, others, batches[-1]),
        figures=[plots.speed_accuracy(points, lines)],
        tables=[
            Table(
                "Every method on the same test tracks.",
                [
                    "method",
                    *(Column(e, "mm") for e in errors),
                    "slope mean",
                    *(Column(f"batch {b:,}", "µs/track") for b in batches),
                    "needs",
                ],
                [r.row(batches) for r in results],
                notes=[
                    "Times are medians of repeated calls from numpy array to numpy "
                    "array, compilation excluded, on the devices named below."
                ],
                emphasis=[0],
            )
        ],
    )


def _verdict(ours, others, batch: int) -> str:
    """Says in words whether RK4 with 8 steps beats the network."""
    general = (
        "Quoted, not measured here: through a tabulated field RK4 with 100 mm steps "
        "takes about 10 µs per track on a CPU core; LHCb's C++ extrapolator about "
        "2.5 µs, and Allen on a GPU 5.7 ns. What a network of this kind offers is a "
        "small transport without any field map; the exact propagator with its "
        "Jacobians, and the data it makes, are of use without a network."
    )
    rk4 = next((r for r in others if r.label == "RK4 8 steps"), None)
    if rk4 is None or "pos_mean" not in rk4.found or "pos_mean" not in ours.found:
        return f"RK4 with 8 steps could not be measured in this run.\n\n{general}"
    time, error = rk4.times_us([batch])[batch], rk4.found["pos_mean"]
    net_time, net_error = ours.times_us([batch])[batch], ours.found["pos_mean"]
    faster, finer = time < net_time, error < net_error
    verdict = {
        (True, True): "Runge-Kutta is faster and more exact than the network here: "
        "where the field is cheap to evaluate, a network is not the better way.",
        (True, False): "Runge-Kutta is faster, the network more exact.",
        (False, True): "The network is faster, Runge-Kutta more exact.",
        (False, False): "The network is faster and more exact than these 8 steps.",
    }[faster, finer]
    return (
        f"In batches of {batch:,}, RK4 with 8 steps takes {format_number(time)} µs per "
        f"track with a mean error of {format_number(error)} mm; the network takes "
        f"{format_number(net_time)} µs with {format_number(net_error)} mm. "
        f"{verdict}\n\n{general}"
    )


def add_published(
    report: Report, ours: Measured, published: Sequence[Published]
) -> None:
    """Adds the numbers of the original beside those of this run."""
    best = min(published, key=lambda p: p.mean)
    size = ours.found["total_params"]
    matched = min(published, key=lambda p: abs(np.log(p.parameters / size)))
    rows: list[tuple[Any, ...]] = [
        (f"original, {p.hidden}", *dataclasses.astuple(p)[1:]) for p in published
    ]
    keys = ("pos_mean", "pos_median", "pos_p95", "pos_p99", "pos_max")
    rows.append(("this run", size, *(ours.found.get(key) for key in keys)))
    text = (
        f"The best of the original has a mean of {best.mean} mm and a 95% quantile of "
        f"{best.p95} mm with {best.parameters:,} parameters; the one nearest in size "
        f"{matched.mean} mm and {matched.p95} mm with {matched.parameters:,}."
    )
    if ours.found.get("pos_mean"):
        ratios = (p.mean / ours.found["pos_mean"] for p in (best, matched))
        text += " Their means are {} and {} times the mean of this run.".format(
            *(format_number(ratio) for ratio in ratios)
        )
    errors = ["mean", "median", "95%", "99%", "max"]
    report.add_section(
        "Beside the original",
        text,
        tables=[
            Table(
                "Published position errors of the original program and this run.",
                ["network", "parameters", *(Column(e, "mm") for e in errors)],
                rows,
                notes=[
                    "The original: 50,000 tracks, of which 42,500 for training, 2,000 "
                    "epochs, tanh, absolute outputs, 2,500 other test tracks."
                ],
                emphasis=[len(rows) - 1],
            )
        ],
    )


def add_physics(
    report: Report, ours: Measured, surrogate: Surrogate, field: Callable | None
) -> None:
    """Adds Jacobian errors, mirror asymmetry and the profile of the field."""
    found = ours.found
    names = {
        "jacobian_median": "Jacobian, relative Frobenius error, median",
        "jacobian_p95": "Jacobian, relative Frobenius error, 95%",
        **{
            f"jacobian_median_{key}": f"its column d/d({text}) alone, median"
            for key, text in zip(
                ("x", "y", "tx", "ty", "qop"),
                ("x", "y", "tx", "ty", "q/p"),
                strict=True,
            )
        },
        "mirror_mean": "charge-mirror asymmetry, mean [mm]",
        "mirror_p95": "charge-mirror asymmetry, 95% [mm]",
    }
    text = (
        "The goal for the Jacobian of a network is a relative error below 0.05. With "
        "q/p in 1/MeV its norm is that of the column d/d(q/p), so the other columns "
        "are listed each for itself. The "
        "charge-mirror asymmetry compares the prediction with the mirrored prediction "
        "for (−x, y, −tx, ty, −q/p); an exact transport through a mirror-symmetric "
        "field has none."
    )
    if "jacobian_median" not in found:
        text += " Without the field there is no true Jacobian to compare with."
    report.add_section(
        "Derivatives, symmetry and field",
        text,
        figures=[plots.field_profile(field, surrogate.z_in, surrogate.z_out)],
        tables=[
            Table(
                "Derivatives and symmetry of the network.",
                ["quantity", "value"],
                [(text, found[key]) for key, text in names.items() if key in found],
                empty="No test track has a valid truth.",
            )
        ],
    )


def add_training(
    report: Report, columns: Mapping[str, np.ndarray], training: Mapping[str, Any]
) -> None:
    """Adds the size of the training and the curves of loss and learning rate."""
    losses = {"train_loss": "training", "val_loss": "validation"}
    text = ""
    if "train_samples" in training and "val_samples" in training:
        text = (
            f"{training['train_samples']:,} tracks for training and "
            f"{training['val_samples']:,} for validation."
        )
    report.add_section(
        "Training",
        text,
        figures=[
            figures.training_curves(
                columns, losses, rate="learning_rate", best="val_loss"
            )
        ],
    )


def limits(
    ours: Measured,
    surrogate: Surrogate,
    published: Sequence[Published],
    field: Callable | None,
) -> str:
    """Returns what a user must know before relying on this network, as a list."""
    found = ours.found
    found_limits = []
    if surrogate.dz_mode == "fixed":
        found_limits.append(
            f"The network knows one pair of planes, {surrogate.z_in:g} and "
            f"{surrogate.z_out:g} mm; other planes are refused."
        )
    bins = metrics.bin_rows(found)
    if len(bins) > 1:
        (slow, low), (fast, high) = bins[0], bins[-1]
        found_limits.append(
            f"The error depends on momentum: mean {format_number(low['pos_mean'])} mm "
            f"at {slow} GeV, {format_number(high['pos_mean'])} mm at {fast} GeV."
        )
    if found.get("jacobian_p95", 0.0) > 0.05:
        found_limits.append("For over 5% of the tracks the Jacobian misses its goal.")
    if type(field).__name__ == "GaussSeed":
        found_limits.append(
            "The seed field is no solution of Maxwell's equations; it serves as a "
            "benchmark only."
        )
    if published:
        found_limits.append(
            "The published errors are those of other tracks of the same distribution; "
            "slopes were not trained there (mean slope error about 0.01)."
        )
    found_limits.append("Material is not simulated: no energy loss, no scattering.")
    return "\n".join(f"- {limit}" for limit in found_limits)
