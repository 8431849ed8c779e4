"""Times the propagator against a per-track numpy RK4 in the same run, on one thread.

    python -m tests.benchmarks.propagator [--core 0] [--tracks 100000] [--repeats 5]

All figures are CPU time of this process, pinned to one core, medians of the repeats,
compilation excluded. The error column is against the 400-step float64 result.
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]


def _arguments():
    parser = argparse.ArgumentParser(description="Times the propagator.")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--tracks", type=int, default=100_000)
    parser.add_argument("--reference_tracks", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def _pin(core):
    """Restricts this process to one thread; must run before jax is imported."""
    os.sched_setaffinity(0, {core})
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"


def _rate(run, count, repeats):
    """Returns the median of tracks per CPU second."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return count / statistics.median(times)


def _row(label, rate, reference, errors=None):
    error = "" if errors is None else f"  {errors.mean():9.2e} {errors.max():9.2e}"
    print(
        f"{label:44s} {rate:12,.0f} {rate / reference:10,.0f} x{error}",
        flush=True,
    )


def main():
    options = _arguments()
    _pin(options.core)
    sys.path.insert(0, str(ROOT))

    import numpy as np

    from jaxphys.track_extrapolator.physics.field import (
        LHCB_GRID,
        GaussSeed,
        GridField,
        sample_on_grid,
    )
    from jaxphys.track_extrapolator.physics.propagate import propagate
    from jaxphys.track_extrapolator.simulation import sample_states
    from tests.track_extrapolator import reference

    states = sample_states(0, 0, options.tracks)[0]
    few = states[: options.reference_tracks]
    z0, z1 = 3000.0, 7000.0
    oracle = reference.GaussSeedReference()

    print(f"{'one pinned thread':44s} {'tracks/CPU-s':>12s} {'ratio':>12s}", end="")
    print(f"  {'mean mm':>9s} {'max mm':>9s}")
    slow = _rate(
        lambda: reference.transport(oracle, few, z0, z1, 10.0),
        len(few),
        options.repeats,
    )
    _row("per-track numpy RK4, 400 steps", slow, slow)

    truth = propagate(GaussSeed(), states, z0, z1, 10.0)
    expected = reference.transport(oracle, few, z0, z1, 10.0)
    difference = np.abs(truth[: len(few)] - expected).max()
    print(f"{'  largest difference of the two, 400 steps':44s} {difference:12.1e} mm")
    for name, dtype, step in (
        ("seed field, 400 steps, float64", "float64", 10.0),
        ("seed field, 40 steps, float64", "float64", 100.0),
        ("seed field, 8 steps, float64", "float64", 500.0),
        ("seed field, 400 steps, float32", "float32", 10.0),
        ("seed field, 40 steps, float32", "float32", 100.0),
    ):

        def run(dtype=dtype, step=step):
            return propagate(GaussSeed(), states, z0, z1, step, dtype)

        errors = np.hypot(*(run() - truth)[:, :2].T)
        _row(name, _rate(run, len(states), options.repeats), slow, errors)

    part = states[:8192]
    for step in (10.0, 100.0):
        rate = _rate(
            lambda step=step: propagate(
                GaussSeed(), part, z0, z1, step, return_jacobian=True
            ),
            len(part),
            options.repeats,
        )
        label = f"seed field, {4000 / step:.0f} steps, float64 with Jacobian"
        _row(label, rate, slow)

    full = sample_on_grid(GaussSeed(), **LHCB_GRID)
    vertical = np.zeros((*full.values.shape[:3], 3))
    vertical[..., 1] = full.values[..., full.components.index(1)]
    by_only = GridField.from_map(vertical, full.minimum, full.spacing)
    values = np.zeros_like(vertical)
    values[..., list(full.components)] = full.values
    values[..., 2] = 1e-3 * values[..., 1]
    all_three = GridField.from_map(values, full.minimum, full.spacing)
    grid_oracle = reference.GridReference(values, full.minimum, full.spacing)
    slow_grid = _rate(
        lambda: reference.transport(grid_oracle, few[:10], z0, z1, 20.0),
        len(few[:10]),
        options.repeats,
    )
    print("trilinear grid 81 x 81 x 146; the ratio is to the numpy RK4 on the grid")
    _row("per-track numpy RK4, 200 steps", slow_grid, slow_grid)
    part = states[: max(1, options.tracks // 4)]
    for name, field in (("By", by_only), ("Bx, By, Bz", all_three)):
        for step in (20.0, 100.0):
            rate = _rate(
                lambda field=field, step=step: propagate(field, part, z0, z1, step),
                len(part),
                options.repeats,
            )
            label = f"grid of {name}, {4000 / step:.0f} steps, float64"
            _row(label, rate, slow_grid)


if __name__ == "__main__":
    main()
