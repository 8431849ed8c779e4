"""Other ways to transport a track, measured on the same tracks as a network."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxphys.track_extrapolator.analysis import metrics
from jaxphys.track_extrapolator.data.dataset_files import TrackSet
from jaxphys.track_extrapolator.model import parametrisation
from jaxphys.track_extrapolator.physics.propagate import propagate

Predictor = Callable[[np.ndarray, Any, Any], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Published:
    """A result of the original program: position errors in mm on its own tracks."""

    hidden: str
    parameters: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float


PUBLISHED = (
    Published("32-32", 1_412, 2.064, 1.453, 5.99, 11.1, 28.4),
    Published("64-64-32", 6_820, 0.764, 0.580, 1.91, 4.16, 8.57),
    Published("128-128-64", 25_924, 0.647, 0.563, 1.37, 2.59, 7.34),
    Published("256-256-128-64", 108_996, 0.327, 0.267, 0.751, 1.45, 3.00),
    Published("512-512-256-128", 430_980, 0.856, 0.717, 1.71, 4.38, 11.5),
    Published("1024-512-256-128", 696_708, 0.431, 0.337, 1.09, 2.21, 3.72),
    Published("256-256-256-256-128", 232_580, 0.353, 0.281, 0.858, 1.64, 5.02),
    Published("2048-1024-512-256", 2_769_668, 1.010, 0.713, 2.75, 5.84, 14.0),
)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A method that is measured on the same tracks as the network.

    Attributes:
        label: its name in tables and figures.
        predict: (states [N, 5], z_in, z_out) -> states [N, 4].
        group: "rk4" or "other", for the figure of speed.
        note: what it needs, or its arithmetic.
    """

    label: str
    predict: Predictor
    group: str = "other"
    note: str = ""


@functools.partial(jax.jit, static_argnames=("name", "nodes"))
def _physics(name, state, z_in, z_out, field, nodes):
    return parametrisation.baseline(name, state, z_in, z_out, field, nodes=nodes)


def _baseline(name: str, field, state, z_in, z_out) -> np.ndarray:
    nodes = parametrisation.default_nodes(field)
    with jax.enable_x64(True):
        planes = (np.asarray(z_in, np.float64), np.asarray(z_out, np.float64))
        return np.asarray(_physics(name, state, *planes, field, nodes))


def _runge_kutta(field, steps: int, dtype: str, state, z_in, z_out) -> np.ndarray:
    distance = float(np.max(np.abs(np.asarray(z_out) - np.asarray(z_in))))
    # planes of each track: the longest distance gets all the steps; a hair more than
    # distance / steps, for ceil() must not make one step too many
    step = distance / steps * (1 + 1e-12)
    return np.asarray(propagate(field, state, z_in, z_out, step, dtype))[:, :4]


def standard_comparisons(field: Callable | None) -> tuple[Comparison, ...]:
    """Returns the straight line and, with a field, Born and RK4 with few steps.

    Args:
        field: the field that made the truth, or an approximate map; None: no map.
    """
    straight = functools.partial(_baseline, "straight", None)
    line = Comparison("straight line", straight, note="no field")
    if field is None:
        return (line,)
    born = functools.partial(_baseline, "born", field)
    runge = [
        Comparison(
            f"RK4 {steps} steps",
            functools.partial(_runge_kutta, field, steps, dtype),
            "rk4",
            f"field, {dtype}",
        )
        for steps, dtype in ((4, "float32"), (8, "float32"), (40, "float64"))
    ]
    return (line, Comparison("Born", born, note="field, float64"), *runge)


@dataclasses.dataclass(frozen=True)
class Measured:
    """One method on the test tracks.

    Attributes:
        label: its name.
        group: "network", "rk4" or "other".
        note: what it needs.
        prediction: states at the target plane [N, 4].
        found: statistics of `metrics.accuracy`, and what the caller adds.
        times: what `metrics.time_per_track` returned.
    """

    label: str
    group: str
    note: str
    prediction: np.ndarray
    found: dict[str, float]
    times: dict[str, float]

    def times_us(self, batches: Sequence[int]) -> dict[int, float]:
        """Returns microseconds per track by batch size."""
        return {b: self.times[f"time_per_track_us_{b}"] for b in batches}

    def row(self, batches: Sequence[int]) -> tuple[Any, ...]:
        """Returns the row of the table of all methods."""
        keys = ("pos_mean", "pos_median", "pos_p95", "pos_max", "slope_mean")
        errors = tuple(self.found.get(key) for key in keys)
        return (self.label, *errors, *self.times_us(batches).values(), self.note)


def measure(
    method: Comparison, test: TrackSet, batches: Sequence[int], seconds: float
) -> Measured:
    """Returns accuracy and time per track of a method on test tracks.

    Args:
        method: the method.
        test: the tracks, at least one.
        batches: batch sizes of the timing.
        seconds: time spent on each of them.
    """
    prediction = np.asarray(method.predict(test.state, test.z_in, test.z_out))
    found = metrics.accuracy(prediction, test.target, test.p_gev, test.ok)
    # planes of each track travel with its row through the repetition of rows
    shape = np.shape(test.p_gev)
    planes = [np.broadcast_to(z, shape) for z in (test.z_in, test.z_out)]
    shared = np.ndim(test.z_in) == 0 and np.ndim(test.z_out) == 0
    rows = np.column_stack([test.state, *planes])

    def predict(part):
        z = (test.z_in, test.z_out) if shared else (part[:, 5], part[:, 6])
        return method.predict(part[:, :5], *z)

    times = metrics.time_per_track(predict, rows, batches, seconds)
    return Measured(method.label, method.group, method.note, prediction, found, times)
