"""The products of matrices that a function consists of."""

import collections

import jax
import numpy as np
from jax.extend import core


def dtypes_of_products(function, *arguments):
    """Returns how many multiplications there are by the types of both operands.

    Sums (products with a vector, or with a matrix of one row or column) and products
    that add nothing up are left out.
    """
    found = collections.Counter()
    _count(jax.make_jaxpr(function)(*arguments).jaxpr, found)
    return found


def _count(jaxpr, found):
    kinds = (core.Jaxpr, core.ClosedJaxpr)
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            operands = [variable.aval for variable in equation.invars]
            (contracted, _), (batch, _) = equation.params["dimension_numbers"]
            size = np.prod([operands[0].shape[axis] for axis in contracted])
            out = equation.outvars[0].aval.shape
            free = out[len(batch) :]
            if size > 1 and len(free) > 1 and min(free) > 1:
                types = tuple(str(operand.dtype) for operand in operands)
                found[types] += int(size * np.prod(out))
        for inner in jax.tree.leaves(
            equation.params, is_leaf=lambda value: isinstance(value, kinds)
        ):
            if isinstance(inner, kinds):
                _count(getattr(inner, "jaxpr", inner), found)
