"""Optimizers and schedules with PyTorch's semantics where the originals need them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from jaxphys.training.adam import scale_by_adam

PyTree = Any
NAMES = ("adam", "adamw", "sgd", "muon")
SCHEDULES = ("constant", "plateau", "cosine", "linear")


def make_optimizer(
    name: str,
    learning_rate: float | optax.Schedule,
    *,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    grad_clip_norm: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    """Builds an optimizer that updates as the PyTorch one of that name does.

    A number as learning rate becomes an entry of the state that `set_learning_rate`
    changes without a new compilation; a schedule is evaluated inside the step.

    Args:
      name: "adam" (weight decay added to the gradient), "adamw" (decoupled, on all
        parameters), "sgd" (momentum as in PyTorch, weight decay added to the gradient),
        "muon" (orthogonalised momentum on matrices, Adam on vectors; decoupled).
      learning_rate: a number, or step -> rate.
      weight_decay: strength of the decay; 0 is off.
      momentum: of sgd; 0 is off.
      grad_clip_norm: largest global norm of the gradient; 0 is off. The norm gets
        PyTorch's 1e-6 added.
      betas: decay rates of Adam's moments.
      eps: added outside Adam's square root.

    Returns:
      The gradient transformation.

    Raises:
      ValueError: an unknown name.
    """
    if name not in NAMES:
        raise ValueError(f"optimizer {name!r}: expected one of {', '.join(NAMES)}")

    def build(learning_rate: Any) -> optax.GradientTransformation:
        parts = [clip_by_global_norm(grad_clip_norm)] if grad_clip_norm else []
        if name == "muon":
            muon = optax.contrib.muon(
                learning_rate,
                eps=eps,
                weight_decay=weight_decay,
                adam_b1=betas[0],
                adam_b2=betas[1],
                adam_weight_decay=weight_decay,
            )
            return optax.chain(*parts, muon)
        if name != "adamw" and weight_decay:
            parts.append(optax.add_decayed_weights(weight_decay))
        if name == "sgd":
            parts.append(optax.trace(decay=momentum) if momentum else optax.identity())
        else:
            parts.append(scale_by_adam(*betas, eps))
        if name == "adamw" and weight_decay:
            parts.append(optax.add_decayed_weights(weight_decay))
        parts.append(optax.scale_by_learning_rate(learning_rate))
        return optax.chain(*parts)

    if callable(learning_rate):
        return build(learning_rate)
    return optax.inject_hyperparams(build)(learning_rate=learning_rate)


def clip_by_global_norm(largest: float) -> optax.GradientTransformation:
    """Scales gradients by min(1, largest / (norm + 1e-6)), PyTorch's rule."""

    def update(updates: PyTree, state: Any, params: PyTree = None) -> Any:
        del params
        factor = jnp.minimum(1.0, largest / (optax.tree.norm(updates) + 1e-6))
        return jax.tree.map(lambda g: g * factor.astype(g.dtype), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def set_learning_rate(opt_state: PyTree, learning_rate: jax.Array) -> PyTree:
    """Returns the state of an optimizer of `make_optimizer` with another rate.

    Raises:
      ValueError: the optimizer was built with a schedule.
    """
    if not hasattr(opt_state, "hyperparams"):
        raise ValueError("the optimizer follows a schedule: its rate cannot be set")
    old = opt_state.hyperparams["learning_rate"]
    rates = {**opt_state.hyperparams, "learning_rate": learning_rate.astype(old.dtype)}
    return opt_state._replace(hyperparams=rates)


def warmup_schedule(
    kind: str, peak: float, steps: int, *, warmup_steps: int = 0, final: float = 0.0
) -> Callable[[Any], Any]:
    """Returns a rate that rises linearly to its peak and then falls.

    Args:
      kind: "cosine", "linear", or "constant" (no fall).
      peak: rate after the warm-up.
      steps: step at which `final` is reached.
      warmup_steps: length of the rise; at most 5% of `steps` is used.
      final: rate at the end.
    """
    warmup = min(warmup_steps, steps // 20)
    fall = {
        "cosine": optax.cosine_decay_schedule(
            peak, max(steps - warmup, 1), final / peak if peak else 0.0
        ),
        "linear": optax.linear_schedule(peak, final, max(steps - warmup, 1)),
        "constant": optax.constant_schedule(peak),
    }[kind]
    if not warmup:
        return fall
    rise = optax.linear_schedule(0.0, peak, warmup)
    return optax.join_schedules([rise, fall], [warmup])
