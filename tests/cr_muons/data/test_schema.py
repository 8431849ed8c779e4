"""Every accepted schema gives the same events; a wrong one names file and row."""

import numpy as np
import pyarrow as pa
import pytest

from jaxphys.cr_muons.data.schema import (
    check_rows,
    decode,
    find_bad_rows,
    find_layout,
    names_showers,
    primaries_of_columns,
)
from jaxphys.cr_muons.physics.events import PRIMARY_COLUMNS, make_events
from tests.cr_muons.samples import assert_same, columns_of, draw_events

EVENTS = draw_events(30)
F32 = pa.float32()


def decoded(columns, need_muons=True, first_row=0):
    table = pa.table(columns)
    layout = find_layout(table.schema, "a.parquet", need_muons)
    return decode(table.select(layout.columns), layout, "a.parquet", first_row)


def with_column(name, values, kind=None):
    return {**columns_of(EVENTS), name: pa.array(values, kind)}


def muon_lists():
    return columns_of(EVENTS)["muons"].to_pylist()


def test_training_schema_gives_the_events():
    assert_same(decoded(columns_of(EVENTS)), EVENTS)


@pytest.mark.parametrize("size", [4, -1])
@pytest.mark.parametrize("list_", [pa.list_, pa.large_list])
@pytest.mark.parametrize("number", [pa.float32(), pa.float64()])
def test_kinds_of_lists_and_numbers_do_not_matter(list_, size, number):
    kind = pa.list_(number, 4) if size == 4 else list_(number)
    inner = pa.list_(number, 3) if size == 4 else list_(number)
    columns = columns_of(EVENTS)
    columns["primary"] = pa.array(columns["primary"].to_pylist(), kind)
    columns["muons"] = pa.array(columns["muons"].to_pylist(), list_(inner))
    assert_same(decoded(columns), EVENTS)


def test_a_slice_is_decoded_as_its_rows():
    columns = columns_of(EVENTS)
    columns["primary"] = columns["primary"].cast(pa.list_(F32, 4))
    columns["muons"] = columns["muons"].cast(pa.list_(pa.list_(F32, 3)))
    table = pa.table(columns)
    layout = find_layout(table.schema, "a.parquet")
    got = decode(table.slice(7, 11), layout, "a.parquet")
    assert_same(got, EVENTS.select(np.arange(7, 18)))


def test_a_table_in_several_chunks_is_decoded_as_one():
    table = pa.table(columns_of(EVENTS))
    joined = pa.concat_tables([table.slice(0, 9), table.slice(9, 3), table.slice(12)])
    layout = find_layout(table.schema, "a.parquet")
    assert_same(decode(joined, layout, "a.parquet"), EVENTS)


@pytest.mark.parametrize("width", [5, 6, 7])
def test_wider_primaries_lose_their_ids_and_their_time(width):
    primaries = EVENTS.primaries
    ids = np.stack([np.full(len(EVENTS), 7), np.arange(len(EVENTS)) // 3], axis=1)
    time = np.full((len(EVENTS), 1), 99.0)
    raw = {
        5: [primaries[:, :3], time, primaries[:, 3:]],
        6: [ids, primaries],
        7: [ids, primaries[:, :3], time, primaries[:, 3:]],
    }[width]
    columns = with_column("primary", np.concatenate(raw, axis=1).tolist())
    assert_same(decoded(columns), EVENTS)
    if width > 5:  # without columns of ids these are the shower
        del columns["primary_major_id"], columns["primary_minor_id"]
        np.testing.assert_array_equal(decoded(columns).showers, ids)


def test_five_values_of_a_muon_lose_the_first_two():
    wide = [[[1.0, 2.0, *muon] for muon in event] for event in muon_lists()]
    assert_same(decoded(with_column("muons", wide)), EVENTS)


def test_flat_columns_are_primaries():
    columns = columns_of(EVENTS)
    del columns["primary"]
    for place, name in enumerate(PRIMARY_COLUMNS):
        columns[name] = pa.array(EVENTS.primaries[:, place])
    assert_same(decoded(columns), EVENTS)


def test_a_table_of_primaries_has_no_muons():
    columns = {k: v for k, v in columns_of(EVENTS).items() if k != "muons"}
    got = decoded(columns, need_muons=False)
    assert not got.num_muons.any()
    np.testing.assert_array_equal(got.primaries, EVENTS.primaries)
    with pytest.raises(ValueError, match=r"a.parquet: column muons is missing"):
        decoded(columns)


def test_rows_without_ids_are_showers_of_their_own():
    columns = {k: v for k, v in columns_of(EVENTS).items() if "id" not in k}
    got = decoded(columns, first_row=100)
    np.testing.assert_array_equal(got.showers[:, 1], 100 + np.arange(len(EVENTS)))
    assert not names_showers(got, 100)
    assert names_showers(EVENTS, 0)


def test_no_rows_are_no_events():
    columns = {name: column.slice(0, 0) for name, column in columns_of(EVENTS).items()}
    assert len(decoded(columns)) == 0


def test_a_file_without_any_muon_is_read():
    assert not decoded(with_column("muons", [[]] * len(EVENTS))).num_muons.any()


@pytest.mark.parametrize(
    ("name", "row", "value", "message"),
    [
        ("primary", 3, [1.0, 2.0], r"row 103, column primary: expected .*, got 2 "),
        ("primary", 0, [1.0] * 9, r"row 100, column primary: expected 4, 5, 6 or 7"),
        ("primary", 5, [], r"row 105, column primary: expected .*, got 0 "),
        ("primary", 2, None, r"row 102, column primary: expected a list, got null"),
        ("muons", 6, None, r"row 106, column muons: expected a list, got null"),
        ("muons", 6, [[1.0, 2.0]], r"row 106, column muons, muon 0: .*, got 2 "),
        ("muons", 0, [[1.0] * 4], r"row 100, column muons, muon 0: expected 3 or 5"),
        (
            "muons",
            6,
            [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]],
            r"row 106, column muons, muon 1: expected 3 or 5 values, got 4",
        ),
        (
            "muons",
            29,
            [[1.0, 2.0, 3.0, 4.0, 5.0]],
            r"row 129, column muons, muon 0: expected 3 values as in the rows before",
        ),
    ],
)
def test_a_wrong_list_is_named_by_its_row(name, row, value, message):
    values = columns_of(EVENTS)[name].to_pylist()
    values[row] = value
    with pytest.raises(ValueError, match=r"a.parquet: " + message):
        decoded(with_column(name, values), first_row=100)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"primary": None}, "expected a column primary"),
        ({"primary_major_id": None}, "both columns"),
        ({"muons": pa.array([[1.0]] * 30)}, "column muons: expected list of list of"),
        ({"primary": pa.array(["x"] * 30)}, "column primary: expected list of numbers"),
        ({"primary": pa.array([1.0] * 30)}, "column primary: expected list of numbers"),
        ({"muons": pa.array([[[[1.0]]]] * 30)}, "column muons"),
    ],
)
def test_a_wrong_column_is_refused(changes, message):
    columns = {k: v for k, v in (columns_of(EVENTS) | changes).items() if v is not None}
    with pytest.raises(ValueError, match=message):
        decoded(columns)


def test_a_negative_id_is_named():
    ids = [5, -1] + [0] * 28
    with pytest.raises(ValueError, match=r"row 1, column primary_minor_id: .* -1"):
        decoded(with_column("primary_minor_id", ids))
    with pytest.raises(ValueError, match=r"row 1, column primary_minor_id"):
        decoded(with_column("primary_minor_id", [5, None] + [0] * 28))


def test_primaries_of_another_width_are_refused():
    with pytest.raises(ValueError, match="4, 5, 6 or 7 values, got 3"):
        primaries_of_columns(np.zeros((2, 3)))


def changed(primary=(), muon=()):
    """Returns good events with some numbers replaced: ((row, column, value), ...)."""
    primaries, muons = EVENTS.primaries.copy(), EVENTS.muons.copy()
    for row, column, value in primary:
        primaries[row, column] = value
    for row, column, value in muon:
        muons[row, column] = value
    return make_events(primaries, EVENTS.num_muons, muons, EVENTS.showers)


def test_good_rows_pass():
    assert len(find_bad_rows(EVENTS)[0]) == 0
    check_rows(EVENTS, "a.parquet")
    check_rows(changed(muon=[(0, 0, 0.0)]), "a.parquet")  # E = 0 is allowed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0])
@pytest.mark.parametrize("column", range(4))
def test_an_impossible_primary_is_found(column, value):
    bad, reason = find_bad_rows(changed(primary=[(4, column, value), (9, 0, -1)]))
    np.testing.assert_array_equal(bad, [4, 9])
    assert PRIMARY_COLUMNS[column] in reason
    assert f"got {value}" in reason


def test_zero_energy_and_a_zenith_beyond_pi_are_found():
    for column, value in ((0, 0.0), (2, 0.0), (1, 3.2)):
        bad, _ = find_bad_rows(changed(primary=[(4, column, value)]))
        np.testing.assert_array_equal(bad, [4])


@pytest.mark.parametrize(
    ("column", "value"), [(0, -1.0), (0, np.nan), (1, np.inf), (2, np.nan)]
)
def test_an_impossible_muon_is_found_with_its_event(column, value):
    muon = len(EVENTS.muons) - 1
    event = int(EVENTS.event_of_muon()[muon])
    place = muon - EVENTS.offsets[event]
    with pytest.raises(ValueError, match=rf"b.pq: row {50 + event}, .*muon {place}, "):
        check_rows(changed(muon=[(muon, column, value)]), "b.pq", 50)
