"""The compiled functions of a run: one per phase and batch shape."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh

from jaxphys.data.batches import Batches
from jaxphys.training.mesh import place, replicated, stack_sharding, state_sharding
from jaxphys.training.task import Metrics, Task, TrainState

PyTree = Any
# purposes of the keys that are derived from the seed
_INIT, _TRAIN, _EVAL = 0, 1, 2


def initial_key(seed: int) -> jax.Array:
    """Returns the key that the weights of a run are drawn with."""
    return jax.random.fold_in(jax.random.key(seed), _INIT)


class Compiled:
    """Places data on the mesh and runs a task's pure functions there.

    Several steps go to the device in one call. Their number is an argument of the
    compiled function, the places of the stack are its shape: so the short last stack
    of a round, or the rest after a resume, neither compiles again nor computes
    anything differently.
    """

    def __init__(self, task: Task, mesh: Mesh, seed: int):
        """Prepares the functions; nothing is compiled until it is called."""
        self._task, self._mesh = task, mesh
        root = jax.random.key(seed)
        self._init_key = initial_key(seed)
        self._train_key = jax.random.fold_in(root, _TRAIN)
        self._eval_key = jax.random.fold_in(root, _EVAL)
        shapes = jax.eval_shape(self._first_state, self._init_key)
        self._sharding = state_sharding(mesh, shapes)
        self.abstract_state: TrainState = jax.tree.map(
            lambda s, where: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=where),
            shapes,
            self._sharding,
        )
        whole, stack = replicated(mesh), stack_sharding(mesh)
        self._train = jax.jit(
            self._train_steps,
            static_argnums=(5,),
            in_shardings=(self._sharding, stack, whole, whole, whole),
            out_shardings=(self._sharding, whole),
            donate_argnums=(0,),
        )
        self._eval = jax.jit(
            self._eval_steps,
            static_argnums=(6,),
            in_shardings=(self._sharding, stack, whole, whole, whole, whole),
            out_shardings=whole,
        )
        # a state changed outside of jit would lie elsewhere and compile all again
        self._enter = jax.jit(
            lambda state, phase: task.enter_phase(state, phase).replace(
                best=state.best
            ),
            static_argnums=(1,),
            in_shardings=(self._sharding,),
            out_shardings=self._sharding,
            donate_argnums=(0,),
        )
        self._after = jax.jit(
            self._after_eval,
            in_shardings=(self._sharding, whole, whole),
            out_shardings=self._sharding,
            donate_argnums=(0,),
        )
        self._held: dict[str, tuple[PyTree, PyTree]] = {}

    def init(self) -> TrainState:
        """Returns the state of step 0, made on the devices."""
        init = jax.jit(self._first_state, out_shardings=self._sharding)
        return init(self._init_key)

    def _first_state(self, key: jax.Array) -> TrainState:
        state = self._task.init(key)
        if self._task.best is None:
            return state
        # a place for the best; until an evaluation was finite nothing reads it
        return state.replace(best=jax.tree.map(jnp.copy, self._task.best_of(state)))

    def _after_eval(
        self,
        state: TrainState,
        extra: Mapping[str, jax.Array],
        scalars: Mapping[str, jax.Array],
    ) -> TrainState:
        best = state.best
        if self._task.best is not None:
            now = extra["best_is_now"] > 0
            evaluated = self._task.best_of(state)
            best = jax.tree.map(lambda x, y: jnp.where(now, x, y), evaluated, best)
        return self._task.after_eval(state, extra, scalars).replace(best=best)

    def train(
        self, state: TrainState, stack: PyTree, epoch: int, count: int, phase: str
    ) -> tuple[TrainState, PyTree]:
        """Takes `count` steps; returns the state and each metric as `[capacity]`."""
        resident = self._place_resident("train", self._task.train_data, epoch)
        stack = place(stack, stack_sharding(self._mesh))
        return self._train(
            state, stack, resident, np.int32(count), self._train_key, phase
        )

    def evaluate(
        self, state: TrainState, stack: PyTree, first: int, count: int, phase: str
    ) -> PyTree:
        """Evaluates `count` batches; returns each output as `[capacity, ...]`."""
        resident = self._place_resident("eval", self._task.eval_data, 0)
        first_, count_ = np.int32(first), np.int32(count)
        return self._eval(state, stack, resident, first_, count_, self._eval_key, phase)

    def place_stack(self, stack: PyTree) -> PyTree:
        """Puts a stack of batches on the devices."""
        return place(stack, stack_sharding(self._mesh))

    def enter_phase(self, state: TrainState, phase: str) -> TrainState:
        """Prepares the state for a phase."""
        return self._enter(state, phase)

    def after_eval(
        self,
        state: TrainState,
        extra: Mapping[str, float],
        scalars: Mapping[str, float],
    ) -> TrainState:
        """Applies what was decided on the host; float64 only under jax_enable_x64."""
        # a Python float would be a weakly typed argument; here the types never change
        numbers = [
            {k: np.float64(v) for k, v in found.items() if isinstance(v, (int, float))}
            for found in (extra, scalars)
        ]
        return self._after(state, *numbers)

    def compilations(self) -> dict[str, int]:
        """Returns how often each function was compiled."""
        functions: dict[str, Any] = {
            "train": self._train,
            "eval": self._eval,
            "after": self._after,
        }
        return {name: found._cache_size() for name, found in functions.items()}

    def _place_resident(self, name: str, data: Batches, epoch: int) -> PyTree:
        arrays = data.resident(epoch)
        held = self._held.get(name)
        if held is None or held[0] is not arrays:
            held = (arrays, place(arrays, replicated(self._mesh)))
            self._held[name] = held
        return held[1]

    def _train_steps(
        self,
        state: TrainState,
        stack: PyTree,
        resident: PyTree,
        count: jax.Array,
        key: jax.Array,
        phase: str,
    ) -> tuple[TrainState, Metrics]:
        def step(state: TrainState, i: Any) -> tuple[TrainState, Metrics]:
            batch = self._task.train_data.expand(resident, _take(stack, i))
            step_key = jax.random.fold_in(key, state.step)
            new, metrics = self._task.train_step(state, batch, step_key, phase)
            return new.replace(step=state.step + 1, best=state.best), metrics

        return _repeat(step, state, stack, count)

    def _eval_steps(
        self,
        state: TrainState,
        stack: PyTree,
        resident: PyTree,
        first: jax.Array,
        count: jax.Array,
        key: jax.Array,
        phase: str,
    ) -> PyTree:
        def step(state: TrainState, i: Any) -> tuple[TrainState, PyTree]:
            batch = self._task.eval_data.expand(resident, _take(stack, i))
            batch_key = jax.random.fold_in(key, first + i)
            return state, self._task.eval_step(state, batch, batch_key, phase)

        return _repeat(step, state, stack, count)[1]


def _take(stack: PyTree, i: Any) -> PyTree:
    return jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, keepdims=False), stack)


def _repeat(step: Any, state: Any, stack: PyTree, count: Any) -> tuple[Any, PyTree]:
    """Runs `step(state, i)` for i < count, which need not be known when compiling.

    Args:
      step: (state, i) -> (state, outputs).
      state: carried along.
      stack: its leading axis is the largest possible count.
      count: how many steps.

    Returns:
      The last state and the outputs, stacked; places from `count` on are 0.
    """
    places = jax.tree.leaves(stack)[0].shape[0]
    _, shapes = jax.eval_shape(step, state, jnp.int32(0))
    outputs = jax.tree.map(lambda s: jnp.zeros((places, *s.shape), s.dtype), shapes)

    def body(i: Any, carry: tuple[Any, PyTree]) -> tuple[Any, PyTree]:
        state, outputs = carry
        state, found = step(state, i)
        outputs = jax.tree.map(
            lambda all_, one: lax.dynamic_update_index_in_dim(all_, one, i, 0),
            outputs,
            found,
        )
        return state, outputs

    return lax.fori_loop(0, count, body, (state, outputs))
