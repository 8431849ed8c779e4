"""A trained network with everything that is needed to transport tracks.

It holds plain numpy arrays, predicts batches of any size without recompiling, and is
what every export format reads and writes.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.equivalence import torch_weights
from jaxphys.nn.mlp import check_activation
from jaxphys.track_extrapolator.model import parametrisation as par
from jaxphys.track_extrapolator.model.model import N_OUT, STATS, TrackMLP
from jaxphys.training.loaded import Loaded

STATE_NAMES = ("x", "y", "tx", "ty", "qop")
INPUT_SETS = (STATE_NAMES, (*STATE_NAMES, "dz"), (*STATE_NAMES, "z_in", "dz"))
DZ_MODES = ("fixed", "uniform")
PREDICT_DTYPES = ("float32", "float64")
CHUNK_CPU = 4096  # the widest layers stay in cache
CHUNK_ACCELERATOR = 262144


class Recipe(NamedTuple):
    """The settings of a prediction that shape the compiled program."""

    hidden: tuple[int, ...]
    activation: str
    parametrisation: str
    input_names: tuple[str, ...]
    nodes: int
    n_steps: int
    dtype: str


def features(input_names, state: jax.Array, z_in, z_out) -> jax.Array:
    """Returns the inputs [N, n_in] of the network for states [N, 5] and planes [mm]."""
    z_in, dz = (
        jnp.broadcast_to(jnp.asarray(value, state.dtype), state.shape[:1])
        for value in (z_in, z_out - z_in)
    )
    columns = dict(zip((*STATE_NAMES, "z_in", "dz"), (*state.T, z_in, dz), strict=True))
    return jnp.stack([columns[name] for name in input_names], axis=1)


def transport(
    recipe: Recipe, variables, state, z_in, z_out, field=None, inputs=None
) -> par.Array:
    """Returns (x, y, tx, ty) [N, 4]: the network in its dtype, the rest in the state's.

    Args:
        recipe: static settings.
        variables: {"params", "stats"} of `TrackMLP`, params in `recipe.dtype`.
        state: x, y, tx, ty, q/p [1/MeV], shape [N, 5].
        z_in: entry plane in mm, a scalar or [N].
        z_out: exit plane in mm, a scalar or [N].
        field: the approximate field of born and map.
        inputs: columns [N, n_in] of the network where they are at hand already.
    """
    stats = {name: value[None, :] for name, value in variables["stats"].items()}
    if inputs is None:
        inputs = features(recipe.input_names, state, z_in, z_out)
    xn = (inputs - stats["input_mean"]) / stats["input_std"]
    model = TrackMLP(recipe.hidden, recipe.activation)
    net: Any = model.apply(
        {"params": variables["params"]}, xn.astype(recipe.dtype), method="net"
    )
    target = net.astype(state.dtype) * stats["output_std"] + stats["output_mean"]
    return par.decode(
        recipe.parametrisation,
        state,
        target,
        z_in,
        z_out,
        field,
        nodes=recipe.nodes,
        n_steps=recipe.n_steps,
    )


@functools.partial(jax.jit, static_argnums=0)
def _predict(recipe, variables, state, z_in, z_out, field):
    return transport(recipe, variables, state, z_in, z_out, field)


@functools.partial(jax.jit, static_argnums=0)
def _jacobian(recipe, variables, state, z_in, z_out, field):
    def push(tangent):
        tangents = jnp.broadcast_to(tangent[None, :], state.shape)
        return jax.jvp(
            lambda s: transport(recipe, variables, s, z_in, z_out, field),
            (state,),
            (tangents,),
        )[1]

    columns = jax.vmap(push)(jnp.eye(5, dtype=state.dtype))  # [5, N, 4]
    return jnp.transpose(columns, (1, 2, 0))  # [N, 4, 5]


def bucket_size(count: int, chunk: int) -> int:
    """Returns the batch shape for `count` tracks: a power of two, at most `chunk`."""
    return min(chunk, 1 << max(0, count - 1).bit_length())


@dataclasses.dataclass(frozen=True, eq=False)
class Surrogate(Loaded):
    """A network, its statistics and the physics around it.

    Attributes:
        activation: a key of `jaxphys.nn.mlp.ACTIVATIONS`.
        layers: (kernel [in, out], bias [out]) of every dense layer.
        input_mean: statistics of the inputs, shape [n_in].
        input_std: the same.
        output_mean: statistics of the target of the parametrisation, shape [4].
        output_std: the same.
        parametrisation: one of `parametrisation.NAMES`.
        input_names: columns of the network's input, one of `INPUT_SETS`.
        z_in: entry plane in mm; the nominal one where dz_mode is uniform.
        z_out: exit plane in mm; the same.
        dz_mode: "fixed" (trained between two planes) or "uniform" (planes are inputs).
        field: approximate field of born and map, else None.
        born_nodes: quadrature points of born; 0 chooses by the field.
        map_step_mm: RK4 step of map.
        field_hash: SHA-256 of the field that made the training data, or "".
        metadata: anything else worth keeping; JSON types.
    """

    activation: str
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    input_mean: np.ndarray
    input_std: np.ndarray
    output_mean: np.ndarray
    output_std: np.ndarray
    parametrisation: str = "absolute"
    input_names: tuple[str, ...] = STATE_NAMES
    z_in: float = 3000.0
    z_out: float = 7000.0
    dz_mode: str = "fixed"
    field: Any = None
    born_nodes: int = 0
    map_step_mm: float = 100.0
    field_hash: str = ""
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        def put(name, value):
            object.__setattr__(self, name, value)

        put("layers", tuple((_float64(k), _float64(b)) for k, b in self.layers))
        put("input_names", tuple(self.input_names))
        for name in STATS:
            put(name, _float64(getattr(self, name)))
        put("z_in", float(self.z_in))
        put("z_out", float(self.z_out))
        if self.born_nodes == 0:
            put("born_nodes", par.default_nodes(self.field))
        _validate(self)

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return tuple(len(bias) for _, bias in self.layers[:-1])

    @property
    def n_in(self) -> int:
        """Number of inputs of the network."""
        return len(self.input_names)

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return sum(kernel.size + bias.size for kernel, bias in self.layers)

    @classmethod
    def from_variables(cls, variables: Mapping, activation: str, **settings):
        """Returns the surrogate of trained `TrackMLP` variables.

        Args:
            variables: {"params", "stats"}.
            activation: that of the model.
            **settings: the other attributes of the class; statistics given here
                (in float64) replace the float32 ones of the variables.
        """
        dense = variables["params"]["network"]
        layers = tuple(
            (dense[f"dense_{i}"]["kernel"], dense[f"dense_{i}"]["bias"])
            for i in range(len(dense))
        )
        stats = {name: variables["stats"][name] for name in STATS}
        return cls(activation=activation, layers=layers, **{**stats, **settings})

    @classmethod
    def from_state_dict(cls, state_dict: Mapping, activation: str, **settings):
        """Returns the surrogate of a PyTorch state dict (network.0.weight, ...)."""
        variables = variables_from_torch(state_dict)
        n_in = len(variables["stats"]["input_mean"])
        settings.setdefault("input_names", input_names_for(n_in))
        return cls.from_variables(variables, activation, **settings)

    def variables(self, dtype: str = "float32") -> dict:
        """Returns {"params", "stats"} of `TrackMLP` as numpy arrays of a dtype."""
        network = {
            f"dense_{i}": {"kernel": kernel.astype(dtype), "bias": bias.astype(dtype)}
            for i, (kernel, bias) in enumerate(self.layers)
        }
        stats = {name: getattr(self, name).astype(dtype) for name in STATS}
        return {"params": {"network": network}, "stats": stats}

    def recipe(self, dtype: str, z_in=None, z_out=None) -> Recipe:
        """Returns the static settings of a prediction in a dtype between planes."""
        if dtype not in PREDICT_DTYPES:
            raise ValueError(f"dtype: expected one of {PREDICT_DTYPES}, got {dtype!r}")
        steps = 0
        if self.parametrisation == "map":
            planes = (
                self.z_in if z_in is None else z_in,
                self.z_out if z_out is None else z_out,
            )
            steps = par.map_steps(*planes, self.map_step_mm)
        return Recipe(
            self.hidden,
            self.activation,
            self.parametrisation,
            self.input_names,
            self.born_nodes,
            steps,
            dtype,
        )

    def predict(
        self, state: np.ndarray, z_in=None, z_out=None, dtype: str = "float32"
    ) -> np.ndarray:
        """Returns (x, y, tx, ty) [N, 4] float64 behind the magnet.

        Args:
            state: x, y [mm], tx, ty, q/p [1/MeV] at z_in, shape [N, 5].
            z_in: entry plane in mm, a scalar or [N]; None is that of the training.
            z_out: exit plane in mm; the same.
            dtype: arithmetic of the network; all else is float64.

        Raises:
            ValueError: wrong shape, or planes other than the trained ones.
        """
        return self._run(_predict, (N_OUT,), state, z_in, z_out, dtype)

    def jacobian(
        self, state: np.ndarray, z_in=None, z_out=None, dtype: str = "float32"
    ) -> np.ndarray:
        """Returns d(x, y, tx, ty)_out / d(x, y, tx, ty, q/p)_in, shape [N, 4, 5].

        The arguments are those of `predict`.
        """
        return self._run(_jacobian, (N_OUT, 5), state, z_in, z_out, dtype)

    def _run(self, function, trailing, state, z_in, z_out, dtype):
        state = np.asarray(state, np.float64)
        if state.ndim != 2 or state.shape[1] != 5:
            raise ValueError(f"state: expected shape [N, 5], got {state.shape}")
        z_in, z_out = self._planes(z_in, z_out, len(state))
        recipe = self.recipe(dtype, z_in, z_out)
        on_cpu = jax.default_backend() == "cpu"
        chunk = CHUNK_CPU if on_cpu else CHUNK_ACCELERATOR
        out = np.empty((len(state), *trailing))
        with jax.enable_x64(True):
            variables, field = self._on_device(dtype)
            for start in range(0, len(state), chunk):
                part = slice(start, min(start + chunk, len(state)))
                count = part.stop - part.start
                size = bucket_size(count, chunk)
                arrays = [
                    _padded(a[part] if np.ndim(a) else a, size)
                    for a in (state, z_in, z_out)
                ]
                result = function(recipe, variables, *arrays, field)
                out[part] = np.asarray(result)[:count]
        return out

    def _planes(self, z_in, z_out, count):
        planes = []
        for name, given in (("z_in", z_in), ("z_out", z_out)):
            trained = getattr(self, name)
            value = np.asarray(trained if given is None else given, np.float64)
            if value.shape not in ((), (count,)):
                raise ValueError(
                    f"{name}: expected a number or [{count}], got shape {value.shape}"
                )
            if self.dz_mode == "fixed":
                if np.any(value != trained):
                    wrong = np.ravel(value[value != trained])[0]
                    raise ValueError(
                        f"{name}: the network was trained at {trained} mm "
                        f"(dz_mode fixed), got {wrong} mm"
                    )
                value = np.asarray(trained, np.float64)
            planes.append(value)
        return planes

    @functools.cached_property
    def _copies(self) -> dict:
        return {}

    def _on_device(self, dtype: str) -> tuple:
        """Copies weights and field once per dtype; statistics stay float64."""
        if dtype not in self._copies:
            tree = self.variables(dtype)
            tree["stats"] = self.variables("float64")["stats"]
            self._copies[dtype] = jax.tree.map(jnp.asarray, (tree, self.field))
        return self._copies[dtype]


def input_names_for(n_in: int, where: str = "network") -> tuple[str, ...]:
    """Returns the input columns of a network by their number (5, 6 or 7)."""
    for names in INPUT_SETS:
        if len(names) == n_in:
            return names
    raise ValueError(f"{where}: expected 5, 6 or 7 inputs, got {n_in}")


def entries_of_torch(state_dict: Mapping) -> list[torch_weights.Entry]:
    """Returns the pairs of PyTorch names and paths in `TrackMLP` variables."""
    path = ("params", "network")
    entries = torch_weights.sequential(state_dict, "network", path, bias=True)
    return entries + [torch_weights.Entry(name, ("stats", name)) for name in STATS]


def variables_from_torch(state_dict: Mapping) -> dict:
    """Returns `TrackMLP` variables of a PyTorch state dict with the four buffers."""
    return torch_weights.to_flax(state_dict, entries_of_torch(state_dict))


def _float64(values) -> np.ndarray:
    return np.array(values, np.float64)


def _padded(array, size):
    """Repeats the last row, a real one, so that padding cannot produce NaN."""
    if np.ndim(array) == 0 or len(array) == size:
        return array
    widths = [(0, size - len(array))] + [(0, 0)] * (np.ndim(array) - 1)
    return np.pad(array, widths, mode="edge")


def _validate(surrogate: Surrogate) -> None:
    check_activation(surrogate.activation, "surrogate.activation")
    par.check_field(surrogate.parametrisation, surrogate.field)
    names = surrogate.input_names
    if names not in INPUT_SETS:
        raise ValueError(f"input_names: expected one of {INPUT_SETS}, got {names}")
    if surrogate.dz_mode not in DZ_MODES:
        raise ValueError(
            f"dz_mode: expected one of {DZ_MODES}, got {surrogate.dz_mode!r}"
        )
    if (surrogate.dz_mode == "uniform") != ("z_in" in names):
        raise ValueError(
            f"dz_mode {surrogate.dz_mode}: expected z_in and dz among the inputs "
            f"exactly when it is uniform, got {names}"
        )
    width = len(names)
    for index, (kernel, bias) in enumerate(surrogate.layers):
        if kernel.shape != (width, *bias.shape) or bias.ndim != 1:
            raise ValueError(
                f"layer {index}: expected kernel [{width}, out] and bias [out], got "
                f"{kernel.shape} and {bias.shape}"
            )
        width = len(bias)
    if width != N_OUT or not surrogate.layers:
        raise ValueError(f"last layer: expected {N_OUT} outputs, got {width}")
    for name in STATS:
        _validate_statistics(name, getattr(surrogate, name), len(names))
    for index, layer in enumerate(surrogate.layers):
        if not all(np.isfinite(array).all() for array in layer):
            raise ValueError(f"layer {index}: expected finite weights, got NaN or inf")


def _validate_statistics(name, values, n_in):
    expected = (n_in if name.startswith("input") else N_OUT,)
    if values.shape != expected:
        raise ValueError(f"{name}: expected shape {expected}, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: expected finite numbers, got {values}")
    if name.endswith("std") and (values <= 0).any():
        raise ValueError(f"{name}: expected numbers above 0, got {values}")
