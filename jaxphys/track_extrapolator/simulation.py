"""Generates tracks: seeded, the same rows for every number of shards, resumable."""

import dataclasses
import importlib.metadata
import math
import pathlib

import numpy as np
import tqdm

from jaxphys.data.files import write_json
from jaxphys.track_extrapolator.data.dataset_files import (
    TrackSet,
    difference,
    read_shard_metadata,
    shard_path,
    write_shard,
)
from jaxphys.track_extrapolator.physics.field import Field, GaussSeed, field_hash
from jaxphys.track_extrapolator.physics.propagate import (
    default_chunk,
    propagate,
    track_ok,
)

BLOCK = 4096  # rows per key of the random generator: never change, it defines the rows
STREAMS = {"dataset": 0, "online": 1}
ONLINE_STEPS = 40


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Ranges of the tracks; x, y, tx, ty are uniform in +- the given maximum.

    Attributes:
        x_max: mm.
        y_max: mm.
        tx_max: Slope.
        ty_max: Slope.
        p_min: GeV; ln p is uniform.
        p_max: GeV.
        z_in: Plane of the states, mm (dz_mode fixed).
        z_out: Plane of the targets, mm (dz_mode fixed).
        dz_mode: "fixed", or "uniform": z_in and dz are drawn per track.
        z_in_min: mm (dz_mode uniform), as are the rest.
        z_in_max: mm.
        dz_min: mm.
        dz_max: mm.
    """

    x_max: float = 900.0
    y_max: float = 750.0
    tx_max: float = 0.3
    ty_max: float = 0.25
    p_min: float = 2.0
    p_max: float = 100.0
    z_in: float = 3000.0
    z_out: float = 7000.0
    dz_mode: str = "fixed"
    z_in_min: float = 2500.0
    z_in_max: float = 3500.0
    dz_min: float = 3000.0
    dz_max: float = 5000.0

    def __post_init__(self):
        if self.dz_mode not in ("fixed", "uniform"):
            raise ValueError(
                f"dz_mode: expected 'fixed' or 'uniform', got {self.dz_mode!r}"
            )
        if not 0 < self.p_min <= self.p_max:
            raise ValueError(
                f"p_min, p_max: expected 0 < p_min <= p_max in GeV, got {self.p_min}, "
                f"{self.p_max}"
            )
        for low, high in (("z_in_min", "z_in_max"), ("dz_min", "dz_max")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(
                    f"{low}, {high}: expected a range, got {getattr(self, low)}, "
                    f"{getattr(self, high)}"
                )


def _uniforms(seed, start, count, stream):
    """Returns [count, 8] numbers in [0, 1): row i depends on (seed, stream, i) alone.

    Raw words of the counter-based generator Philox are stable between versions of
    numpy; a block of rows shares a key, whatever part of it is asked for.
    """
    blocks = range(start // BLOCK, -(-(start + count) // BLOCK))
    parts: list[np.ndarray] = [np.empty((0, 8))]
    for block in blocks:
        generator = np.random.Philox(
            key=np.array([seed, block], np.uint64),
            counter=np.array([0, 0, 0, STREAMS[stream]], np.uint64),
        )
        words = generator.random_raw(BLOCK * 8)
        parts.append((words >> np.uint64(11)).reshape(BLOCK, 8) * 2.0**-53)
    offset = start - blocks.start * BLOCK
    return np.concatenate(parts)[offset : offset + count]


def sample_states(
    seed: int,
    start: int,
    count: int,
    sampling: Sampling | None = None,
    stream: str = "dataset",
):
    """Draws the rows start ... start + count of an endless list of tracks.

    Args:
        seed: 0 <= seed < 2^64.
        start: First row.
        count: Number of rows.
        sampling: Ranges; None takes the defaults.
        stream: "dataset" or "online": two lists without a common row.

    Returns:
        (state [count, 5], p_gev [count], z_in [count], z_out [count]).

    Raises:
        ValueError: If the seed or the rows are out of range.
    """
    if not 0 <= seed < 2**64 or start < 0 or count < 0:
        raise ValueError(
            "seed, start, count: expected 0 <= seed < 2^64 and rows from 0 on, got "
            f"{seed}, {start}, {count}"
        )
    s = sampling or Sampling()
    u = _uniforms(seed, start, count, stream)
    low, high = math.log(s.p_min), math.log(s.p_max)
    p_gev = np.exp(low + (high - low) * u[:, 4])
    charge = np.where(u[:, 5] < 0.5, -1.0, 1.0)
    limits = np.array([[s.x_max, s.y_max, s.tx_max, s.ty_max]])
    state = np.column_stack([limits * (2.0 * u[:, :4] - 1.0), charge / (1e3 * p_gev)])
    if s.dz_mode == "fixed":
        return state, p_gev, np.full(count, s.z_in), np.full(count, s.z_out)
    z_in = s.z_in_min + (s.z_in_max - s.z_in_min) * u[:, 6]
    return state, p_gev, z_in, z_in + s.dz_min + (s.dz_max - s.dz_min) * u[:, 7]


def describe(
    field: Field, samples, seed, sampling, step, dtype="float64", method="rk4"
) -> dict:
    """Returns the metadata that identifies generated tracks."""
    fixed = sampling.dz_mode == "fixed"
    return {
        "samples": samples,
        "seed": seed,
        "z_in": sampling.z_in if fixed else None,
        "z_out": sampling.z_out if fixed else None,
        "field": type(field).__name__,
        "field_hash": field_hash(field),
        "step_mm": step,
        "integrator": method,
        "dtype": dtype,
        "sampling": dataclasses.asdict(sampling),
        "revision": importlib.metadata.version("jaxphys"),
    }


def generate(
    field: Field,
    samples: int,
    seed: int = 0,
    sampling: Sampling | None = None,
    step: float = 10.0,
    dtype: str = "float64",
    start: int = 0,
    stream: str = "dataset",
    progress: bool = False,
    method: str = "rk4",
) -> TrackSet:
    """Draws tracks and propagates them.

    Args:
        field: Truth field.
        samples: Number of tracks.
        seed: See `sample_states`.
        sampling: Ranges; None takes the defaults.
        step: Largest step of RK4, mm.
        dtype: "float64" or "float32" of the propagation.
        start: First row of the endless list of tracks.
        stream: See `sample_states`.
        progress: Show a progress bar.
        method: Integrator, see `propagate`; an adaptive one is in float64.

    Returns:
        The tracks; `ok` is False where a track left the valid range.
    """
    sampling = sampling or Sampling()
    state, p_gev, z_in, z_out = sample_states(seed, start, samples, sampling, stream)
    if sampling.dz_mode == "fixed":
        z_in, z_out = sampling.z_in, sampling.z_out
    # one compiled shape for every number of rows: shards agree to the last bit
    final = propagate(
        field,
        state,
        z_in,
        z_out,
        step,
        dtype,
        method=method,
        chunk=default_chunk(),
        progress=progress,
    )
    target = np.ascontiguousarray(final[:, :4])
    metadata = describe(field, samples, seed, sampling, step, dtype, method)
    return TrackSet(state, target, p_gev, z_in, z_out, track_ok(target), metadata)


def online_tracks(
    field: Field,
    samples: int,
    epoch: int,
    seed: int = 0,
    sampling: Sampling | None = None,
    n_steps: int = ONLINE_STEPS,
) -> TrackSet:
    """Returns fresh tracks for an epoch, in few steps (mean error < 1e-6 mm at 40).

    Args:
        field: Truth field.
        samples: Tracks per epoch.
        epoch: Number of the epoch, from 0.
        seed: See `sample_states`; shares no row with a data set of the same seed.
        sampling: Ranges; None takes the defaults.
        n_steps: RK4 steps over the (longest) distance.
    """
    sampling = sampling or Sampling()
    longest = abs(sampling.z_out - sampling.z_in)
    if sampling.dz_mode == "uniform":
        longest = max(abs(sampling.dz_min), abs(sampling.dz_max))
    return generate(
        field,
        samples,
        seed,
        sampling,
        step=longest / n_steps if longest else 1.0,
        start=epoch * samples,
        stream="online",
    )


def generate_shards(
    folder,
    name: str,
    field: Field,
    samples: int,
    shards: int = 1,
    shard: int | None = None,
    seed: int = 0,
    sampling: Sampling | None = None,
    step: float = 10.0,
    dtype: str = "float64",
    method: str = "rk4",
    progress: bool = False,
) -> list[pathlib.Path]:
    """Generates a data set as Parquet shards and skips the shards that are complete.

    Args:
        folder: Where the shards are written, with <name>.json.
        name: Name of the data set.
        field: Truth field.
        samples: Tracks of all shards together.
        shards: Number of files.
        shard: Write this one only (a cluster job); None writes all.
        seed: See `sample_states`.
        sampling: Ranges; None takes the defaults.
        step: Largest step of RK4, mm.
        dtype: "float64" or "float32" of the propagation.
        method: See `generate`.
        progress: Show a progress bar.

    Returns:
        The files of the shards.

    Raises:
        ValueError: If a shard that exists was made differently, or the shard number is
            out of range.
    """
    sampling = sampling or Sampling()
    if shards < 1 or (shard is not None and not 0 <= shard < shards):
        raise ValueError(
            f"shard, shards: expected 0 <= shard < shards, got {shard} of {shards}"
        )
    wanted = range(shards) if shard is None else [shard]
    common = describe(field, samples, seed, sampling, step, dtype, method)
    paths = []
    for k in tqdm.tqdm(wanted, f"{name} shards", disable=not progress):
        path = shard_path(folder, name, k, shards)
        start, stop = samples * k // shards, samples * (k + 1) // shards
        metadata = {**common, "shard": k, "start": start, "stop": stop}
        paths.append(path)
        if path.exists():
            if changed := difference(metadata, read_shard_metadata(path)):
                raise ValueError(f"{path}: exists and was made differently: {changed}")
            continue
        tracks = generate(
            field, stop - start, seed, sampling, step, dtype, start, method=method
        )
        write_shard(path, tracks, metadata)
    write_json(pathlib.Path(folder) / f"{name}.json", common)
    return paths


def sample_legacy(seeds, z_in: float = 3000.0, z_out: float = 7000.0):
    """Reproduces the original's tracks from its per-track seeds, in float64.

    Args:
        seeds: [N] integers in [0, 2^32).
        z_in: mm.
        z_out: mm.

    Returns:
        (X [N, 6], Y [N, 4], P [N]): state and dz, state at z_out, momentum in GeV.
    """
    rows = []
    for seed in np.asarray(seeds).tolist():
        draw = np.random.RandomState(seed)
        place = [draw.uniform(-limit, limit) for limit in (900, 750, 0.3, 0.25)]
        p_gev = np.exp(draw.uniform(np.log(2.0), np.log(100)))
        qop = draw.choice([-1, 1]) / (p_gev * 1000.0)
        rows.append([*place, qop, z_out - z_in, p_gev])
    table = np.array(rows, np.float64).reshape(-1, 7)
    final = propagate(GaussSeed(), table[:, :5], z_in, z_out)
    return table[:, :6], final[:, :4], table[:, 6]
