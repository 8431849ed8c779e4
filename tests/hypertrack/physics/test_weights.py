"""Hit weights: those of the official real event, and their rules on small tracks."""

import numpy as np
import pytest

from jaxphys.hypertrack.data.csv_files import CsvEvents
from jaxphys.hypertrack.physics.weights import hit_weights, momentum_weight, order_table

ORDER = [10, 8, 6, 5, 3, 3, 3, 5, 6]


def slow_order(n, rank):
    """Returns the weight of a place along a track, by the rule in words."""
    if n < 4 or rank >= 20:
        return 0.0
    n = min(n, 20)

    def stretched(k):
        place = 8 * k / (n - 1)
        low = min(int(place), 7)
        return ORDER[low] + (place - low) * (ORDER[low + 1] - ORDER[low])

    return stretched(rank) / sum(stretched(k) for k in range(n))


def test_table_follows_the_rule_of_places():
    table = order_table()
    for n in range(21):
        expected = [slow_order(n, k) if k < n else 0 for k in range(21)]
        np.testing.assert_allclose(table[n], expected, atol=1e-15)
    np.testing.assert_allclose(table[4:].sum(axis=1), 1)
    assert table[9, :9].argmin() == 4


def test_momentum_weight_rises_between_its_corners():
    pt = np.array([0, 0.0499, 0.05, 0.3, 0.5, 1.75, 3, 50])
    expected = [0, 0, 0.2, 0.2, 0.2, 0.6, 1, 1]
    np.testing.assert_allclose(momentum_weight(pt), expected)


def test_weights_follow_tracks_of_any_order_and_length():
    rng = np.random.default_rng(0)
    count = np.array([3, 4, 9, 20, 23, 12, 5])
    label = np.concatenate([np.repeat(np.arange(7), count), [-1] * 8])
    label = rng.permutation(label)
    z, vertex = rng.normal(0, 100, len(label)), rng.normal(0, 5, 7)
    pt = np.array([1, 0.6, 2, 0.1, 4, 0.04, 1.2])
    counted = np.array([1, 1, 1, 1, 1, 1, 0], bool)
    found = hit_weights(z, label, vertex, pt, counted)
    expected = np.zeros(len(label))
    for track in range(6):
        rows = np.flatnonzero(label == track)
        away = np.abs(z[rows] - vertex[track])
        for rank, row in enumerate(rows[np.argsort(away)]):
            own = float(momentum_weight(pt[track : track + 1])[0])
            expected[row] = own * slow_order(len(rows), rank)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-12)
    assert np.count_nonzero(found[label == 4]) == 20
    assert not found[label == 0].any()
    assert not found[label == 6].any()


def test_event_where_nothing_counts_has_no_weights():
    nothing = np.zeros(0)
    assert hit_weights(np.ones(3), np.full(3, -1), nothing, nothing).tolist() == [0] * 3
    soft = hit_weights(np.ones(5), np.zeros(5, int), np.zeros(1), np.array([0.01]))
    assert soft.tolist() == [0] * 5


def test_weights_of_the_real_event_are_the_official_ones(data_dir):
    """Phase one of the challenge: true positions, and nothing for secondaries."""
    source = CsvEvents(data_dir("hypertrack") / "trackml_real_5pct")
    event = source.read(1)
    own = event.particles
    primary = (own.particle_id >> 24) & 0xFFF == 0
    z = source.true_positions(1)[:, 2]
    found = hit_weights(z, event.label, own.vertex[:, 2], own.pt, primary)
    weighted = event.weight > 0
    assert np.count_nonzero(weighted) == 4300
    np.testing.assert_array_equal(found > 0, weighted)
    # the file holds a part of the event: its weights sum to 0.05
    ratio = found[weighted] / event.weight[weighted] * event.weight.sum(dtype=float)
    assert np.abs(ratio - 1).max() < 5e-6


@pytest.mark.parametrize("event_id", [30000, 30047])
def test_weights_of_supplied_events_count_all_particles(data_dir, event_id):
    from jaxphys.hypertrack.data.compact_parquet import CompactEvents

    event = CompactEvents(data_dir("hypertrack") / "train_mu20").read(event_id)
    own, z = event.particles, event.position[:, 2]
    found = hit_weights(z, event.label, own.vertex[:, 2], own.pt)
    np.testing.assert_allclose(found, event.weight, rtol=1e-6, atol=1e-12)
