"""Tables of primaries that a user wants bundles of: Parquet or CSV, nested or flat."""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from jaxphys.cr_muons.data.schema import check_rows, decode, find_layout
from jaxphys.cr_muons.physics.events import Events

# other names of the flat columns, in lower case
_ALIASES = {
    "energy": ("e", "e_gev", "energy_gev", "primary_energy"),
    "zenith": ("zenith_rad", "zenith_angle"),
    "mass": ("mass_gev",),
    "depth": ("depth_m", "vertical_depth_m"),
}
MOST_MUONS = 2**31 - 1


@dataclasses.dataclass(frozen=True, eq=False)
class PrimariesTable:
    """Primaries of a file.

    Attributes:
        primaries: [N, 4] float32 energy GeV, zenith rad, mass GeV, depth m.
        showers: [N, 2] uint64 numbers of the shower; 0 and the row where none is given.
        num_muons: [N] int32 of a column; None where none was asked for.
    """

    primaries: np.ndarray
    showers: np.ndarray
    num_muons: np.ndarray | None = None


def read_primaries(
    path: str | os.PathLike, counts_column: str = ""
) -> PrimariesTable:  # fmt: skip
    """Reads primaries of a Parquet or CSV file.

    Args:
        path: .parquet in the training schema (muons are not needed) or with flat
            columns, or .csv with a line of names. Flat columns are energy (or E_GeV),
            zenith (zenith_rad), mass (mass_gev) and depth (depth_m).
        counts_column: numbers of muons; for a column of lists, as muons is, their
            lengths; empty: none.

    Raises:
        ValueError: a column is missing, or a row holds an impossible number.
    """
    path = pathlib.Path(path)
    table = _flat_names(_read(path))
    layout = find_layout(table.schema, str(path), need_muons=False)
    kept = tuple(name for name in layout.columns if name != "muons")
    layout = dataclasses.replace(layout, columns=kept, has_muons=False)
    alone = decode(table.select(list(kept)), layout, str(path))
    events = Events(
        alone.primaries,
        np.zeros(len(alone), np.int32),
        np.zeros((0, 3), np.float32),
        alone.showers,
    )
    check_rows(events, str(path))
    counts = _counts(table, counts_column, str(path)) if counts_column else None
    return PrimariesTable(events.primaries, events.showers, counts)


def _read(path: pathlib.Path) -> Any:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if not path.is_file():
        raise ValueError(f"{path}: expected a .parquet or .csv file, there is none")
    try:
        if path.suffix.lower() == ".csv":
            return pyarrow.csv.read_csv(path)
        return pyarrow.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error


def _flat_names(table: Any) -> Any:
    """Gives flat columns their proper names."""
    if "primary" in table.column_names:
        return table
    known = {a: name for name, aliases in _ALIASES.items() for a in (name, *aliases)}
    names = []
    for name in table.column_names:
        proper = known.get(name.lower().strip(), name)
        names.append(name if proper in names else proper)
    return table.rename_columns(names)


def _counts(table: Any, name: str, source: str) -> np.ndarray:
    import pyarrow.compute
    import pyarrow.types as types

    compute: Any = pyarrow.compute  # its functions are made at run time

    if name not in table.column_names:
        raise ValueError(
            f"{source}: --counts_column={name}: no such column, got "
            f"{', '.join(table.column_names)}"
        )
    column = table[name]
    kind = column.type
    if types.is_list(kind) or types.is_large_list(kind):
        column = compute.list_value_length(column)
    elif not (types.is_integer(kind) or types.is_floating(kind)):
        raise ValueError(f"{source}: column {name}: expected numbers, got {kind}")
    values = column.cast("float64").to_numpy()
    with np.errstate(invalid="ignore"):
        good = (values >= 0) & (values <= MOST_MUONS) & (values == np.floor(values))
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(
            f"{source}: row {row}, column {name}: expected a number of muons >= 0, got "
            f"{values[row]} ({np.sum(~good)} such rows)"
        )
    return values.astype(np.int32)
