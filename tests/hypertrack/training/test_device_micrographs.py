import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.hypertrack.inference.kept_graph import kept_graph
from jaxphys.hypertrack.inference.pivot_search import greedy_walks, spanned
from jaxphys.hypertrack.training.device_micrographs import Proposal, propose
from tests.hypertrack.edge_graphs import cliques


def padded_graph(seed=0, more_nodes=5, more_edges=40):
    """Returns a padded graph, and its real edges and probabilities."""
    track, edges, prob, _ = cliques(seed)
    nodes = len(track) + more_nodes
    order = np.lexsort((edges[0], edges[1]))
    edges, prob = edges[:, order], prob[order]
    fill = np.full((2, more_edges), nodes - 1)
    graph = {
        "edge_index": jnp.asarray(np.concatenate([edges, fill], axis=1), jnp.int32),
        "edge_mask": jnp.asarray(np.arange(len(prob) + more_edges) < len(prob)),
        "node_mask": jnp.asarray(np.arange(nodes) < len(track)),
        "track": jnp.asarray(np.r_[track, np.full(more_nodes, -1)], jnp.int32),
    }
    whole = jnp.asarray(np.r_[prob, np.full(more_edges, 0.99)], jnp.float32)
    return graph, whole, (edges, prob, nodes)


run = jax.jit(propose, static_argnums=3)
# every set of settings is a compilation of its own
SETTINGS = Proposal(num_sets=300, num_nodes=64, drop_tracks=0.0)
DROPPING = Proposal(num_sets=8, num_nodes=4, drop_tracks=0.9)


def test_sets_are_walks_and_micrographs_of_the_search_on_the_host():
    graph, prob, (edges, real, nodes) = padded_graph()
    found = jax.tree.map(np.asarray, run(graph, prob, jax.random.key(0), SETTINGS))
    kept = kept_graph(edges, real, nodes, SETTINGS.edge_threshold)
    active = np.asarray(graph["node_mask"])
    walks = greedy_walks(kept, active, np.arange(nodes), 3, SETTINGS.diffuse_threshold)
    good = walks.path[walks.whole]
    got = found["pivots"][found["set_mask"]]
    assert sorted(map(tuple, got)) == sorted(map(tuple, good))  # every hit is a seed
    node, owner = spanned(kept, active, got)
    for number, rows in enumerate(np.flatnonzero(found["set_mask"])):
        mine = found["rows"][rows][found["row_mask"][rows]]
        assert sorted(mine) == node[owner == number].tolist()


def test_padding_holds_nothing():
    graph, prob, _ = padded_graph()
    found = run(graph, prob, jax.random.key(0), SETTINGS)
    assert found["rows"].shape == (300, 64)
    empty = ~np.asarray(found["set_mask"])
    assert empty.any()
    assert not np.asarray(found["row_mask"])[empty].any()
    assert not np.asarray(found["rows"])[~np.asarray(found["row_mask"])].any()


def test_a_small_micrograph_holds_the_likeliest_nodes_of_the_tracks_that_are_left():
    graph, prob, (edges, real, nodes) = padded_graph()
    table = np.zeros((nodes, nodes))
    table[tuple(edges)] = np.where(edges[0] != edges[1], real, 0)
    table[table <= DROPPING.edge_threshold] = 0
    track, counts = np.asarray(graph["track"]), []
    for seed in range(20):
        found = run(graph, prob, jax.random.key(seed), DROPPING)
        found = jax.tree.map(np.asarray, found)
        pivots = found["pivots"][found["set_mask"]]
        counts.append(len(set(track[pivots].ravel()) - {-1}))
        for row in np.flatnonzero(found["set_mask"]):
            best = table[found["pivots"][row]].max(axis=0)
            kept = found["rows"][row][found["row_mask"][row]]
            assert len(set(kept.tolist())) == len(kept)
            # whole tracks may be missing, so a node that is left is left with its track
            missing = set(np.flatnonzero(best > best[kept].min())) - set(kept.tolist())
            left_out = set(track[list(missing)].tolist())
            assert not left_out & (set(track[kept].tolist()) - {-1})
    assert min(counts) < max(counts)


def test_draws_follow_the_key_and_carry_no_gradient():
    graph, prob, _ = padded_graph()
    first, again, other = (
        np.asarray(run(graph, prob, jax.random.key(k), DROPPING)["pivots"])
        for k in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()

    @jax.jit
    def loss(p):
        found = propose(graph, p, jax.random.key(0), DROPPING)
        return jnp.sum(p[found["rows"]] * 0 + found["row_mask"])

    assert not np.asarray(jax.grad(loss)(prob)).any()


def test_graphs_of_a_batch_go_together():
    graph, prob, _ = padded_graph()
    other = {**graph, "track": jnp.full_like(graph["track"], -1)}
    batch = jax.tree.map(lambda *a: jnp.stack(a), graph, other)
    probs = jnp.stack([prob, prob**2])
    keys = jax.random.split(jax.random.key(0), 2)
    together = jax.jit(jax.vmap(functools.partial(propose, settings=SETTINGS)))(
        batch, probs, keys
    )
    for d, (one, p) in enumerate(zip((graph, other), probs, strict=True)):
        alone = run(one, p, keys[d], SETTINGS)
        for name, array in alone.items():
            np.testing.assert_array_equal(array, together[name][d], name)
