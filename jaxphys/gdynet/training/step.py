"""Pure update and evaluation steps of the two lobes.

A batch holds B pairs of frames (t, t + lag). For `0`, the frames t, and `t`, the frames
t + lag, it has nbr_lists_0 [B, N, M], nbr_dists_0 [B, N, M], for the ferro variant
directions_0 [B, N, 3], and optionally nbr_mask_0; and weight [B], 0 for pairs of
padding. A geometry that never changes comes without B ([N, M] or [1, N, M]) and may
come under the plain name (nbr_lists, nbr_dists).

Scores and batch normalisation are sums over the whole batch, so a batch that is split
over devices gives what one device gives.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxphys.gdynet.model.model import Frames, GDyNet
from jaxphys.gdynet.model.settings import LOBES
from jaxphys.gdynet.training import accumulate, vamp
from jaxphys.training.task import Metrics, TrainState

PyTree = Any
Batch = Mapping[str, jax.Array]
ARRAYS = ("nbr_lists", "nbr_dists", "directions", "nbr_mask")


class Lobes(NamedTuple):
    """Two frames to the probabilities of states, and how they are scored.

    Attributes:
        model: of a lobe.
        atom_types: atomic numbers, [N].
        target_index: atoms whose states are wanted, [n].
        lobes: `separate`: two networks, copies at the start; `shared`: one network
            sees both frames as one batch of 2 B, in statistics too.
        epsilon, vamp_mode: see `jaxphys.gdynet.training.vamp`.
        loss_scale: factor on the loss.
    """

    model: GDyNet
    atom_types: np.ndarray
    target_index: np.ndarray
    lobes: str = "separate"
    epsilon: float = vamp.EPSILON
    vamp_mode: str = "trunc"
    loss_scale: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the networks.

        Raises:
            ValueError: `lobes` is unknown.
        """
        if self.lobes not in LOBES:
            expected = ", ".join(LOBES)
            raise ValueError(f"lobes: expected one of {expected}, got {self.lobes!r}")
        return LOBES[self.lobes]


class Pair(NamedTuple):
    """Outputs for a batch of pairs.

    Attributes:
        chi0: for the frames t, [B n, S], frame-major.
        chit: for the frames t + lag, [B n, S].
        weight: of the rows, [B n].
        batch_stats: of each network, after the batch.
    """

    chi0: jax.Array
    chit: jax.Array
    weight: jax.Array
    batch_stats: PyTree


def initial_variables(key: jax.Array, lobes: Lobes) -> dict[str, dict]:
    """Draws the weights; both lobes get the same ones.

    Returns:
        name of the network -> {params, batch_stats}.
    """
    atoms = len(lobes.atom_types)
    frames = {
        "nbr_lists": jnp.zeros((1, atoms, 2), jnp.int32),
        "nbr_dists": jnp.ones((1, atoms, 2)),
        "directions": jnp.zeros((1, atoms, 3)),
    }
    types, targets = (
        jnp.asarray(indices, jnp.int32)
        for indices in (lobes.atom_types, lobes.target_index)
    )
    # compiled: drawing array by array compiles a hundred small programs
    found: Any = jax.jit(lobes.model.init)(key, frames, types, targets)
    found = {"batch_stats": {}, **found}
    return {name: jax.tree.map(jnp.array, found) for name in lobes.names}


def initial_state(
    variables: Mapping[str, Mapping],
    *,
    objective: Lobes,
    optimizer: optax.GradientTransformation,
) -> TrainState:
    """Returns the state of step 0; batch statistics lie in `extra`.

    Args:
        variables: name of the network -> {params, batch_stats}.
        objective: networks.
        optimizer: one for all networks.
    """
    del objective
    # separate buffers: the state is donated
    variables = jax.tree.map(jnp.array, dict(variables))
    params = {name: found["params"] for name, found in variables.items()}
    stats = {name: found["batch_stats"] for name, found in variables.items()}
    return TrainState(
        step=jnp.int32(0),
        params=params,
        opt_state=optimizer.init(params),
        extra={"batch_stats": stats},
    )


def variables_of(state: TrainState, name: str) -> dict[str, PyTree]:
    """Returns params and batch_stats of a network of a state."""
    stats = state.extra["batch_stats"][name]
    return {"params": state.params[name], "batch_stats": stats}


def frames_of(batch: Batch, which: str) -> dict[str, jax.Array]:
    """Returns the frames t (`which` is "0") or t + lag ("t") of a batch."""
    found = {"weight": batch["weight"]}
    for name in ARRAYS:
        array = batch.get(f"{name}_{which}", batch.get(name))
        if array is not None:
            found[name] = array
    return found


def _joined(one: Mapping, other: Mapping) -> dict[str, jax.Array]:
    """Returns both frames of each pair as one batch; what all share stays as it is."""
    count = len(one["weight"])

    def join(name: str) -> jax.Array:
        a, b = one[name], other[name]
        if name != "weight" and (a.ndim == 2 or len(a) < count):
            return a
        return jnp.concatenate([a, b])

    return {name: join(name) for name in one}


def _apply(lobes: Lobes, variables: PyTree, frames: Frames, train: bool):
    """Returns probabilities and batch statistics of one network."""
    # numpy: constants of the compiled step
    constants = [
        np.asarray(indices, np.int32)
        for indices in (lobes.atom_types, lobes.target_index)
    ]
    mutable = ["batch_stats"] if train else []
    found: Any = lobes.model.apply(
        variables, frames, *constants, train, mutable=mutable
    )
    output, changed = found
    return output.probs, changed.get("batch_stats", {})


def evaluate(
    lobes: Lobes, params: PyTree, batch_stats: PyTree, batch: Batch, train: bool
) -> Pair:
    """Returns the outputs for a batch.

    Args:
        lobes: networks.
        params: name of the network -> weights.
        batch_stats: name of the network -> running statistics.
        batch: pairs of frames.
        train: normalise with the statistics of the batch, and remember them.
    """
    frames = [frames_of(batch, which) for which in ("0", "t")]
    shared = len(lobes.names) == 1
    if shared:
        frames = [_joined(*frames)]
    chi, stats = [], {}
    # one after the other: batched over a leading axis, the products over all edges
    # are several times slower on CPUs
    for name, seen in zip(lobes.names, frames, strict=True):
        variables = {"params": params[name], "batch_stats": batch_stats[name]}
        found, changed = _apply(lobes, variables, seen, train)
        chi.append(found)
        stats[name] = changed if train else batch_stats[name]
    chi0, chit = jnp.split(chi[0], 2) if shared else chi
    targets = len(lobes.target_index)
    weight = jnp.repeat(batch["weight"], targets).astype(chi0.dtype)
    return Pair(chi0, chit, weight, stats)


def loss_of(lobes: Lobes, pair: Pair, phase: str) -> jax.Array:
    """Returns the loss of a batch.

    Args:
        lobes: how outputs are scored.
        pair: outputs.
        phase: name of the loss in `vamp.LOSSES`.

    Raises:
        ValueError: the name is unknown.
    """
    if phase not in vamp.LOSSES:
        raise ValueError(
            f"loss: expected one of {', '.join(vamp.LOSSES)}, got {phase!r}"
        )
    return vamp.LOSSES[phase](
        pair.chi0, pair.chit, pair.weight, lobes.epsilon, lobes.vamp_mode
    )


def _scores(lobes: Lobes, pair: Pair) -> dict[str, jax.Array]:
    chi0, chit = jax.lax.stop_gradient((pair.chi0, pair.chit))
    return vamp.metrics(chi0, chit, pair.weight, lobes.epsilon, lobes.vamp_mode)


def gradients(
    lobes: Lobes, state: TrainState, batch: Batch, phase: str
) -> tuple[PyTree, jax.Array, Pair]:
    """Returns the gradients of a batch, its loss (unscaled) and its outputs."""

    def value(params: PyTree) -> tuple[jax.Array, tuple[jax.Array, Pair]]:
        pair = evaluate(lobes, params, state.extra["batch_stats"], batch, True)
        loss = loss_of(lobes, pair, phase)
        return loss * lobes.loss_scale, (loss, pair)

    grads, (loss, pair) = jax.grad(value, has_aux=True)(state.params)
    return grads, loss, pair


def train_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array | None,
    phase: str,
    *,
    objective: Lobes,
    optimizer: optax.GradientTransformation,
) -> tuple[TrainState, Metrics]:
    """Takes one optimizer step.

    Args:
        state: before the step; the caller advances `step`.
        batch: pairs of frames.
        key: unused; nothing is random.
        phase: name of the loss.
        objective: networks and how they are scored.
        optimizer: any optax transformation.

    Returns:
        The state after the step and the metrics loss, vamp1 and vamp2, each taken
        before the update with weight 1 per batch.
    """
    del key
    grads, loss, pair = gradients(objective, state, batch, phase)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    one = jnp.ones_like(loss)
    values = {"loss": loss, **_scores(objective, pair)}
    metrics = {name: (value, one) for name, value in values.items()}
    extra = {**state.extra, "batch_stats": pair.batch_stats}
    return state.replace(params=params, opt_state=opt_state, extra=extra), metrics


def eval_step(
    state: TrainState,
    batch: Batch,
    key: jax.Array | None,
    phase: str,
    *,
    objective: Lobes,
) -> dict[str, Any]:
    """Evaluates a batch with running statistics.

    Returns:
        sums: `accumulate.Sums`, for scores of the whole set; loss, vamp1 and vamp2 of
        this batch; count, its pairs (0 for a batch of padding only).
    """
    del key
    pair = evaluate(objective, state.params, state.extra["batch_stats"], batch, False)
    targets = len(objective.target_index)
    return {
        "sums": accumulate.batch_sums(pair.chi0, pair.chit, pair.weight, targets),
        "loss": loss_of(objective, pair, phase),
        **_scores(objective, pair),
        "count": jnp.sum(batch["weight"]),
    }


def summarize(
    batches: Sequence[Mapping[str, Any]], *, objective: Lobes
) -> dict[str, float]:
    """Returns the scores of a set: exact ones, and those of the original's batches.

    Args:
        batches: from `eval_step`.
        objective: how outputs are scored.

    Returns:
        val_{loss,vamp1,vamp2}_{avg,last}: mean over batches, and the last batch;
        val_vamp{1,2}_full, val_vamp2_static, val_vamp2_centred: of the whole set;
        val_population_<i>: mean probability of a state.
    """
    real = [batch for batch in batches if float(batch["count"]) > 0]
    scalars = {}
    for name in ("loss", "vamp1", "vamp2"):
        values = [float(batch[name]) for batch in real]
        scalars[f"val_{name}_avg"] = float(np.mean(values))
        scalars[f"val_{name}_last"] = values[-1]
    sums = accumulate.total(real)
    whole = accumulate.scores(sums, objective.epsilon, objective.vamp_mode)
    scalars["val_vamp1_full"], scalars["val_vamp2_full"] = whole.vamp1, whole.vamp2
    scalars["val_vamp2_static"] = whole.static
    scalars["val_vamp2_centred"] = whole.centred
    scalars["val_trace"] = whole.trace
    for i, value in enumerate(whole.populations):
        scalars[f"val_population_{i}"] = float(value)
    return scalars


def probabilities(
    lobes: Lobes, variables: Mapping[str, PyTree], frames: Frames
) -> jax.Array:
    """Returns the probabilities of the targets of frames, [B, n, S].

    Args:
        lobes: networks.
        variables: params and batch_stats of one network.
        frames: see `GDyNet`.
    """
    found, _ = _apply(lobes, variables, frames, False)
    return found.reshape(-1, len(lobes.target_index), found.shape[-1])
