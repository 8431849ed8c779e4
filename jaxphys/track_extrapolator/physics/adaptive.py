"""Adaptive Runge-Kutta with diffrax: the cross-check of the fixed-step propagator.

The tracks of a batch advance in lock-step, so a batch costs what its slowest track
costs; on a trilinear grid, whose derivatives jump at every cell, this is never fast.
"""

import functools
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.track_extrapolator.physics.field import Field
from jaxphys.track_extrapolator.physics.motion import KAPPA_PER_QOP, acceleration

TOLERANCE = 1e-9
MAX_STEPS = 4096

# Cash and Karp, ACM TOMS 16 (1990) 201: nodes, stages, fifth and fourth order weights
CASH_KARP_C = (1 / 5, 3 / 10, 3 / 5, 1.0, 7 / 8)
CASH_KARP_A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (3 / 10, -9 / 10, 6 / 5),
    (-11 / 54, 5 / 2, -70 / 27, 35 / 27),
    (1631 / 55296, 175 / 512, 575 / 13824, 44275 / 110592, 253 / 4096),
)
CASH_KARP_B = (37 / 378, 0.0, 250 / 621, 125 / 594, 0.0, 512 / 1771)
CASH_KARP_FOURTH = (2825 / 27648, 0.0, 18575 / 48384, 13525 / 55296, 277 / 14336, 1 / 4)


def _diffrax():
    try:
        import diffrax
    except ImportError as error:
        raise ImportError(
            "adaptive methods need diffrax: pip install 'jaxphys[ode]'"
        ) from error
    return diffrax


def _cash_karp(diffrax):
    coefficients = diffrax.ButcherTableau(
        c=np.array(CASH_KARP_C),
        b_sol=np.array(CASH_KARP_B),
        b_error=np.array(CASH_KARP_B) - np.array(CASH_KARP_FOURTH),
        a_lower=tuple(np.array(row) for row in CASH_KARP_A),
    )

    class CashKarp(diffrax.AbstractERK):
        tableau: ClassVar = coefficients
        interpolation_cls: ClassVar = (
            diffrax.ThirdOrderHermitePolynomialInterpolation.from_k
        )

        def order(self, terms):
            return 5

    return CashKarp()


@functools.cache
def _solver(method):
    diffrax = _diffrax()
    return {
        "dopri5": diffrax.Dopri5,
        "tsit5": diffrax.Tsit5,
        "cashkarp": functools.partial(_cash_karp, diffrax),
    }[method]()


@functools.cache
def _compiled(method, return_jacobian, rtol, atol, max_steps):
    diffrax = _diffrax()
    controller = diffrax.PIDController(rtol=rtol, atol=atol)

    def slope(z, state, arguments):
        field, kappa = arguments
        x, y, tx, ty = state
        return tx, ty, *acceleration(field, field.plane(z), x, y, tx, ty, kappa)

    def transport(field, state, z0, z1):
        x, y, tx, ty, qop = state
        moving = z1 != z0
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            _solver(method),
            z0,
            # an empty interval is refused: go 1 mm and return the start below
            jnp.where(moving, z1, z0 + 1.0),
            dt0=None,
            y0=(x, y, tx, ty),
            args=(field, KAPPA_PER_QOP * qop),
            stepsize_controller=controller,
            adjoint=diffrax.ForwardMode(),
            max_steps=max_steps,
            throw=False,
        )
        ys = cast(tuple, solution.ys)
        end = [jnp.where(moving, v[-1], s) for v, s in zip(ys, state[:4], strict=True)]
        failed = solution.result != diffrax.RESULTS.successful
        end = jnp.where(failed & moving, jnp.nan, jnp.stack(end))
        return jnp.append(end, qop), solution.stats["num_steps"]

    def run(field, state, z0, z1):
        end, steps = transport(field, state, z0, z1)
        if not return_jacobian:
            return end, None, steps
        return end, jax.jacfwd(lambda s: transport(field, s, z0, z1)[0])(state), steps

    return jax.jit(jax.vmap(run, in_axes=(None, 0, 0, 0)))


def propagate_adaptive(
    field: Field,
    state,
    z0,
    z1,
    method: str = "dopri5",
    return_jacobian: bool = False,
    rtol: float = TOLERANCE,
    atol: float = TOLERANCE,
    max_steps: int = MAX_STEPS,
    return_steps: bool = False,
) -> Any:
    """Propagates states with step size control, in float64.

    Args:
        field: Any field; the steps of a trilinear grid become very small.
        state: [N, 5] x, y (mm), tx, ty, q/p (1/MeV).
        z0: Start, mm, scalar or [N].
        z1: End, mm, scalar or [N].
        method: "dopri5", "tsit5" or "cashkarp" (LHCb's scheme).
        return_jacobian: Also return d(state at z1) / d(state at z0) [N, 5, 5].
        rtol: Relative tolerance of a step.
        atol: Absolute tolerance of a step (mm and slopes alike).
        max_steps: A track that needs more becomes NaN: see `track_ok`.
        return_steps: Also return the steps that each track took [N].

    Returns:
        State [N, 5], or a tuple (state, Jacobian if asked for, steps if asked for).

    Raises:
        ImportError: If diffrax (extra `ode`) is missing.
    """
    state = np.asarray(state, np.float64)
    z0, z1 = (np.broadcast_to(np.asarray(z, np.float64), len(state)) for z in (z0, z1))
    run = _compiled(method, return_jacobian, rtol, atol, max_steps)
    with jax.enable_x64(True):
        field = jax.tree.map(jnp.asarray, field)
        result = jax.tree.map(np.asarray, run(field, state, z0, z1))
    end, jacobian, steps = result
    kept = [end]
    if return_jacobian:
        kept.append(jacobian)
    if return_steps:
        kept.append(steps)
    return tuple(kept) if len(kept) > 1 else end
