"""Makes an event of the columns of its files, and refuses what does not fit together.

Rows are matched by hit_id and particle_id only: the files may list them in any order,
with gaps and from any first number. Identifiers stay 64-bit integers throughout.
"""

from collections.abc import Mapping

import numpy as np

from jaxphys.hypertrack.physics.events import Event, Particles

HIT_COLUMNS = ("hit_id", "x", "y", "z", "volume_id", "layer_id", "module_id")
TRUTH_COLUMNS = ("hit_id", "particle_id", "weight")
PARTICLE_COLUMNS = ("particle_id", "vx", "vy", "vz", "px", "py", "pz", "q")
OPTIONAL_COLUMNS = ("particle_type",)
NOISE = 0  # the particle_id of noise hits

Columns = Mapping[str, np.ndarray]


def assemble(
    event_id: int,
    hits: Columns,
    truth: Columns | None,
    particles: Columns | None,
    where: Mapping[str, str],
) -> Event:
    """Makes an event.

    Args:
        event_id: number of the event.
        hits: name -> column `[N]`, see `HIT_COLUMNS`.
        truth: name -> column `[N]`, any order; None if not known.
        particles: name -> column; None if not known, then the vertices and momenta
            are NaN.
        where: "hits", "truth" and "particles" -> name of the file, for messages.

    Returns:
        The event; `particles` without those that left no hit, hits counted anew.

    Raises:
        ValueError: positions are not finite, identifiers are double or missing.
    """
    position = np.column_stack([hits[axis] for axis in "xyz"]).astype(np.float32)
    hit_id = np.asarray(hits["hit_id"], np.int64)
    _require_finite(position, ("x", "y", "z"), hit_id, "hit_id", where["hits"])
    by_id = _unique(hit_id, "hit_id", where["hits"])
    num_hits = len(hit_id)
    label = np.full(num_hits, -1, np.int32)
    weight = np.zeros(num_hits, np.float32)
    truth_order = np.arange(num_hits, dtype=np.int64)
    found = Particles.none()
    if truth is not None:
        row = _rows_of_truth(truth["hit_id"], hit_id, by_id, where)
        truth_order[row] = np.arange(num_hits)
        weight[row] = truth["weight"]
        bad = np.flatnonzero(~(weight >= 0) | np.isinf(weight))
        if len(bad):
            raise ValueError(
                f"{where['truth']}: hit_id {hit_id[bad[0]]}, column weight: expected a "
                f"number >= 0, got {weight[bad[0]]} ({len(bad)} such rows)"
            )
        own = np.asarray(truth["particle_id"], np.int64)
        found, label[row] = _match(own, truth["hit_id"], particles, where)
    return Event(
        event_id=int(event_id),
        position=position,
        hit_id=hit_id,
        label=label,
        weight=weight,
        particles=found,
        volume_id=np.asarray(hits["volume_id"], np.int32),
        layer_id=np.asarray(hits["layer_id"], np.int32),
        module_id=np.asarray(hits["module_id"], np.int32),
        truth_order=truth_order,
        has_truth=truth is not None,
    )


def _require_finite(values, names, ids, id_name, where):
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(
            f"{where}: row {row + 1} ({id_name} {ids[row]}), column {names[column]}: "
            f"expected a finite number, got {values[row, column]} ({len(bad)} such "
            "values)"
        )


def _unique(ids, name, where):
    """Returns the order that sorts identifiers, after a check that none is double."""
    order = np.argsort(ids, kind="stable")
    double = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    if len(double):
        first, again = order[double[0]], order[double[0] + 1]
        raise ValueError(
            f"{where}: rows {first + 1} and {again + 1}, column {name}: expected each "
            f"number once, got {ids[again]} again ({len(double)} such rows)"
        )
    return order


def _find(ids, sorted_ids):
    """Returns places in a sorted list, and whether each is there."""
    if not len(sorted_ids):
        return np.zeros(len(ids), np.int64), np.zeros(len(ids), bool)
    place = np.minimum(np.searchsorted(sorted_ids, ids), len(sorted_ids) - 1)
    return place, sorted_ids[place] == ids


def _rows_of_truth(ids, hit_id, by_id, where):
    """Returns the row of hits that each row of truth belongs to, `[N]`."""
    ids = np.asarray(ids, np.int64)
    order = _unique(ids, "hit_id", where["truth"])
    place, known = _find(ids, hit_id[by_id])
    if not known.all():
        first = int(np.argmin(known))
        raise ValueError(
            f"{where['truth']}: row {first + 1}, column hit_id: expected a hit of "
            f"{where['hits']}, got {ids[first]} ({int((~known).sum())} such rows)"
        )
    if len(ids) < len(hit_id):
        _, told = _find(hit_id, ids[order])
        first = int(np.argmin(told))
        raise ValueError(
            f"{where['truth']}: expected a row for each of the {len(hit_id)} hits of "
            f"{where['hits']}, got {len(ids)}; the first without is hit_id "
            f"{hit_id[first]}"
        )
    return by_id[place]


def _match(own, hit_ids, particles, where):
    """Returns the particles with hits, and the label of each row of truth."""
    signal = own != NOISE
    if particles is None:
        ids, label = np.unique(own[signal], return_inverse=True)
        unknown = np.full((len(ids), 3), np.nan, np.float32)
        columns = {"vertex": unknown, "momentum": unknown}
        charge, types, rows = np.zeros(len(ids), np.int32), None, np.arange(len(ids))
    else:
        ids = np.asarray(particles["particle_id"], np.int64)
        label, rows = _rows_of_particles(own, hit_ids, signal, ids, where)
        columns = {}
        for name, axes in (
            ("vertex", ("vx", "vy", "vz")),
            ("momentum", ("px", "py", "pz")),
        ):
            values = np.column_stack([particles[axis] for axis in axes])[rows]
            _require_finite(values, axes, ids[rows], "particle_id", where["particles"])
            columns[name] = values.astype(np.float32)
        charge = np.asarray(particles["q"], np.int32)[rows]
        types = particles.get("particle_type")
    found = Particles(
        particle_id=ids[rows],
        charge=charge,
        num_hits=np.bincount(label, minlength=len(rows)).astype(np.int32),
        particle_type=None if types is None else np.asarray(types, np.int32)[rows],
        **columns,
    )
    labels = np.full(len(own), -1, np.int32)
    labels[signal] = label
    return found, labels


def _rows_of_particles(own, hit_ids, signal, ids, where):
    """Returns the label of each signal hit, and the rows of the particles with hits."""
    order = _unique(ids, "particle_id", where["particles"])
    place, known = _find(own[signal], ids[order])
    if not known.all():
        first = np.flatnonzero(signal)[int(np.argmin(known))]
        raise ValueError(
            f"{where['truth']}: row {first + 1} (hit_id {hit_ids[first]}), column "
            f"particle_id: expected 0 or a particle of {where['particles']}, got "
            f"{own[first]} ({int((~known).sum())} such rows)"
        )
    row = order[place]
    has_hits = np.bincount(row, minlength=len(ids)) > 0
    return (np.cumsum(has_hits) - 1)[row], np.flatnonzero(has_hits)
