"""The original's optimizers: what is decayed, what is frozen, how gradients are cut."""

from typing import Any

import jax
import optax

from jaxphys.training.adam import scale_by_adam
from jaxphys.training.optimizers import clip_by_global_norm

PyTree = Any
NAMES = ("AdamW", "Adam", "SGD")


def is_decayed(path: tuple[str, ...]) -> bool:
    """Says whether a weight is decayed as one: all but biases and layer norms.

    Args:
        path: keys of the weight, such as ("net", "conv_0", ..., "kernel"). The scales
            of batch norms are decayed.
    """
    if path[-1] == "scale":
        # batch norms of the nets are norm_<n> of a block, which has linear maps beside
        return path[0] == "net" and path[-2].startswith("norm_")
    return path[-1] != "bias"


def add_decay(of_weights: float, of_biases: float) -> optax.GradientTransformation:
    """Adds decay * parameter to every update, with one strength for either group."""

    def update(updates: PyTree, state: Any, params: PyTree = None) -> Any:
        def decayed(path: Any, change: jax.Array, value: jax.Array) -> jax.Array:
            names = tuple(str(getattr(entry, "key", entry)) for entry in path)
            strength = of_weights if is_decayed(names) else of_biases
            return change + strength * value if strength else change

        return jax.tree_util.tree_map_with_path(decayed, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def make_optimizer(
    name: str,
    schedule: optax.Schedule | float,
    *,
    weight_decay_w: float = 1e-5,
    weight_decay_b: float = 0.0,
    epsilon: float = 1e-6,
    grad_clip_norm: float = 1.0,
    betas: tuple[float, float] = (0.9, 0.999),
) -> optax.GradientTransformation:
    """Builds an optimizer for the params of `jaxphys.hypertrack.training.step`.

    Args:
        name: "AdamW" (decay apart from the gradient), "Adam" (decay in the gradient)
            or "SGD" (without momentum, decay in the gradient).
        schedule: iteration -> learning rate; iterations count from the last `init`.
        weight_decay_w: of what `is_decayed` says.
        weight_decay_b: of all else.
        epsilon: added outside Adam's root.
        grad_clip_norm: largest norm of all gradients together; 0 is off.
        betas: decay rates of Adam's moments.

    Raises:
        ValueError: an unknown name.
    """
    if name not in NAMES:
        raise ValueError(f"optimizer: expected one of {', '.join(NAMES)}, got {name!r}")
    parts = [clip_by_global_norm(grad_clip_norm)] if grad_clip_norm else []
    decay = [add_decay(weight_decay_w, weight_decay_b)]
    adam = [] if name == "SGD" else [scale_by_adam(*betas, epsilon)]
    parts += adam + decay if name == "AdamW" else decay + adam
    return optax.chain(*parts, optax.scale_by_learning_rate(schedule))


def freeze(tree: PyTree, trained: tuple[str, ...]) -> PyTree:
    """Returns the tree with zeros under all keys of its top but the trained ones.

    With gradients and parameters treated so, an optimizer leaves the others and their
    moments alone: no gradient, no decay.
    """
    return {
        key: value if key in trained else jax.tree.map(lambda x: x * 0, value)
        for key, value in tree.items()
    }
