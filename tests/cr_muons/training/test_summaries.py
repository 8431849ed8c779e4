"""Histograms of a step hold real values only, padding of no kind."""

import numpy as np
import pytest

from jaxphys.cr_muons.training.summaries import histograms


@pytest.fixture
def batch():
    """Two parts of three places for events and four for muons."""
    draws = np.random.default_rng(0)
    return {
        "conditions": draws.normal(size=(2, 3, 4)).astype(np.float32),
        "num_muons": np.array([[2, 0, 0], [1, 2, 0]]),
        "features": draws.normal(size=(2, 4, 3)).astype(np.float32),
        "muon_event": np.array([[0, 0, 3, 3], [0, 1, 1, 3]]),
        "event_mask": np.array([[1.0, 1, 0], [1, 1, 0]]),
    }


def test_values_are_those_of_real_events_and_muons(batch):
    found = histograms(batch)
    assert found["data/counts"].tolist() == [2, 0, 1, 2]
    wanted = batch["conditions"][:, :2].reshape(-1, 4)
    for i in range(4):
        np.testing.assert_array_equal(found[f"data/primaries_dim{i}"], wanted[:, i])
    features = np.concatenate([batch["features"][0, :2], batch["features"][1, :3]])
    for i in range(3):
        np.testing.assert_array_equal(found[f"real/muon_feat{i}"], features[:, i])
    assert not [name for name in found if name.startswith("fake")]


def test_fakes_are_shown_without_their_empty_places(batch):
    fakes = np.arange(2 * 5 * 3.0).reshape(2, 5, 3)
    event = np.array([[0, 3, 3, 3, 3], [3, 3, 3, 3, 3]])
    found = histograms(batch, fakes, event)
    assert [found[f"fake/muon_feat{i}"].tolist() for i in range(3)] == [[0], [1], [2]]
    empty = histograms(batch, fakes, np.full((2, 5), 3))
    assert empty["fake/muon_feat0"].size == 0
    with pytest.raises(ValueError, match="fake_event"):
        histograms(batch, fakes)


def test_only_the_first_muons_are_taken(batch):
    found = histograms(batch, most=2)
    np.testing.assert_array_equal(found["real/muon_feat1"], batch["features"][0, :2, 1])
    assert len(found["data/counts"]) == 4
