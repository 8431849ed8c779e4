import numpy as np

from jaxphys.hypertrack.inference.micrographs import (
    Sets,
    mask_probabilities,
    node_size,
    padded,
    stack,
    training_shape,
)


def make_sets(sizes, seed=0):
    rng = np.random.default_rng(seed)
    node = rng.integers(0, 1000, int(np.sum(sizes)))
    pivots = rng.integers(0, 1000, (len(sizes), 3))
    return Sets.of(pivots, node, np.repeat(np.arange(len(sizes)), sizes))


def test_every_node_gets_its_own_probability_whatever_batch_it_is_in():
    sizes = np.random.default_rng(1).integers(1, 90, 300)
    sets = make_sets(sizes)
    shapes = set()

    def masks(rows, mask, pivots):
        shapes.add(rows.shape)
        return rows + pivots[:, :1] / 2000 + np.where(mask, 0, np.nan)

    found = mask_probabilities(sets, masks)
    expected = sets.node + sets.pivots[sets.owner, 0] / 2000
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert len(shapes) <= 8  # two batch sizes for each of four node sizes


def test_taking_sets_keeps_their_nodes_in_the_order_asked_for():
    sets = make_sets([3, 0, 5, 2])
    some = sets.take(np.array([2, 0]))
    np.testing.assert_array_equal(some.size, [5, 3])
    np.testing.assert_array_equal(some.node, np.r_[sets.node[3:8], sets.node[:3]])
    both = Sets.joined([some, sets], 3)
    np.testing.assert_array_equal(both.size, [5, 3, 3, 0, 5, 2])
    assert len(Sets.joined([], 3)) == 0


def test_padding_is_masked_and_zero():
    sets = make_sets([3, 7])
    batch = padded(sets, np.array([1, 0]), 4, 16)
    assert batch["rows"].shape == (4, 16)
    np.testing.assert_array_equal(batch["row_mask"].sum(axis=1), [7, 3, 0, 0])
    np.testing.assert_array_equal(batch["rows"][batch["row_mask"]][:7], sets.node[3:])
    assert not batch["rows"][~batch["row_mask"]].any()
    assert batch["set_mask"].tolist() == [True, True, False, False]


def test_shapes_come_from_a_short_ladder():
    assert [node_size(n) for n in (1, 16, 17, 512, 513, 1025)] == [
        16, 16, 32, 512, 1024, 2048,
    ]  # fmt: skip
    assert training_shape([make_sets([3] * 9), make_sets([40])]) == (16, 64)
    assert training_shape([]) == (4, 16)


def test_graphs_are_stacked_and_what_does_not_fit_is_counted():
    sets = [make_sets([3, 90, 5]), make_sets([2])]
    batch = stack(sets, (2, 64))
    assert batch["rows"].shape == (2, 2, 64)
    assert batch["left_out"].tolist() == [1, 0]
    np.testing.assert_array_equal(batch["row_mask"].sum(axis=2), [[3, 5], [2, 0]])
    np.testing.assert_array_equal(batch["pivots"][0], sets[0].pivots[[0, 2]])
    assert stack(sets)["rows"].shape == (2, 4, 128)
