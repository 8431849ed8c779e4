import itertools

import numpy as np
import pytest

from jaxphys.track_extrapolator.analysis import comparison
from jaxphys.track_extrapolator.physics.field import GaussSeed
from jaxphys.track_extrapolator.simulation import Sampling, generate


@pytest.fixture(scope="module")
def tracks():
    return generate(GaussSeed(), 200, seed=5)


@pytest.fixture(scope="module")
def measured(tracks):
    methods = comparison.standard_comparisons(GaussSeed())
    results = [comparison.measure(m, tracks, [1, 8], 0.0) for m in methods]
    return {result.label: result for result in results}


def test_methods_become_more_exact_with_what_they_know(measured):
    order = ["straight line", "Born", "RK4 4 steps", "RK4 8 steps", "RK4 40 steps"]
    assert list(measured) == order
    means = [measured[label].found["pos_mean"] for label in order]
    assert means == sorted(means, reverse=True)
    assert means[-1] < 1e-5
    assert measured["RK4 8 steps"].found["pos_mean"] < 5e-3


def test_rk4_takes_exactly_the_steps_of_its_name(tracks):
    from jaxphys.track_extrapolator.physics.propagate import propagate

    methods = {m.label: m for m in comparison.standard_comparisons(GaussSeed())}
    planes = (tracks.z_in, tracks.z_out)
    got = methods["RK4 40 steps"].predict(tracks.state, *planes)
    exact = np.asarray(propagate(GaussSeed(), tracks.state, *planes, 100.0))[:, :4]
    np.testing.assert_allclose(got, exact, rtol=1e-12, atol=1e-9)


def test_every_batch_size_has_its_time(measured):
    for result in measured.values():
        times = result.times_us([1, 8])
        assert list(times) == [1, 8]
        assert all(t > 0 for t in times.values())
        row = result.row([1, 8])
        assert row[0] == result.label
        assert row[6:8] == tuple(times.values())


def test_without_a_field_only_the_straight_line_is_left():
    (line,) = comparison.standard_comparisons(None)
    state = np.array([[1.0, 2.0, 0.1, -0.2, 1e-4]])
    got = line.predict(state, 0.0, 100.0)
    np.testing.assert_allclose(got, [[11.0, -18.0, 0.1, -0.2]])


def test_planes_of_each_track_are_used_in_error_and_time():
    tracks = generate(GaussSeed(), 30, sampling=Sampling(dz_mode="uniform"))
    assert np.ndim(tracks.z_out) == 1
    seen = []

    def predict(state, z_in, z_out):
        seen.append((len(state), np.shape(z_in), np.shape(z_out)))
        return state[:, :4] + state[:, [2, 3, 2, 3]] * (z_out - z_in)[:, None] * [
            [1, 1, 0, 0]
        ]

    method = comparison.Comparison("line", predict)
    got = comparison.measure(method, tracks, [7], 0.0)
    (line,) = comparison.standard_comparisons(None)
    expected = comparison.measure(line, tracks, [7], 0.0)
    np.testing.assert_allclose(got.prediction, expected.prediction, rtol=1e-12)
    assert (7, (7,), (7,)) in seen


def test_published_sizes_are_those_of_six_inputs_and_four_outputs():
    for row in comparison.PUBLISHED:
        widths = [6, *(int(w) for w in row.hidden.split("-")), 4]
        count = sum((a + 1) * b for a, b in itertools.pairwise(widths))
        assert row.parameters == count
        assert row.p50 < row.mean < row.p95 < row.p99 < row.max
