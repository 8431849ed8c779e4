"""Files in the layout of the LHC Olympics: what is written is what is read."""

from typing import Any

import h5py
import numpy as np
import pytest

from jaxphys.hidden_vertex.data.lhco_writer import write_lhco
from jaxphys.hidden_vertex.data.readers import open_source
from jaxphys.hidden_vertex.physics.events import drop_empty
from tests.hidden_vertex.samples import COLUMNS, Rows, lhco_rows

SIZES = [3, 70, 1, 700, 12, 40, 9]


@pytest.fixture
def events():
    return Rows(lhco_rows(SIZES)).read(0, len(SIZES))


def table_of(path):
    with h5py.File(path) as file:
        table: Any = file["df/block0_values"]
        return table[:]


def same(found, wanted):
    np.testing.assert_array_equal(found.particles, wanted.particles)
    np.testing.assert_array_equal(np.diff(found.offset), np.diff(wanted.offset))
    np.testing.assert_array_equal(found.event_id, wanted.event_id)
    if wanted.label is None:
        assert found.label is None
    else:
        np.testing.assert_array_equal(found.label, wanted.label)


def test_what_is_written_is_read_to_the_last_bit(tmp_path, events):
    path = write_lhco(tmp_path / "a.h5", events)
    same(open_source(path).read(0, len(SIZES)), events)
    np.testing.assert_array_equal(table_of(path), lhco_rows(SIZES))


def test_blocks_make_the_file_of_the_whole(tmp_path, events):
    source = Rows(lhco_rows(SIZES))
    blocks = (source.read(i, min(i + 3, len(SIZES))) for i in range(0, len(SIZES), 3))
    path = write_lhco(tmp_path / "a.h5", blocks, len(SIZES), {"origin": "a test"})
    same(open_source(path).read(0, len(SIZES)), events)
    with h5py.File(path) as file:
        assert file.attrs["origin"] == "a test"


def test_rows_keep_their_numbers_and_may_have_no_label(tmp_path):
    rows = lhco_rows([2, 5])
    events = drop_empty(*_particles(rows), None, np.array([4, 9]))
    path = write_lhco(tmp_path / "a.h5", events)
    same(open_source(path, allow_unlabelled=True).read(0, 2), events)
    assert table_of(path).shape == (2, COLUMNS - 1)


def _particles(rows):
    events = Rows(rows).read(0, len(rows))
    return events.particles, events.offset


def attributes(path):
    """Returns type and value of all attributes that pandas may look at."""
    found = {}

    def visit(name, node):
        for key, value in node.attrs.items():
            kind = node.attrs.get_id(key).get_type()
            text = kind.get_class() == h5py.h5t.STRING
            if not isinstance(value, h5py.Empty):
                found[name, key] = (value, kind.get_cset() if text else value.dtype)

    with h5py.File(path) as file:
        visit("", file)
        file.visititems(visit)
        group: Any = file["df"]
        types = {name: array.dtype for name, array in group.items()}
    return found, types


def test_pandas_finds_what_it_wrote_into_the_official_file(tmp_path, events, data_dir):
    official = data_dir("hidden_vertex") / "lhco_rnd_first1000_even.h5"
    assert attributes(write_lhco(tmp_path / "a.h5", events)) == attributes(official)


def test_too_many_particles_are_refused(tmp_path):
    rows = lhco_rows([5, 400, 400, 7])
    particles, offset = _particles(rows)
    joined = drop_empty(particles, offset[[0, 1, 3, 4]], None, np.array([3, 8, 9]))
    with pytest.raises(ValueError, match=r"event 8: expected at most 700 .* got 800"):
        write_lhco(tmp_path / "a.h5", joined)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (None, "num_events: expected the number of rows"),
        (6, "expected 6 events with 2101 columns, got 7"),
        (8, "expected 8 events, got 7"),
    ],
)
def test_another_number_of_events_is_refused(tmp_path, events, count, message):
    with pytest.raises(ValueError, match=message):
        write_lhco(tmp_path / "a.h5", [events], count)
    assert list(tmp_path.iterdir()) == []
