"""The report of a track extrapolator run: accuracy, speed, and what beats it."""

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.report import RunPage, figures, to_json
from jaxphys.track_extrapolator.analysis import metrics
from jaxphys.track_extrapolator.analysis.comparison import (
    PUBLISHED,
    Comparison,
    Published,
    measure,
    standard_comparisons,
)
from jaxphys.track_extrapolator.data.dataset_files import TrackSet
from jaxphys.track_extrapolator.model.surrogate import Surrogate
from jaxphys.track_extrapolator.physics.propagate import propagate
from jaxphys.track_extrapolator.report import plots, sections

_ORIGINAL_KEYS = ("mean_error", "std_error", "max_error", "p50_error", "p95_error",
                  "p99_error")  # fmt: skip


def write_report(
    run: RunPage,
    *,
    surrogate: Surrogate,
    test: TrackSet,
    field: Callable | None = None,
    comparisons: Sequence[Comparison] | None = None,
    published: Sequence[Published] = PUBLISHED,
    training: Mapping[str, Any] | None = None,
    name: str = "track_mlp",
    jacobian_tracks: int = 500,
    batches: Sequence[int] = metrics.BATCHES,
    timing_seconds: float = 0.2,
) -> dict[str, Any]:
    """Measures a trained network on test tracks and writes its report.

    Written are report.html, report.json, figures/*.png and `<name>_metadata.json`
    (the keys of the original, and ours).

    Args:
        run: what the page says of the run, and where it is written.
        surrogate: the trained network.
        test: tracks that the training has not seen, with at least one track.
        field: the field that made the truth, for the comparisons, the true Jacobians
            and the field's figure; None (data came as pairs of states): comparisons
            use the surrogate's approximate field where there is one.
        comparisons: methods measured on the same tracks; None:
            `standard_comparisons` of the field.
        published: results of the original that the network is set against; only
            meaningful for the seed field between 3000 and 7000 mm, otherwise pass ().
        training: facts for the metadata file: epochs, batch_size, learning_rate,
            best_val_loss, train_samples, val_samples, seed; what is missing is taken
            from the history and the flags.
        name: name of the model, part of the name of the metadata file.
        jacobian_tracks: tracks whose Jacobian is checked.
        batches: batch sizes at which every method is timed.
        timing_seconds: time spent on each of these.

    Returns:
        The numbers: `network` (statistics of `metrics.accuracy`, Jacobian and mirror
        errors, times, total_params), `comparisons` (the same by label), `published`,
        `history`, `field_integral_tm`.

    Raises:
        ValueError: there is no test track.
    """
    if not len(test.state):
        raise ValueError("write_report, test: expected at least one track, got none")
    map_field = field if field is not None else surrogate.field
    if comparisons is None:
        comparisons = standard_comparisons(map_field)
    batches = sorted(batches)
    network = Comparison("network", surrogate.predict, "network", _net_note(surrogate))
    ours, *others = (
        measure(method, test, batches, timing_seconds)
        for method in (network, *comparisons)
    )
    ours.found.update(
        _network_only(surrogate, test, field, jacobian_tracks),
        total_params=surrogate.parameter_count,
    )
    columns = figures.history_by_epoch(run.history)
    numbers = {
        "network": ours.found | ours.times,
        "comparisons": {r.label: r.found | r.times for r in others},
        "published": [dataclasses.asdict(p) for p in published],
        "history": columns,
    }
    if field is not None:
        z_in, z_out = surrogate.z_in, surrogate.z_out
        numbers["field_integral_tm"] = plots.axis_integral(field, z_in, z_out)
    report = run.open(
        f"Track extrapolator: {name}",
        sections.subtitle(surrogate, test),
    )
    report.add_numbers(numbers)
    sections.add_highlights(report, ours, batches)
    sections.add_accuracy(report, ours, others, test, surrogate)
    sections.add_speed(report, ours, others, batches, published)
    if published:
        sections.add_published(report, ours, published)
    sections.add_physics(report, ours, surrogate, field)
    sections.add_training(report, columns, training or {})
    limits = sections.limits(ours, surrogate, published, field)
    report.add_section("Known limits", limits)
    directory = pathlib.Path(run.folder)
    content = report.write(directory)
    metadata, _ = to_json(
        _metadata(name, surrogate, test, content, training or {}, batches)
    )
    text = json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False)
    (directory / f"{name}_metadata.json").write_text(text + "\n", encoding="utf-8")
    return content["numbers"]


def _net_note(surrogate: Surrogate) -> str:
    needs = "no field" if surrogate.field is None else "approximate field"
    return f"{needs}, {surrogate.parametrisation}"


def _network_only(surrogate, test, field, jacobian_tracks) -> dict[str, float]:
    some = np.flatnonzero(test.ok)[:jacobian_tracks]
    state = test.state[some]
    z_in, z_out = (
        z if np.ndim(z) == 0 else np.asarray(z)[some] for z in (test.z_in, test.z_out)
    )
    found = metrics.charge_mirror_asymmetry(
        lambda s: surrogate.predict(s, z_in, z_out), state
    )
    if field is not None and len(some):
        _, truth = propagate(field, state, z_in, z_out, return_jacobian=True)
        ours = surrogate.jacobian(state, z_in, z_out)
        found |= metrics.jacobian_error(ours, truth)
    return found


def _metadata(name, surrogate, test, content, training, batches) -> dict[str, Any]:
    """Returns the original's metadata with additions, as JSON types."""
    found, columns = content["numbers"]["network"], content["numbers"]["history"]
    lines = (line.lstrip("-").partition("=") for line in content["flags"])
    config = {key: _number(value) for key, _, value in lines if key}
    losses = {k: columns.get(k, []) for k in ("train_loss", "val_loss")}
    finite = [v for v in losses["val_loss"] if v is not None]
    facts = {
        "epochs": len(losses["train_loss"]),
        "batch_size": config.get("batch_size", config.get("batch")),
        "learning_rate": config.get("learning_rate", config.get("lr")),
        "best_val_loss": min(finite, default=None),
        "train_samples": None,
        "val_samples": None,
        "test_samples": len(test.state),
        **training,
    }
    seed = facts.pop("seed", config.get("seed"))
    performance = {key: found[key] for key in _ORIGINAL_KEYS if key in found}
    performance["time_per_track_us"] = found[f"time_per_track_us_{batches[-1]}"]
    performance["total_params"] = found["total_params"]
    return {
        "name": name,
        "architecture": list(surrogate.hidden),
        "date": datetime.datetime.now().isoformat(),
        "training": facts,
        "performance": performance,
        "history": {
            "train_losses": losses["train_loss"],
            "val_losses": losses["val_loss"],
        },
        "config": config,
        "activation": surrogate.activation,
        "parametrisation": surrogate.parametrisation,
        "input_names": list(surrogate.input_names),
        "z_in": surrogate.z_in,
        "z_out": surrogate.z_out,
        "field_hash": surrogate.field_hash,
        "seed": seed,
        "revision": content["revision"],
        "environment": content["environment"],
        "metrics": found,
    }


def _number(text: str) -> int | float | str:
    """Returns the value of a flag as a number where it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
