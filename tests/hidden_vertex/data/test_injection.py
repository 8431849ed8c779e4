"""One particle of every event is harder, and nothing else has changed."""

import numpy as np
import pytest

from jaxphys.hidden_vertex.data.injection import Injected
from jaxphys.hidden_vertex.data.prepare import prepare
from jaxphys.hidden_vertex.data.reading import Reading
from tests.hidden_vertex.samples import lhco_rows, write_lhco


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    path = write_lhco(folder / "events.h5", lhco_rows([5, 9, 1, 30, 12, 7]))
    return prepare(path, folder / "store", Reading().recipe(("knn",)))


def test_one_particle_of_each_event_is_harder_by_the_strength(store):
    positions = np.array([4, 0, 3])
    changed = Injected(store, positions, strength=2.0, seed=3).read(0, 3)
    plain = store.events(positions)
    np.testing.assert_array_equal(changed.offset, plain.offset)
    np.testing.assert_array_equal(changed.particles[:, 1:], plain.particles[:, 1:])
    ratio = np.log(changed.particles[:, 0] / plain.particles[:, 0])
    each = np.add.reduceat(ratio, plain.offset[:-1])
    np.testing.assert_allclose(each, 2.0, rtol=1e-5)
    assert (np.abs(ratio) > 1e-6).sum() == 3


def test_choice_does_not_depend_on_how_rows_are_grouped(store):
    source = Injected(store, np.arange(6), seed=1)
    whole = source.read(0, 6)
    parts = [source.read(0, 2), source.read(2, 6)]
    joined = np.concatenate([part.particles for part in parts])
    np.testing.assert_array_equal(joined, whole.particles)
    other = Injected(store, np.arange(6), seed=2).read(0, 6)
    assert (other.particles != whole.particles).any()


def test_source_can_be_prepared(store, tmp_path):
    source = Injected(store, np.array([3, 1]))
    made = prepare(source, tmp_path / "store", Reading().recipe(("knn",)))
    np.testing.assert_array_equal(made.sizes, [30, 9])
    assert source.describe()["of"] == store.fingerprint
