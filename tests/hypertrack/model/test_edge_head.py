"""Kinds of edge heads."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.hypertrack.model.batch_norm import COLLECTION
from jaxphys.hypertrack.model.edge_head import EDGE_TYPES, EdgeHead
from jaxphys.hypertrack.model.edge_layout import topology
from tests.hypertrack.net_graphs import make_graph


def setting(kind):
    graph = {k: jnp.asarray(v) for k, v in make_graph().items()}
    edges = topology(graph)
    latents = jax.random.normal(jax.random.key(1), (len(graph["position"]), 6))
    head = EdgeHead(6, kind)
    return head, head.init(jax.random.key(0), latents, edges, False), latents, edges


@pytest.mark.parametrize("kind", EDGE_TYPES)
def test_some_edges_have_the_logits_they_have_among_all(kind):
    head, variables, latents, edges = setting(kind)
    everything: Any = head.apply(variables, latents, edges, False)
    some = slice(5, 30)
    ends = edges.source[some], edges.destination[some]
    got: Any = head.apply(variables, latents, *ends, method="logits_of")
    np.testing.assert_allclose(got, everything[some], atol=1e-5)


@pytest.mark.parametrize("kind", EDGE_TYPES)
def test_only_the_asymmetric_head_tells_directions_apart(kind):
    head, variables, latents, edges = setting(kind)
    ends = edges.source, edges.destination
    one: Any = head.apply(variables, latents, *ends, method="logits_of")
    other: Any = head.apply(variables, latents, *ends[::-1], method="logits_of")
    assert np.allclose(one, other, atol=1e-5) == (kind != "asymmetric")


def test_the_symmetrized_head_makes_two_passes():
    for kind, passes in (("symmetrized", 2), ("asymmetric", 1)):
        head, variables, latents, edges = setting(kind)
        _, found = head.apply(variables, latents, edges, True, mutable=[COLLECTION])
        assert len(found[COLLECTION]["mlp"]["norm_0"]["mean"]) == passes


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="edge_type: expected one of"):
        EdgeHead(6, "dot").init(jax.random.key(0), jnp.ones((2, 6)), None, False)
