"""Ranges of rows are read exactly; a damaged file is named."""

import itertools
import pathlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxphys.cr_muons.data.parquet_files import open_parquet
from jaxphys.cr_muons.data.schema import check_rows
from jaxphys.cr_muons.data.writers import write_events
from jaxphys.cr_muons.physics.events import Events
from tests.cr_muons.samples import (
    assert_same,
    columns_of,
    draw_events,
    truncate,
    write_columns,
)

EVENTS = draw_events(50)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(write_events(tmp_path_factory.mktemp("p") / "a.parquet", EVENTS, 20))


def test_the_footer_tells_the_row_groups(path):
    file = open_parquet(path)
    assert file.group_start.tolist() == [0, 20, 40, 50]
    assert file.num_rows == 50
    assert file.size > 0


@given(st.integers(0, 50), st.integers(0, 50))
def test_any_range_is_read(path, start, stop):
    start, stop = sorted([start, stop])
    assert_same(open_parquet(path).read(start, stop), EVENTS.rows(start, stop))


def test_showers_can_be_left_out(path):
    got = open_parquet(path).read(10, 45, showers=False)
    assert got.showers[:, 1].tolist() == list(range(10, 45))
    expected = EVENTS.rows(10, 45)
    assert got.muons.tobytes() == expected.muons.tobytes()
    assert got.primaries.tobytes() == expected.primaries.tobytes()


def test_an_open_file_is_read_like_a_path(path):
    content = pa.py_buffer(pathlib.Path(path).read_bytes())
    file = open_parquet("https://x/a.parquet", lambda: pa.BufferReader(content))
    assert_same(file.read(3, 44), EVENTS.rows(3, 44))


def test_other_columns_and_empty_row_groups_do_not_matter(tmp_path):
    columns = {"extra": pa.array(range(50)), **columns_of(EVENTS)}
    file = open_parquet(write_columns(tmp_path / "a.parquet", columns, 7))
    assert_same(file.read(0, 50), EVENTS)


def test_a_file_without_rows_is_read(tmp_path):
    columns = {name: column.slice(0, 0) for name, column in columns_of(EVENTS).items()}
    file = open_parquet(write_columns(tmp_path / "a.parquet", columns))
    assert file.num_rows == 0
    assert len(file.read(0, 0)) == 0


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.6, 0.999])
def test_a_truncated_file_is_named(tmp_path, keep):
    path = write_events(tmp_path / "cut.parquet", EVENTS)
    truncate(path, keep)
    with pytest.raises(ValueError, match=r"cut.parquet: not a whole Parquet file"):
        open_parquet(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no.parquet: no such file"):
        open_parquet(str(tmp_path / "no.parquet"))


def test_damaged_pages_are_named_with_their_rows(tmp_path):
    path = write_events(tmp_path / "bad.parquet", EVENTS, 20)
    content = bytearray(path.read_bytes())
    content[8 : len(content) // 2] = b"\xff" * (len(content) // 2 - 8)
    path.write_bytes(content)
    file = open_parquet(str(path))
    with pytest.raises(ValueError, match=r"bad.parquet: rows 0 to 50: cannot be read"):
        file.read(0, 50)


def test_a_wrong_list_is_named_by_the_row_of_the_file(tmp_path):
    columns = columns_of(EVENTS)
    values = columns["primary"].to_pylist()
    values[44] = [1.0]
    columns["primary"] = pa.array(values, pa.list_(pa.float32()))
    file = open_parquet(write_columns(tmp_path / "a.parquet", columns))
    with pytest.raises(ValueError, match=r"a.parquet: row 44, column primary"):
        file.read(0, 50)


@pytest.mark.parametrize(
    ("name", "rows", "muons"),
    [
        ("corsika_depth.parquet", 1800, 205_130),
        ("g1_train_example.parquet", 60_000, 223_662),
        ("g1_published_like_example.parquet", 200_000, 84_200),
    ],
)
def test_real_files_are_read_whole(data_dir, name, rows, muons):
    file = open_parquet(str(data_dir("cr_muons") / name))
    edges = file.group_start.tolist()
    blocks = [file.read(a, b) for a, b in itertools.pairwise(edges)]
    events = Events.concatenate(blocks)
    check_rows(events, name)
    assert (len(events), len(events.muons)) == (rows, muons)
