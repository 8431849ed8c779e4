import numpy as np
import pytest
from scipy.stats import binom

from jaxphys.hypertrack.analysis import efficiency
from jaxphys.hypertrack.analysis.metrics import match
from jaxphys.hypertrack.physics.events import Particles


def make_particles(pt, eta):
    pt, eta = np.asarray(pt, np.float32), np.asarray(eta, np.float32)
    count = len(pt)
    momentum = np.stack([pt, np.zeros(count), pt * np.sinh(eta)], axis=1)
    return Particles(
        particle_id=np.arange(count),
        vertex=np.zeros((count, 3), np.float32),
        momentum=momentum.astype(np.float32),
        charge=np.ones(count, np.int32),
        num_hits=np.full(count, 6, np.int32),
    )


def test_the_interval_leaves_the_tails_of_the_binomial():
    for total in (1, 7, 40):
        for passed in range(total + 1):
            low, high = efficiency.clopper_pearson(
                np.asarray(passed), np.asarray(total)
            )
            tail = (1 - efficiency.ONE_SIGMA) / 2
            assert 0 <= low <= passed / total <= high <= 1
            if passed:
                assert binom.sf(passed - 1, total, low) == pytest.approx(tail)
            if passed < total:
                assert binom.cdf(passed, total, high) == pytest.approx(tail)
    none = np.asarray(0)
    assert efficiency.clopper_pearson(none, none) == (0, 1)


def test_bins_count_what_passes_and_empty_bins_have_no_value():
    x = np.array([0.1, 0.2, 0.9, 1.5, 3.0, np.nan, 99])
    passed = np.array([1, 0, 1, 1, 1, 1, 1], bool)
    profile = efficiency.binomial_profile(x, passed, np.array([0, 1, 2, 2.5, 3]))
    assert profile.count.tolist() == [3, 1, 0, 1]
    np.testing.assert_allclose(profile.value, [2 / 3, 1, np.nan, 1])
    assert profile.error[1, 1] == 0
    assert np.isnan(profile.error[:, 2]).all()


def test_rows_of_an_event_belong_to_its_tracks():
    track = np.repeat([0, 1, 2, -1], [6, 5, 3, 2])
    labels = np.repeat([7, 3, 5, -1], [6, 5, 3, 2])
    particles = make_particles([2, 0.5, 3], [0, 1, 0])
    position = np.random.default_rng(0).normal(0, 100, (16, 3))
    found = match(labels, track, np.ones(16), 3)
    table = efficiency.track_rows(9, found, particles, position, labels)
    assert table.true["pt"].tolist() == [2, 0.5]  # three hits are no track
    assert table.true["reco_hits"].tolist() == [6, 5]
    assert table.true["event"].tolist() == [9, 9]
    assert table.true["pileup"].tolist() == [2, 2]
    assert table.reco["num_hits"].tolist() == [5, 6]  # in order of the labels 3, 7
    assert table.reco["matched"].all()
    both = efficiency.join([table, table])
    assert len(both.true["pt"]) == 4
    with pytest.raises(ValueError, match="at least one event"):
        efficiency.join([])


def test_acceptance_is_in_momentum_and_direction():
    particles = make_particles([1, 0.8, 1, 1], [0, 0, -2.6, 2.4])
    assert efficiency.accepted(particles).tolist() == [True, False, False, True]


def test_bins_of_pileup_hold_about_as_many_tracks():
    pileup = np.repeat([10, 20, 40, 80], [10, 20, 40, 80])
    edges = efficiency.pileup_edges(pileup, 3)
    assert edges[0] == 10
    assert edges[-1] == 80
    assert np.all(np.diff(edges) > 0)
    assert efficiency.pileup_edges(np.full(5, 7)).tolist() == [6.5, 7.5]
