"""Writing: all files or none, one row group per event, numbers that fit."""

import contextlib
import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest

from jaxphys.hypertrack.data.assembly import assemble
from jaxphys.hypertrack.data.compact_parquet import CompactEvents, compact_path
from jaxphys.hypertrack.data.compact_writer import CompactWriter
from tests.hypertrack.event_sets import random_event, require_same
from tests.hypertrack.plain_events import event_from_arrays


def test_columns_and_types_are_those_of_the_supplied_files(tmp_path, data_dir):
    with CompactWriter(tmp_path / "set") as writer:
        writer.write(random_event(1))
    for kind in ("hits", "truth", "particles"):
        own = pq.read_schema(compact_path(tmp_path / "set", kind))
        other = pq.read_schema(
            compact_path(data_dir("hypertrack") / "full_mu200", kind)
        )
        assert own.names == other.names
        assert own.types == other.types


def test_nothing_appears_where_an_event_fails(tmp_path):
    with (
        contextlib.suppress(KeyboardInterrupt),
        CompactWriter(tmp_path / "a") as writer,
    ):
        writer.write(random_event(1))
        raise KeyboardInterrupt
    with (
        pytest.raises(ValueError, match="no event to write"),
        CompactWriter(tmp_path / "set"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_events_without_truth_have_a_file_of_hits_alone(tmp_path):
    event = dataclasses.replace(
        event_from_arrays(1, np.ones((4, 3)), np.full(4, -1)), has_truth=False
    )
    with CompactWriter(tmp_path / "set") as writer:
        writer.write(event)
        with pytest.raises(ValueError, match=r"event 7: expected \['hits'\] as for"):
            writer.write(random_event(1))
    assert [p.name for p in tmp_path.iterdir()] == ["set-hits.parquet"]
    require_same(
        CompactEvents(tmp_path / "set")[0],
        dataclasses.replace(event, weight=np.zeros(4, np.float32)),
    )


def test_truth_without_particles_is_kept(tmp_path):
    known = random_event(1)
    hits = {"hit_id": known.hit_id} | dict(zip("xyz", known.position.T, strict=True))
    hits |= {n: getattr(known, n) for n in ("volume_id", "layer_id", "module_id")}
    identity = np.where(known.label < 0, 0, known.particles.particle_id[known.label])
    truth = {"hit_id": known.hit_id, "particle_id": identity, "weight": known.weight}
    event = assemble(7, hits, truth, None, dict.fromkeys(("hits", "truth"), "file"))
    with CompactWriter(tmp_path / "set") as writer:
        writer.write(event)
    require_same(CompactEvents(tmp_path / "set")[0], event)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hit_id": 2**31}, r"column hit_id: expected numbers of .* got .* 2147483648"),
        ({"volume_id": 256}, "column volume_id: expected numbers of 0 to 255, got"),
        ({"module_id": -1}, "column module_id: expected numbers of 0 to 65535, got -1"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(tmp_path, change, message):
    event = random_event(1)
    [(name, value)] = change.items()
    column = getattr(event, name).astype(np.int64)
    column[3] = value
    event = dataclasses.replace(event, **{name: column})
    with (
        pytest.raises(ValueError, match=message),
        CompactWriter(tmp_path / "set") as writer,
    ):
        writer.write(event)


def test_double_and_empty_events_are_refused(tmp_path):
    with CompactWriter(tmp_path / "set") as writer:
        writer.write(random_event(1))
        with pytest.raises(ValueError, match=r"event 7: .* it is there already"):
            writer.write(random_event(2))
        noise = event_from_arrays(8, np.ones((4, 3)), np.full(4, -1))
        with pytest.raises(ValueError, match=r"event 8: .*got no particles"):
            writer.write(noise)
    assert CompactEvents(tmp_path / "set").event_ids.tolist() == [7]
