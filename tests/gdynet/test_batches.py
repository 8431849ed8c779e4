"""Batches of pairs: what the step sees, wherever the frames lie."""

import jax
import numpy as np
import pytest

from jaxphys.data.batches import shuffled
from jaxphys.gdynet.batches import device_bytes, eval_batches, train_batches
from jaxphys.gdynet.data.dataset import Pairs, all_pairs, from_arrays, split_blocks
from tests.gdynet.oracles import arrays_of


def make(directions=True, still=False, lengths=(7, 11, 5)):
    arrays = arrays_of(frames=sum(lengths), directions=directions)
    if still:
        for name in ("nbr_lists", "nbr_dists"):
            arrays[name] = arrays[name][0]
    return from_arrays({**arrays, "trajectory_lengths": np.array(lengths)}, "d")


def seen(batches, epoch, index, part=slice(None)):
    """Returns a batch as the compiled step gets it."""
    resident = jax.tree.map(jax.numpy.asarray, batches.resident(epoch))
    sent = batches.batch(epoch, index, part)
    return {
        k: np.asarray(v) for k, v in jax.jit(batches.expand)(resident, sent).items()
    }


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("still", [False, True])
def test_batch_holds_the_frames_of_its_pairs(on_device, still):
    data = make(still=still)
    pairs = all_pairs(data, 3)
    batches = train_batches(
        data, pairs, 4, seed=5, directions=True, on_device=on_device
    )
    for epoch in (0, 1):
        order = shuffled(pairs.size, 5)(epoch)
        for i in range(batches.num_batches(epoch)):
            batch = seen(batches, epoch, i)
            rows = order[4 * i : 4 * i + 4]
            assert batch["pair"].tolist() == rows.tolist()
            assert batch["weight"].tolist() == [1.0] * 4
            for time, frames in zip("0t", pairs.frames(rows), strict=True):
                for name in ("nbr_lists", "nbr_dists", "directions"):
                    still_here = data.static(name) is not None
                    found = batch[name if still_here else f"{name}_{time}"]
                    expected = data.read(name, frames)
                    if still_here:
                        assert found.shape[0] == 1
                        found = np.broadcast_to(found, expected.shape)
                    assert found.dtype == expected.dtype
                    np.testing.assert_array_equal(found, expected)


def test_training_visits_each_pair_once_and_drops_the_rest():
    data = make()
    pairs = all_pairs(data, 2)
    batches = train_batches(data, pairs, 4, seed=0)
    assert pairs.size == 17
    assert batches.num_batches(0) == 4
    orders = []
    for epoch in range(3):
        found = [batches.batch(epoch, i, slice(None))["pair"] for i in range(4)]
        joined = np.concatenate(found).tolist()
        assert len(set(joined)) == 16
        orders.append(tuple(joined))
    assert len(set(orders)) == 3
    again = train_batches(data, pairs, 4, seed=0)
    assert again.batch(2, 1, slice(None))["pair"].tolist() == list(orders[2][4:8])
    other = train_batches(data, pairs, 4, seed=1).batch(0, 0, slice(None))["pair"]
    assert other.tolist() != list(orders[0][:4])


@pytest.mark.parametrize("on_device", [False, True])
def test_evaluation_is_complete_and_padding_has_weight_0(on_device):
    data = make()
    pairs = all_pairs(data, 2)
    batches = eval_batches(data, pairs, 4, on_device=on_device)
    assert batches.num_batches(0) == 5
    found = [seen(batches, 0, i) for i in range(5)]
    weight = np.concatenate([b["weight"] for b in found])
    pair = np.concatenate([b["pair"] for b in found])
    assert pair[weight > 0].tolist() == list(range(17))
    assert weight.tolist() == [1.0] * 17 + [0.0] * 3
    assert len({tuple(sorted((k, v.shape) for k, v in b.items())) for b in found}) == 1
    assert "directions_0" not in found[0]


def test_rows_of_a_batch_are_those_of_the_whole():
    batches = train_batches(make(), all_pairs(make(), 2), 8, seed=0)
    whole = batches.batch(0, 1, slice(None))
    parts = [batches.batch(0, 1, slice(a, a + 4)) for a in (0, 4)]
    for name, value in whole.items():
        joined = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(joined, value)


def test_too_few_pairs_for_a_batch_are_refused():
    data = make()
    pairs = all_pairs(data, 2)
    with pytest.raises(ValueError, match=r"17 pairs at tau=2.*batch_size=18"):
        train_batches(data, pairs, 18, seed=0)
    assert eval_batches(data, pairs, 18).num_batches(0) == 1
    with pytest.raises(ValueError, match="no full batch"):
        eval_batches(data, Pairs(np.zeros((0, 2)), 2), 4)
    with pytest.raises(ValueError, match="batch_size"):
        train_batches(data, pairs, 0, seed=0)
    with pytest.raises(ValueError, match="directions"):
        train_batches(make(directions=False), pairs, 4, seed=0, directions=True)


def test_static_geometry_is_sent_once():
    data = make(still=True)
    batches = train_batches(data, all_pairs(data, 2), 4, seed=0, directions=True)
    resident = batches.resident(0)
    assert set(resident) == {"nbr_lists", "nbr_dists"}
    assert resident["nbr_lists"].shape == (1, 5, 3)
    assert resident is batches.resident(1)
    sent = batches.batch(0, 0, slice(None))
    assert set(sent) == {"pair", "weight", "directions_0", "directions_t"}
    moving = train_batches(make(), all_pairs(data, 2), 4, seed=0)
    assert moving.resident(0) is None


def test_device_holds_the_frames_of_its_own_blocks_only():
    data = make(lengths=(60,))
    parts = split_blocks(data, (0.5, 0.5), 3, block=7)
    for blocks in parts:
        pairs = Pairs(blocks, 3)
        batches = eval_batches(data, pairs, 5, on_device=True)
        frames = int(np.sum(blocks[:, 1] - blocks[:, 0]))
        assert batches.resident(0)["nbr_dists"].shape == (frames, 5, 3)
        for i in range(batches.num_batches(0)):
            batch = seen(batches, 0, i)
            expected = data.read("nbr_dists", pairs.frames(batch["pair"])[1])
            np.testing.assert_array_equal(batch["nbr_dists_t"], expected)


def test_neighbours_travel_in_the_smallest_type():
    data = make()
    batches = train_batches(data, all_pairs(data, 2), 4, seed=0)
    assert batches.batch(0, 0, slice(None))["nbr_lists_0"].dtype == np.uint8
    wide = from_arrays(arrays_of(frames=4, atoms=300, n_nbrs=2))
    sent = eval_batches(wide, all_pairs(wide, 1), 2)
    assert sent.batch(0, 0, slice(None))["nbr_lists_0"].dtype == np.uint16
    assert seen(sent, 0, 0)["nbr_lists_0"].dtype == np.int32


def test_bytes_on_the_device_are_foretold():
    for still in (False, True):
        data = make(still=still)
        pairs = all_pairs(data, 2)
        batches = eval_batches(data, pairs, 4, directions=True, on_device=True)
        held = sum(a.nbytes for a in batches.resident(0).values())
        assert device_bytes(data, directions=True) == held
