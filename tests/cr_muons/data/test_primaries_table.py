"""Primaries are read alike from nested and flat tables; what is wrong is named."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from jaxphys.cr_muons.data.primaries_table import read_primaries
from jaxphys.cr_muons.data.writers import write_events
from tests.cr_muons.samples import draw_events

NAMES = ("energy", "zenith", "mass", "depth")


@pytest.fixture
def events():
    return draw_events(7)


def flat(events, names=NAMES, **more):
    columns = dict(zip(names, events.primaries.astype(np.float64).T, strict=True))
    return pa.table({**columns, **more})


def test_training_schema_gives_primaries_showers_and_lengths(tmp_path, events):
    path = write_events(tmp_path / "events.parquet", events)
    found = read_primaries(path, "muons")
    np.testing.assert_array_equal(found.primaries, events.primaries)
    np.testing.assert_array_equal(found.showers, events.showers)
    np.testing.assert_array_equal(found.num_muons, events.num_muons)
    assert read_primaries(path).num_muons is None


@pytest.mark.parametrize(
    "names", [NAMES, ("E_GeV", "Zenith_Rad", "mass_GeV", "Depth_m")]
)
@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_flat_columns_are_known_by_their_names(tmp_path, events, names, ending):
    path = tmp_path / f"table.{ending}"
    table = flat(events, names, want=np.arange(7))
    if ending == "csv":
        pyarrow.csv.write_csv(table.select([4, 3, 2, 1, 0]), path)
    else:
        pq.write_table(table.select([4, 3, 2, 1, 0]), path)
    found = read_primaries(path, "want")
    np.testing.assert_allclose(found.primaries, events.primaries, rtol=1e-6)
    assert found.num_muons is not None
    assert found.num_muons.tolist() == list(range(7))
    assert found.showers[:, 1].tolist() == list(range(7))


def test_missing_file_and_columns_are_named(tmp_path, events):
    with pytest.raises(ValueError, match=r"none\.csv: expected a"):
        read_primaries(tmp_path / "none.csv")
    path = tmp_path / "few.parquet"
    pq.write_table(flat(events).select([0, 1, 2]), path)
    with pytest.raises(ValueError, match=r"few\.parquet.*depth, got energy"):
        read_primaries(path)
    pq.write_table(flat(events), path)
    with pytest.raises(ValueError, match="--counts_column=want: no such column"):
        read_primaries(path, "want")
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="cannot be read"):
        read_primaries(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 1, -1, 0, 0, 0, 0], "row 2, column want.*-1"),
        ([0, 1, 1.5, 0, 0, 0, 0], "row 2, column want.*1.5"),
        ([0, None, 1, 0, 0, 0, 0], "row 1, column want.*nan"),
        (["a"] * 7, "expected numbers, got string"),
    ],
)
def test_impossible_numbers_of_muons_are_named(tmp_path, events, values, message):
    path = tmp_path / "table.parquet"
    pq.write_table(flat(events, want=pa.array(values)), path)
    with pytest.raises(ValueError, match=message):
        read_primaries(path, "want")


def test_impossible_primary_is_named_with_its_row(tmp_path, events):
    events.primaries[3, 1] = 4.0
    path = tmp_path / "table.parquet"
    pq.write_table(flat(events), path)
    with pytest.raises(ValueError, match=r"row 3, .*zenith.*0 to pi"):
        read_primaries(path)
