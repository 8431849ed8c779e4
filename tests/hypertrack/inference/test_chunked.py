"""Evaluation in chunks equals evaluation at once."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from jaxphys.hypertrack.inference import chunked
from tests.hypertrack.net_graphs import FAST, NET, drawn, make_graph


def both(net, chunk, **options):
    graph = make_graph(hits=30)
    variables = drawn(net, graph)
    changed = jax.tree.map(lambda a: a + 0.2, dict(variables.get("batch_stats", {})))
    variables = {"params": variables["params"], "batch_stats": changed}
    expected: Any = jax.jit(net.apply, static_argnums=2)(variables, graph, False)
    position, edges = graph["position"], graph["edge_index"]
    got = chunked.edge_outputs(net, variables, position, edges, chunk=chunk, **options)
    return expected, got


@pytest.mark.parametrize("chunk", [64, 1000])
@pytest.mark.parametrize("edge_type", ["symmetric-dot", "symmetrized"])
def test_chunks_of_the_track_net_equal_the_whole(chunk, edge_type):
    net = dataclasses.replace(NET, edge_type=edge_type)
    expected, (latents, logits) = both(net, chunk)
    np.testing.assert_allclose(latents, expected.latents, atol=2e-4)
    np.testing.assert_allclose(logits, expected.logits, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "most"), [("float16", 5e-3), ("bfloat16", 3e-2)])
def test_chunks_of_the_fast_net_equal_the_whole_in_its_precision(kind, most):
    expected, (latents, logits) = both(FAST, 64, state_type=kind)
    np.testing.assert_allclose(latents, expected.latents, atol=most)
    np.testing.assert_allclose(logits, expected.logits, atol=most)


@pytest.mark.parametrize(("kept", "most"), [(0, 2e-4), (64, 3e-2)])
def test_states_that_memory_does_not_hold_are_computed_again(kept, most):
    room = kept * FAST.width * 2
    expected, (latents, logits) = both(FAST, 64, state_bytes=room)
    assert len(logits) > 3 * 64
    np.testing.assert_allclose(latents, expected.latents, atol=most)
    np.testing.assert_allclose(logits, expected.logits, atol=most)


def test_an_event_without_edges_has_latents():
    graph = make_graph()
    variables = drawn(NET, graph)
    none = np.zeros((2, 0), np.int32)
    latents, logits = chunked.edge_outputs(NET, variables, graph["position"], none)
    assert np.all(np.isfinite(latents))
    assert logits.shape == (0,)


def test_what_cannot_be_added_up_is_refused():
    graph, net = make_graph(), dataclasses.replace(NET, aggr="max")
    position, edges = graph["position"], graph["edge_index"]
    with pytest.raises(ValueError, match="aggr=max"):
        chunked.edge_outputs(net, {}, position, edges)
    with pytest.raises(ValueError, match="state_type: expected one of"):
        chunked.edge_outputs(FAST, {}, position, edges, state_type="int8")


def test_small_and_large_events_take_one_of_few_shapes_on_a_cpu():
    sizes = {chunked.chunk_for(count) for count in (0, 1, 30_000, 40_000, 10**7)}
    assert len(sizes) == 2
    assert chunked.chunk_for(10) < chunked.chunk_for(10**6) <= chunked.CHUNK
