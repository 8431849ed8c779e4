"""Turns a table in any accepted schema into events, and finds rows that are wrong.

Accepted are lists, large lists and lists of fixed size; a primary of 4 values (energy,
zenith, mass, depth), 5 (with a time before the depth), 6 or 7 (the same after the two
numbers of the shower), or four flat columns; muons of 3 values (energy, x, y) or of 5
(after two numbers).
"""

import dataclasses
from typing import Any

import numpy as np

from jaxphys.cr_muons.physics.events import MUON_COLUMNS, PRIMARY_COLUMNS, Events

ID_COLUMNS = ("primary_major_id", "primary_minor_id")
# values of a primary -> (values before the energy, place of the depth)
PRIMARY_WIDTHS = {4: (0, 3), 5: (0, 4), 6: (2, 5), 7: (2, 6)}
MUON_WIDTHS = {3: 0, 5: 2}  # values of a muon -> values before its energy
MOST_ID = 2**63  # ids that come as floats are checked against this


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a file holds its events.

    Attributes:
        columns: The columns to read.
        flat: Primaries are four columns of numbers.
        has_ids: The numbers of the shower are columns.
        has_muons: There are muons; a table of primaries alone has none.
    """

    columns: tuple[str, ...]
    flat: bool
    has_ids: bool
    has_muons: bool

    def without_ids(self) -> "Layout":
        """Returns the layout that leaves the numbers of the shower out."""
        columns = tuple(name for name in self.columns if name not in ID_COLUMNS)
        return dataclasses.replace(self, columns=columns, has_ids=False)


def find_layout(schema: Any, source: str, need_muons: bool = True) -> Layout:
    """Finds how a file holds its events.

    Args:
        schema: pyarrow schema.
        source: Name of the file, for errors.
        need_muons: Refuse a table without muons.

    Raises:
        ValueError: If a column is missing or has another type.
    """
    names = set(schema.names)
    flat = "primary" not in names
    primary = PRIMARY_COLUMNS if flat else ("primary",)
    missing = [name for name in primary if name not in names]
    if missing:
        raise ValueError(
            f"{source}: expected a column primary (list of 4 numbers) or the columns "
            f"{', '.join(PRIMARY_COLUMNS)}, got {', '.join(schema.names)}"
        )
    has_muons = "muons" in names
    if need_muons and not has_muons:
        raise ValueError(
            f"{source}: column muons is missing (list of lists of 3 numbers), got "
            f"{', '.join(schema.names)}"
        )
    depth = {"muons": 2, "primary": 1}
    for name in (*primary, *(["muons"] if has_muons else [])):
        _check_type(schema.field(name).type, depth.get(name, 0), source, name)
    found = [name in names for name in ID_COLUMNS]
    if any(found) and not all(found):
        raise ValueError(
            f"{source}: expected both columns {' and '.join(ID_COLUMNS)} or none"
        )
    columns = (*(ID_COLUMNS if all(found) else ()), *primary)
    return Layout(
        (*columns, "muons") if has_muons else columns, flat, all(found), has_muons
    )


def _check_type(kind, lists, source, name):
    import pyarrow.types as types

    inner, depth = kind, 0
    while _is_list(inner):
        inner, depth = inner.value_type, depth + 1
    number = types.is_floating(inner) or types.is_integer(inner)
    # a file without any muon may have been written with lists of nothing
    if (
        depth > lists
        or (depth < lists and not types.is_null(inner))
        or not (number or types.is_null(inner))
    ):
        raise ValueError(
            f"{source}: column {name}: expected {'list of ' * lists}numbers, got {kind}"
        )


def _is_list(kind):
    import pyarrow.types as types

    return (
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
    )


def decode(table: Any, layout: Layout, source: str, first_row: int = 0) -> Events:
    """Returns the rows of a table as events; memory is shared where it can be.

    Args:
        table: pyarrow table with the columns of the layout.
        layout: From `find_layout`.
        source: Name of the file, for errors.
        first_row: Row of the file that the table starts with, for errors.

    Raises:
        ValueError: If a list is missing or has a wrong number of values.
    """
    rows, where = len(table), (source, first_row)
    shower_values = None
    if layout.flat:
        primaries = np.empty((rows, 4), np.float32)
        for place, name in enumerate(PRIMARY_COLUMNS):
            primaries[:, place] = _numbers(_one_chunk(table[name]))
    else:
        raw = _lists(_one_chunk(table["primary"]), PRIMARY_WIDTHS, "primary", where)
        primaries, shower_values = primaries_of_columns(raw)
    if layout.has_muons:
        num_muons, muons = _muons(_one_chunk(table["muons"]), where)
    else:
        num_muons, muons = np.zeros(rows, np.int32), np.zeros((0, 3), np.float32)
    if layout.has_ids:
        showers = np.empty((rows, 2), np.uint64)
        for place, name in enumerate(ID_COLUMNS):
            showers[:, place] = _ids(_one_chunk(table[name]), name, where)
    else:
        showers = _showers_of(shower_values, rows, where)
    return Events(primaries, num_muons, muons, showers)


def primaries_of_columns(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns energy, zenith, mass, depth of primaries with 4 to 7 values.

    Args:
        raw: [N, 4 to 7], see the module.

    Returns:
        (primaries [N, 4] float32, the two leading values [N, 2] or None).
    """
    if raw.shape[1] not in PRIMARY_WIDTHS:
        raise ValueError(
            f"primary: expected {_either(PRIMARY_WIDTHS)} values, got {raw.shape[1]}"
        )
    first, depth = PRIMARY_WIDTHS[raw.shape[1]]
    if raw.shape[1] == 4:
        primaries = raw
    else:
        primaries = raw[:, [first, first + 1, first + 2, depth]]
    return np.asarray(primaries, np.float32), raw[:, :2] if first else None


def _either(widths):
    *others, last = widths
    return f"{', '.join(map(str, others))} or {last}"


def _one_chunk(column):
    chunks = column.num_chunks
    return column.chunk(0) if chunks == 1 else column.combine_chunks()


def _numbers(array):
    """Returns numbers of any type; a null becomes NaN and is found later."""
    import pyarrow as pa

    if pa.types.is_integer(array.type) and array.null_count:
        array = array.cast("float64")
    return array.to_numpy(zero_copy_only=False)


def _segments(array, name, where):
    """Returns (offsets [N + 1] from 0, the values) of a list array without nulls."""
    import pyarrow.types as types

    source, first_row = where
    if array.null_count:
        null = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
        raise ValueError(
            f"{source}: row {first_row + null}, column {name}: expected a list, got "
            "null (an event without muons has an empty list)"
        )
    if types.is_fixed_size_list(array.type):
        width = array.type.list_size
        return np.arange(len(array) + 1) * width, array.flatten()
    offsets = array.offsets.to_numpy()
    first, last = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)
    offsets = offsets - offsets[0] if len(offsets) else np.zeros(1, np.int64)
    return offsets, array.values.slice(first, last - first)


def _lists(array, widths, name, where, row_of=None):
    """Returns lists of equal length as [N, width] float32."""
    source, first_row = where
    if not len(array):
        return np.zeros((0, next(iter(widths))), np.float32)
    if not _is_list(array.type):
        found = f"column {name}: expected a list, got {array.type}"
        raise ValueError(f"{source}: row {first_row}, {found}")
    row_of = row_of or (lambda number: (number, ""))
    offsets, values = _segments(array, name, where)
    lengths = np.diff(offsets)
    width = int(lengths[0])
    wrong = np.flatnonzero(lengths != width) if width in widths else np.zeros(1, int)
    if len(wrong):
        row, place = row_of(int(wrong[0]))
        expected = f"{width} values as in the rows before"
        if width not in widths or int(lengths[wrong[0]]) not in widths:
            expected = f"{_either(widths)} values"
        raise ValueError(
            f"{source}: row {first_row + row}, column {name}{place}: expected "
            f"{expected}, got {lengths[wrong[0]]} ({len(wrong)} such lists here)"
        )
    numbers = np.asarray(_numbers(values), np.float32)
    return numbers.reshape(-1, width)


def _muons(array, where):
    if not _is_list(array.type):  # a column of nulls
        raise ValueError(
            f"{where[0]}: row {where[1]}, column muons: expected a list, got null"
        )
    offsets, rows = _segments(array, "muons", where)

    def row_of(muon):
        event = int(np.searchsorted(offsets, muon, side="right")) - 1
        return event, f", muon {muon - int(offsets[event])}"

    values = _lists(rows, MUON_WIDTHS, "muons", where, row_of)
    if values.shape[1] == 5:
        values = np.ascontiguousarray(values[:, 2:])
    return np.diff(offsets).astype(np.int32), values


def _ids(array, name, where):
    import pyarrow.types as types

    source, first_row = where
    numbers = _numbers(array)
    if types.is_uint64(array.type) and not array.null_count:
        return numbers
    return _checked_ids(numbers, name, source, first_row)


def _checked_ids(numbers, name, source, first_row):
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero(~((numbers >= 0) & (numbers < MOST_ID)))
    if len(bad):
        raise ValueError(
            f"{source}: row {first_row + bad[0]}, column {name}: expected a number of "
            f"a shower >= 0, got {numbers[bad[0]]} ({len(bad)} such rows here)"
        )
    return numbers.astype(np.uint64)


def _showers_of(values, rows, where):
    source, first_row = where
    if values is not None:
        return _checked_ids(values.reshape(-1), "primary", source, first_row).reshape(
            rows, 2
        )
    return row_showers(first_row, rows)


def row_showers(first_row: int, rows: int) -> np.ndarray:
    """Returns [R, 2] uint64, what rows of a file that names no showers hold."""
    showers = np.zeros((rows, 2), np.uint64)
    showers[:, 1] = np.arange(first_row, first_row + rows)
    return showers


def names_showers(events: Events, first_row: int) -> bool:
    """Tells if events of a file hold more than the number of their row as shower."""
    return bool((events.showers != row_showers(first_row, len(events))).any())


def find_bad_rows(events: Events) -> tuple[np.ndarray, str]:
    """Finds events with impossible numbers.

    Energies and masses of primaries must be > 0, energies of muons and depths >= 0,
    zenith angles within 0 and pi, and all numbers finite.

    Returns:
        ([K] int64 positions, what is wrong with the first of them).
    """
    primaries, muons = events.primaries, events.muons
    with np.errstate(invalid="ignore"):
        if not len(events) or _all_good(primaries, muons):
            return np.zeros(0, np.int64), ""
        good = np.isfinite(primaries)
        good[:, [0, 2]] &= primaries[:, [0, 2]] > 0
        good[:, [1, 3]] &= primaries[:, [1, 3]] >= 0
        good[:, 1] &= primaries[:, 1] <= np.float32(np.pi)
        good_muon = np.isfinite(muons)
        good_muon[:, 0] &= muons[:, 0] >= 0
    bad_muons = np.flatnonzero(~good_muon.all(axis=1))
    of_muons = np.searchsorted(events.offsets, bad_muons, side="right") - 1
    bad = np.union1d(np.flatnonzero(~good.all(axis=1)), of_muons)
    row = int(bad[0])
    if not good[row].all():
        column = int(np.argmin(good[row]))
        kinds = ("> 0", "0 to pi", "> 0", ">= 0")
        return bad, (
            f"primary, {PRIMARY_COLUMNS[column]}: expected a finite number "
            f"{kinds[column]}, got {primaries[row, column]}"
        )
    muon = int(bad_muons[np.argmax(of_muons == row)])
    column = int(np.argmin(good_muon[muon]))
    kind = "a finite energy >= 0" if column == 0 else "a finite number"
    return bad, (
        f"muons, muon {muon - events.offsets[row]}, {MUON_COLUMNS[column]}: expected "
        f"{kind}, got {muons[muon, column]}"
    )


def _all_good(primaries, muons):
    """Tells by minima and maxima, which carry NaN, that no number is wrong."""
    if not (np.isfinite(primaries.min()) and np.isfinite(primaries.max())):
        return False
    # column by column: four times faster than along the short axis
    energy, zenith, mass, depth = (primaries[:, i].min() for i in range(4))
    good = energy > 0 and zenith >= 0 and mass > 0 and depth >= 0
    good = bool(good and primaries[:, 1].max() <= np.float32(np.pi))
    if not good or not len(muons):
        return good
    finite = np.isfinite(muons.min()) and np.isfinite(muons.max())
    return bool(finite and muons[:, 0].min() >= 0)


def check_rows(events: Events, source: str, first_row: int = 0) -> None:
    """Raises a ValueError that names file and row if a number is impossible."""
    bad, reason = find_bad_rows(events)
    if len(bad):
        raise ValueError(
            f"{source}: row {first_row + bad[0]}, column {reason} ({len(bad)} such "
            "rows in this block)"
        )
