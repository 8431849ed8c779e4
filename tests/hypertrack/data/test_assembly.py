"""Files that do not fit together are refused with file, row, column and number."""

import numpy as np
import pytest

from jaxphys.hypertrack.data.assembly import assemble

WHERE = {"hits": "h.csv", "truth": "t.csv", "particles": "p.csv"}
HUGE = 2**62 + 1  # float64 would lose the last bit


def columns():
    """Returns four hits, three of them of two particles; a third has none."""
    hits = {"hit_id": np.array([9, 6, 8, 30])}
    hits |= {axis: np.arange(4.0) + i for i, axis in enumerate("xyz")}
    hits |= {f"{n}_id": np.arange(4) + 1 for n in ("volume", "layer", "module")}
    truth = {
        "hit_id": np.array([30, 6, 9, 8]),
        "particle_id": np.array([HUGE, HUGE - 1, 0, HUGE]),
        "weight": np.array([0.1, 0.2, 0.0, 0.7]),
    }
    particles = {"particle_id": np.array([HUGE, 5, HUGE - 1])}
    particles |= {n: np.arange(3.0) for n in ("vx", "vy", "vz", "px", "py", "pz")}
    particles |= {"q": np.array([1, 1, -1])}
    return hits, truth, particles


def make(hits, truth, particles):
    return assemble(4, hits, truth, particles, WHERE)


def test_rows_are_matched_by_their_numbers_alone():
    event = make(*columns())
    assert event.label.tolist() == [-1, 1, 0, 0]
    np.testing.assert_allclose(event.weight, [0, 0.2, 0.7, 0.1])
    assert event.truth_order.tolist() == [2, 1, 3, 0]
    assert event.particles.particle_id.tolist() == [HUGE, HUGE - 1]
    assert event.particles.num_hits.tolist() == [2, 1]
    assert event.particles.charge.tolist() == [1, -1]
    assert event.particles.vertex[1].tolist() == [2, 2, 2]
    assert event.track_hits()[0].tolist() == [3, 2, 1]
    assert event.has_truth


def test_events_without_truth_are_all_unlabelled():
    hits, _, _ = columns()
    event = make(hits, None, None)
    assert not event.has_truth
    assert event.label.tolist() == [-1] * 4
    assert event.num_tracks == 0


def test_truth_without_particles_gives_tracks_of_unknown_momentum():
    hits, truth, _ = columns()
    event = make(hits, truth, None)
    assert event.label.tolist() == [-1, 0, 1, 1]
    assert event.particles.particle_id.tolist() == [HUGE - 1, HUGE]
    assert np.isnan(event.particles.momentum).all()


def test_a_list_of_particles_may_be_empty_where_all_is_noise():
    hits, truth, particles = columns()
    truth["particle_id"] = np.zeros(4, np.int64)
    empty = {name: column[:0] for name, column in particles.items()}
    assert make(hits, truth, empty).num_tracks == 0
    assert make(hits, truth, particles).num_tracks == 0


@pytest.mark.parametrize(
    ("table", "column", "row", "value", "message"),
    [
        (0, "y", 2, np.nan, r"h.csv: row 3 \(hit_id 8\), column y: .* got nan \(1 s"),
        (0, "x", 0, np.inf, r"h.csv: row 1 \(hit_id 9\), column x: .* got inf"),
        (0, "x", 0, 1e39, r"h.csv: row 1 \(hit_id 9\), column x: .* got inf"),
        (0, "hit_id", 3, 6, r"h.csv: rows 2 and 4, column hit_id: .* got 6 again"),
        (1, "hit_id", 2, 30, r"t.csv: rows 1 and 3, column hit_id: .* got 30 again"),
        (1, "hit_id", 0, 31, r"t.csv: row 1, column hit_id: .* of h.csv, got 31 \(1"),
        (1, "particle_id", 3, 77, r"t.csv: row 4 \(hit_id 8\), column particle_id: .*"),
        (1, "weight", 1, np.nan, r"t.csv: hit_id 6, column weight: .* got nan"),
        (1, "weight", 1, -1, r"t.csv: hit_id 6, column weight: .* got -1"),
        (2, "particle_id", 2, 5, r"p.csv: rows 2 and 3, column particle_id: .* got 5"),
        (2, "pz", 2, np.nan, r"p.csv: row 2 \(particle_id \d+\), column pz: .* nan"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_bad_numbers_are_named(table, column, row, value, message):
    tables = columns()
    changed = tables[table][column].copy()
    changed[row] = value
    tables[table][column] = changed
    with pytest.raises(ValueError, match=message):
        make(*tables)


def test_a_hit_that_truth_leaves_out_is_named():
    hits, truth, particles = columns()
    short = {name: column[:3] for name, column in truth.items()}
    with pytest.raises(ValueError, match=r"each of the 4 hits of h.csv, got 3;.* 8"):
        make(hits, short, particles)
    none = {name: column[:0] for name, column in truth.items()}
    with pytest.raises(ValueError, match=r"got 0; the first without is hit_id 9"):
        make(hits, none, particles)


def test_a_particle_without_hits_may_have_any_momentum():
    hits, truth, particles = columns()
    particles["px"] = np.array([1.0, np.nan, 2.0])
    assert make(hits, truth, particles).num_tracks == 2
