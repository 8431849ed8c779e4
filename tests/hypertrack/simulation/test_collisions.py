"""Collisions: how many, where, what is kept, and the same again for equal seeds."""

import sys

import numpy as np
import pytest

from jaxphys.hypertrack.simulation import collisions
from jaxphys.hypertrack.simulation.collisions import (
    collide,
    draw_counts,
    require_events_extra,
)


class FakeRecord:
    """Three particles a collision as the generator gives them."""

    def __init__(self, kind):
        self.kind, self.seeds, self.particleData, self.rndm = kind, [], self, self

    def init(self, seed):
        self.seeds.append(seed)

    def charge(self, code):
        return {211: 1.0, 22: 0.0, 2112: 0.0}[code]

    def nextBatch(self, count, errors):
        ak = pytest.importorskip("awkward")
        rng = np.random.default_rng(self.seeds[-1])
        momentum = rng.normal(0, 2, (3, 3))
        momentum[:2, :2] += 5 * np.sign(momentum[:2, :2])
        names = ("px", "py", "pz")
        vector = ak.zip(dict(zip(names, momentum.T, strict=True)))
        start = ak.zip(dict(zip(names, [[0, 3, 0], [0, 0, 0], [0, 0, 0]], strict=True)))
        one = {"id": [211, 22, 2112], "status": [1, 1, 1], "m": [0.14, -1e-9, 0.94]}
        one = ak.zip(
            {k: np.array(v) for k, v in one.items()} | {"p": vector, "vProd": start},
            depth_limit=1,
        )
        prt = ak.unflatten(ak.concatenate([one] * count), [3] * count)
        return ak.zip({"prt": prt}, depth_limit=1)


@pytest.fixture
def fake(monkeypatch):
    """Puts numbers in place of Pythia."""
    pytest.importorskip("awkward", reason="needs pip install 'jaxphys[events]'")
    made = {kind: FakeRecord(kind) for kind in ("soft", "hard")}
    monkeypatch.setattr(collisions, "generator", made.__getitem__)
    monkeypatch.setattr(collisions, "require_events_extra", lambda: None)
    return made


def test_numbers_of_collisions_have_their_means():
    rng = np.random.default_rng(0)
    counts = [draw_counts(20, rng) for _ in range(4000)]
    soft = np.array([count["soft"] for count in counts])
    assert soft.mean() == pytest.approx(20, abs=0.3)
    assert soft.var() == pytest.approx(20, rel=0.1)
    assert np.mean([count["hard"] for count in counts]) == pytest.approx(0.1, abs=0.02)
    assert all(draw_counts(200, rng)["hard"] == 1 for _ in range(50))


def test_crossings_without_collisions_are_drawn_again():
    rng = np.random.default_rng(0)
    counts = [sum(draw_counts(0.05, rng).values()) for _ in range(300)]
    assert min(counts) == 1


def test_missing_packages_are_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "acts", None)
    with pytest.raises(ImportError, match=r"jaxphys\[events\].*missing: .*acts"):
        require_events_extra()


def test_charged_particles_and_photons_are_kept_at_their_collision(fake):
    found = collide(30, np.random.default_rng(5))
    count = found.collision[-1]
    assert len(found) == 2 * count  # the neutron is not seen
    assert found.collision.tolist() == np.repeat(np.arange(count) + 1, 2).tolist()
    assert set(found.particle_type) == {211, 22}
    assert found.mass.min() == 0
    np.testing.assert_array_equal(found.charge, found.particle_type == 211)
    # px is that of the first particle 0, of the second 3 mm: it comes of a decay
    assert found.displaced.tolist() == [False, True] * count
    place = found.vertex[::2]
    np.testing.assert_allclose(found.vertex[1::2] - place, [[3, 0, 0]] * count)
    assert np.std(place[:, 2]) == pytest.approx(5.5, rel=0.5)
    assert np.std(place[:, :2]) == pytest.approx(0.017, rel=0.4)


def test_soft_and_forward_particles_are_left_out(fake, monkeypatch):
    monkeypatch.setattr(collisions, "LEAST_PT_GEV", 1e9)
    rng = np.random.default_rng(5)
    assert len(collide(3, rng)) == 0
    monkeypatch.setattr(collisions, "LEAST_PT_GEV", 0.1)
    monkeypatch.setattr(collisions, "MOST_ETA", 1e-9)
    assert len(collide(3, rng)) == 0


def test_hard_collisions_come_last(fake):
    found = collide(200, np.random.default_rng(5))
    assert len(fake["soft"].seeds) == len(fake["hard"].seeds) == 1
    assert fake["soft"].seeds != fake["hard"].seeds
    assert found.momentum[-1].tolist() != found.momentum[-3].tolist()
    assert found.momentum[1].tolist() == found.momentum[3].tolist()


@pytest.mark.slow
def test_equal_generators_make_equal_events_whatever_was_before():
    for name in ("pythia8mc", "awkward", "acts"):
        pytest.importorskip(name, reason="needs pip install 'jaxphys[events]'")
    first = collide(5, np.random.default_rng([1, 2]))
    other = collide(5, np.random.default_rng([1, 3]))
    again = collide(5, np.random.default_rng([1, 2]))
    for name in vars(first):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.momentum, other.momentum)
    pt = np.hypot(first.momentum[:, 0], first.momentum[:, 1])
    assert pt.min() > 0.1
    assert np.abs(np.arcsinh(first.momentum[:, 2] / pt)).max() < 4.2
    assert np.all((first.charge != 0) | (first.particle_type == 22))
