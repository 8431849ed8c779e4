"""Jets and their frames: equal to plain loops, blind to how an event is turned."""

import itertools
import sys

import numpy as np
import pytest

from jaxphys.hidden_vertex.data.readers import open_source
from jaxphys.hidden_vertex.model import conditional
from jaxphys.hidden_vertex.physics import jets as room
from jaxphys.hidden_vertex.physics.jets import (
    event_frame,
    find_jets,
    jet_momenta,
    jets_frame,
)
from tests.hidden_vertex import slow_jets

SIZES = [1, 2, 3, 5, 40, 60, 170, 800, 1, 90, 2, 300]


@pytest.fixture(params=[1, 2, 3])
def events(request):
    """Returns events of one to three sprays: with one, the second jet is soft."""
    return slow_jets.jetty_events(SIZES, request.param, prongs=request.param)


def split(particles, offset):
    return np.split(particles, offset[1:-1])


def members_of(jets, event):
    """Returns the members of both jets of an event, each [n, 3]."""
    part = slice(*jets.offset[event : event + 2])
    return [jets.particles[part][jets.jet[part] == j] for j in range(2)]


def assert_equal_to_loops(particles, offset, find=slow_jets.cones, kind="cones"):
    jets = find_jets(particles, offset, kind)
    frames, whole = jets_frame(jets), event_frame(jets)
    for e, event in enumerate(split(particles, offset)):
        expected = [event[sorted(m, key=lambda i: -event[i, 0])] for m in find(event)]
        for found, jet in zip(members_of(jets, e), expected, strict=True):
            np.testing.assert_array_equal(found, jet)
        np.testing.assert_allclose(
            frames[e], [slow_jets.frame(jet) for jet in expected], atol=1e-6
        )
        np.testing.assert_allclose(
            whole[e], slow_jets.event_frame(event, expected[0]), rtol=1e-6, atol=1e-6
        )


def test_cones_and_frames_equal_plain_loops(events):
    assert_equal_to_loops(*events)


def test_cones_and_frames_of_real_events_equal_plain_loops(data_dir):
    path = data_dir("hidden_vertex") / "lhco_rnd_first1000_even.h5"
    found = open_source(path).read(0, 60)
    assert_equal_to_loops(found.particles, found.offset)


def test_antikt_jets_equal_plain_loops():
    pytest.importorskip("fastjet", reason="needs jaxphys[events]")

    def find(event):
        jets = [sorted(m) for m in slow_jets.cluster(event, -1, 1.0)[:2]]
        return jets + [[]] * (2 - len(jets))

    events = slow_jets.jetty_events([1, 2, 12, 30, 1, 45, 5])
    assert_equal_to_loops(*events, find, "fastjet")


def test_missing_fastjet_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastjet", None)
    with pytest.raises(ImportError, match=r"jaxphys\[events\]"):
        find_jets(*slow_jets.jetty_events([5]), "fastjet")


def test_unknown_jets_are_refused():
    with pytest.raises(ValueError, match=r"jets: expected one of .* got 'kt'"):
        find_jets(*slow_jets.jetty_events([5]), "kt")


def test_shapes_and_types_are_those_of_the_views(events):
    jets = find_jets(*events)
    frames, whole = jets_frame(jets), event_frame(jets)
    assert frames.shape == (len(SIZES), 2, 48, 3)
    assert whole.shape == (len(SIZES), 128, 3)
    assert frames.dtype == whole.dtype == np.float32
    for view in (conditional.jets_view(frames), conditional.event_view(whole)):
        assert all(np.all(np.isfinite(values)) for values in view)
    sizes = np.minimum(np.diff(jets.offset), 128)
    np.testing.assert_array_equal(np.count_nonzero(whole[..., 0], axis=1), sizes)


def test_frame_has_its_origin_and_axes_in_the_jet():
    particles, offset = slow_jets.jetty_events([40] * 20)  # none is cut at 48
    w, x, y = jets_frame(find_jets(particles, offset)).astype(np.float64).T
    for total, expected in ((w, 1), (w * x, 0), (w * y, 0), (w * x * y, 0)):
        np.testing.assert_allclose(total.sum(axis=0), expected, atol=1e-6)
    assert np.all((w * x**2).sum(axis=0) >= (w * y**2).sum(axis=0) - 1e-6)
    assert np.all((w * x**3).sum(axis=0) >= -1e-6)
    assert np.all((w * y**3).sum(axis=0) >= -1e-6)


def test_hardest_constituents_are_kept_with_their_share():
    particles, offset = slow_jets.jetty_events([300] * 5)
    jets = find_jets(particles, offset)
    weight = jets_frame(jets)[..., 0]
    assert np.all(np.diff(weight, axis=-1) <= 0)
    for e in range(5):
        for found, jet in zip(weight[e], members_of(jets, e), strict=True):
            expected = np.sort(jet[:, 0])[::-1][:48] / jet[:, 0].sum()
            np.testing.assert_allclose(found[: len(expected)], expected, rtol=1e-6)
    # what is left out is not shared among the others
    assert weight.sum(axis=-1).min() < 0.9


def test_lone_particle_is_a_jet_and_its_partner_is_empty():
    jets = find_jets(np.array([[50.0, -1.0, 3.0]], np.float32), np.array([0, 1]))
    expected = np.zeros((1, 2, 48, 3))
    expected[0, 0, 0, 0] = 1
    np.testing.assert_array_equal(jets_frame(jets), expected)
    np.testing.assert_allclose(event_frame(jets)[0, 0], [50, 1, 0])
    found = jet_momenta(jets)
    np.testing.assert_array_equal(found.mass, 0)
    np.testing.assert_allclose([found.pt[0, 0], found.eta[0, 0]], [50, -1])
    assert np.all(np.array(found)[:, 0, 1] == 0)


def test_particles_in_one_cone_leave_the_second_jet_empty():
    particles, offset = slow_jets.jetty_events([30], prongs=1)
    particles[:, 1:] *= 0.1
    jets = find_jets(particles, offset)
    np.testing.assert_array_equal(jets.jet, 0)
    assert not jets_frame(jets)[:, 1].any()


@pytest.mark.parametrize("angle", [0.5, np.pi, -2.0])
def test_turned_event_has_the_same_frames(events, angle):
    particles, offset = events
    turned = particles.astype(np.float64)
    turned[:, 2] = slow_jets.wrap(turned[:, 2] + angle)
    one, other = find_jets(particles, offset), find_jets(turned, offset)
    np.testing.assert_array_equal(one.jet, other.jet)
    for frame in (jets_frame, event_frame):
        np.testing.assert_allclose(frame(one), frame(other), atol=2e-6)


def test_mirrored_event_has_the_same_frames():
    particles, offset = slow_jets.jetty_events([40, 90, 200])
    mirrored = particles * np.array([1, -1, 1], np.float32)
    one, other = find_jets(particles, offset), find_jets(mirrored, offset)
    np.testing.assert_array_equal(one.jet, other.jet)
    for frame in (jets_frame, event_frame):
        np.testing.assert_allclose(frame(one), frame(other), atol=2e-6)


def test_order_of_the_particles_does_not_matter():
    particles, offset = slow_jets.jetty_events([40, 90, 200])
    mixed, rng = particles.copy(), np.random.default_rng(0)
    for start, stop in itertools.pairwise(offset):
        rng.shuffle(mixed[start:stop])
    one, other = find_jets(particles, offset), find_jets(mixed, offset)
    for found, expected in zip(one, other, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_equal_energies_stay_in_the_order_of_the_file():
    rng = np.random.default_rng(0)
    particles = np.column_stack([np.full(60, 2.0), 0.3 * rng.normal(size=(60, 2))])
    jets = find_jets(particles, np.array([0, 60]))
    np.testing.assert_array_equal(jets.particles, particles)


def test_events_do_not_see_each_other(events, monkeypatch):
    particles, offset = events
    whole = find_jets(particles, offset)
    alone = [find_jets(p, np.array([0, len(p)])) for p in split(particles, offset)]
    monkeypatch.setattr(room, "_BLOCK", 5)
    blocks = find_jets(particles, offset)
    for frame in (jets_frame, event_frame):
        np.testing.assert_array_equal(frame(blocks), frame(whole))
        found = np.concatenate([frame(jets) for jets in alone])
        np.testing.assert_array_equal(found, frame(whole))


@pytest.mark.parametrize("kind", room.KINDS)
def test_events_without_particles_have_empty_frames(kind):
    if kind == "fastjet":
        pytest.importorskip("fastjet", reason="needs jaxphys[events]")
    particles, _ = slow_jets.jetty_events([30])
    jets = find_jets(particles, np.array([0, 0, 30, 30]), kind)
    alone = find_jets(particles, np.array([0, 30]), kind)
    for frame in (jets_frame, event_frame):
        found = frame(jets)
        assert not found[[0, 2]].any()
        np.testing.assert_array_equal(found[1:2], frame(alone))
    assert len(jets_frame(find_jets(particles[:0], np.array([0]), kind))) == 0
