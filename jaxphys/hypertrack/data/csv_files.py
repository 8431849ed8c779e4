"""TrackML events as CSV: four files per event, plain or compressed with gzip.

`eventNNNNNNNNN-{hits,truth,particles,cells}.csv[.gz]`; columns are found by their
names, so that further ones (the particle_type of the CodaLab phase) do not disturb.
"""

import pathlib
import re
from collections.abc import Sequence

import numpy as np

from jaxphys.hypertrack.data.assembly import (
    HIT_COLUMNS,
    OPTIONAL_COLUMNS,
    PARTICLE_COLUMNS,
    TRUTH_COLUMNS,
    assemble,
)
from jaxphys.hypertrack.physics.events import Event

CELL_COLUMNS = ("hit_id", "ch0", "ch1", "value")
_NAME = re.compile(r"event(\d{9})-hits\.csv(\.gz)?")
_WHOLE = (
    *("hit_id", "particle_id", "particle_type", "volume_id", "layer_id", "module_id"),
    *("q", "ch0", "ch1", "geometry_id", "index"),
    *(f"particle_id_{part}" for part in ("pv", "part", "gen", "subpart")),
)


def read_columns(
    path, columns: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Reads columns of a CSV file by their names.

    Args:
        path: the file, plain or .gz.
        columns: names that must be there.
        optional: names that are read where they are there.

    Returns:
        Name -> `[rows]`, int64 for identifiers and float64 for the others.

    Raises:
        ValueError: the file is damaged, a column is missing or a cell not a number.
    """
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    names = [*columns, *optional]
    types = {name: pa.int64() if name in _WHOLE else pa.float64() for name in names}
    try:
        with arrow_csv.open_csv(str(path)) as file:
            present = file.schema.names
        missing = [name for name in columns if name not in present]
        if missing:
            raise ValueError(
                f"{path}: expected the columns {', '.join(columns)}; missing: "
                f"{', '.join(missing)}; got {', '.join(present)}"
            )
        table = arrow_csv.read_csv(
            str(path),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=[name for name in names if name in present],
                column_types=types,
                null_values=[""],  # a nan is a number that is refused later
            ),
        )
    except (pa.ArrowException, OSError, EOFError) as error:
        raise ValueError(f"{path}: cannot be read as a CSV table: {error}") from error
    found = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if column.null_count:
            row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise ValueError(
                f"{path}: row {row + 1}, column {name}: expected a number, got an "
                f"empty cell ({column.null_count} such rows)"
            )
        found[name] = column.to_numpy(zero_copy_only=False)
    return found


class CsvEvents:
    """The events of a folder of TrackML files, read one at a time.

    Attributes:
        folder: where they lie.
        event_ids: numbers of the events, sorted, `[E]` int64.
        has_truth: whether every event has truth and particles.
    """

    def __init__(self, folder):
        """Lists a folder.

        Raises:
            ValueError: it holds no hits file, or one both plain and compressed.
        """
        self.folder = pathlib.Path(folder)
        names = sorted(path.name for path in self.folder.glob("event*-hits.csv*"))
        found = [match for name in names if (match := _NAME.fullmatch(name))]
        self.event_ids = np.array(sorted(int(match[1]) for match in found), np.int64)
        if not found:
            raise ValueError(
                f"{self.folder}: expected files eventNNNNNNNNN-hits.csv or .csv.gz, "
                "got none"
            )
        double = self.event_ids[1:][np.diff(self.event_ids) == 0]
        if len(double):
            raise ValueError(
                f"{self.folder}: event {double[0]}: expected one hits file, got it "
                "plain and compressed"
            )
        self.has_truth = all(
            self.path(event_id, kind) is not None
            for event_id in self.event_ids
            for kind in ("truth", "particles")
        )

    def __len__(self) -> int:
        return len(self.event_ids)

    def __getitem__(self, index: int) -> Event:
        """Reads the event at a place of `event_ids`."""
        return self.read(int(self.event_ids[index]))

    def path(self, event_id: int, kind: str) -> pathlib.Path | None:
        """Returns the file of an event, or None if there is none.

        Args:
            event_id: number of the event.
            kind: "hits", "truth", "particles" or "cells".
        """
        for ending in (".csv", ".csv.gz"):
            path = self.folder / f"event{event_id:09d}-{kind}{ending}"
            if path.is_file():
                return path
        return None

    def read(self, event_id: int) -> Event:
        """Reads one event.

        Raises:
            ValueError: a file is missing or damaged, or the files do not fit together.
        """
        paths = {k: self.path(event_id, k) for k in ("hits", "truth", "particles")}
        if paths["hits"] is None:
            raise ValueError(f"{self.folder}: no event {event_id}")
        if paths["truth"] is None and paths["particles"] is not None:
            raise ValueError(
                f"{paths['particles']}: expected the file of truth beside it, got none"
            )
        truth, particles = paths["truth"], paths["particles"]
        return assemble(
            event_id,
            read_columns(paths["hits"], HIT_COLUMNS),
            None if truth is None else read_columns(truth, TRUTH_COLUMNS),
            None
            if particles is None
            else read_columns(particles, PARTICLE_COLUMNS, OPTIONAL_COLUMNS),
            {kind: str(path) for kind, path in paths.items()},
        )

    def true_positions(self, event_id: int) -> np.ndarray:
        """Reads where the particles crossed the modules, `[N, 3]` float32, mm.

        The rows are those of `Event.position`.
        """
        truth = self.path(event_id, "truth")
        if truth is None:
            raise ValueError(f"{self.folder}: event {event_id} has no truth")
        columns = read_columns(truth, ("hit_id", "tx", "ty", "tz"))
        event = self.read(event_id)
        place = np.argsort(event.truth_order)
        found = np.empty((event.num_hits, 3), np.float32)
        found[place] = np.column_stack([columns[name] for name in ("tx", "ty", "tz")])
        return found

    def cells(self, event_id: int) -> dict[str, np.ndarray]:
        """Reads the cells that fired: hit_id, ch0, ch1 and the signal `value`."""
        path = self.path(event_id, "cells")
        if path is None:
            raise ValueError(f"{self.folder}: event {event_id} has no file of cells")
        return read_columns(path, CELL_COLUMNS)
