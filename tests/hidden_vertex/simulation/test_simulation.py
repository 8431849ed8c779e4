"""Files of simulated events: chunks, shuffling, going on, and the physics in them."""

import json
import sys
import time
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from jaxphys.hidden_vertex.data.ragged_parquet import STEPS
from jaxphys.hidden_vertex.data.readers import open_source
from jaxphys.hidden_vertex.physics.events import Events
from jaxphys.hidden_vertex.simulation import simulation
from jaxphys.hidden_vertex.simulation.collisions import (
    KINDS,
    Chunk,
    Process,
    accepted_events,
    require_events_extra,
)
from jaxphys.hidden_vertex.simulation.simulation import (
    sample_path,
    simulate_events,
    simulate_mixture,
)

# section of the specification on the generator: generated QCD, generated signal
TABLE = {
    "n": (177.6, 143.4),
    "log_pt": (1.289, 1.579),
    "pt1": (1406, 1598),
    "m1": (199, 288),
    "m2": (194, 278),
    "tau21_1": (0.562, 0.363),
    "mjj": (3136, 3482),
}


@pytest.fixture
def events_extra():
    """Skips the test if the extra is not installed."""
    for name in ("pythia8mc", "awkward", "vector", "fastjet"):
        pytest.importorskip(name, reason="needs pip install 'jaxphys[events]'")


@pytest.fixture
def made(monkeypatch):
    """Puts random particles in place of Pythia; returns the chunks that were asked."""
    asked = []

    def accepted(process, seed, chunk, count):
        asked.append((process.kind, chunk, count))
        rng = np.random.default_rng([seed, KINDS.index(process.kind), chunk])
        size = rng.integers(1, 9, 10)[:count]
        shape = (int(size.sum()), 3)
        particles = rng.uniform(1, 2, (100, 3))[: shape[0]].astype(np.float32)
        return Chunk(particles, np.cumsum([0, *size]), 2 * count)

    monkeypatch.setattr(simulation, "accepted_events", accepted)
    monkeypatch.setattr(simulation, "require_events_extra", lambda: None)
    monkeypatch.setattr(simulation, "CHUNK", 10)
    monkeypatch.setattr(simulation, "_BLOCK_ROWS", 16)
    return asked


def read(path) -> Any:
    source = open_source(path)
    return source.read(0, source.num_rows)


def as_sets(events, label=None):
    """Returns the particles of every event in steps, in an order of their own."""
    steps = np.array([list(STEPS.values())])
    values = events.particles.astype(np.float64)
    values[:, 0] = np.log(values[:, 0])
    values = np.round(values / steps).astype(int)
    parts = np.split(values, events.offset[1:-1])
    labels = events.label.tolist()
    return [
        tuple(sorted(map(tuple, part.tolist())))
        for part, own in zip(parts, labels, strict=True)
        if label in (None, own)
    ]


@pytest.mark.parametrize("suffix", [".parquet", ".h5"])
def test_events_come_in_the_order_of_their_chunks(tmp_path, made, suffix):
    path = simulate_events(
        tmp_path / f"new/a{suffix}", "signal", 35, seed=3, progress=False
    )
    events = read(path)
    assert made == [("signal", i, 10 if i < 3 else 5) for i in range(4)]
    assert len(events) == 35
    assert set(events.label.tolist()) == {1}
    np.testing.assert_array_equal(events.event_id, np.arange(35))
    chunk = simulation.accepted_events(Process("signal"), 3, 3, 5)
    last = events.particles[events.offset[30] :]
    np.testing.assert_array_equal(np.diff(events.offset)[30:], np.diff(chunk.offset))
    if suffix == ".h5":
        np.testing.assert_array_equal(last, chunk.particles)
    else:
        np.testing.assert_allclose(
            np.sort(last[:, 1]), np.sort(chunk.particles[:, 1]), atol=6e-4
        )
    assert [p.name for p in path.parent.iterdir()] == [f"a{suffix}"]


def test_mixture_holds_the_events_of_both_kinds_in_random_order(tmp_path, made):
    mixed = read(simulate_mixture(tmp_path / "m.parquet", 40, 23, 7, progress=False))
    np.testing.assert_array_equal(mixed.event_id, np.arange(63))
    assert mixed.label.sum() == 23
    # all places of a run of equal labels would be one sorted block
    assert 10 < np.count_nonzero(np.diff(mixed.label)) < 53
    for label, (kind, count) in enumerate(zip(KINDS, (40, 23), strict=True)):
        path = simulate_events(
            tmp_path / f"{kind}.parquet", kind, count, 7, progress=False
        )
        found, alone = as_sets(mixed, label), as_sets(read(path))
        assert found != alone
        assert sorted(found) == sorted(alone)


def test_metadata_say_how_a_file_was_made(tmp_path, made):
    path = simulate_mixture(tmp_path / "m.parquet", 12, 9, 7, m_x=300, progress=False)
    table = pq.read_table(path)
    found = {k.decode(): v for k, v in table.schema.metadata.items()}
    assert json.loads(found["signal_points"]) == [[3500.0, 300, 100.0]]
    assert json.loads(found["tries"]) == {"background": 24, "signal": 18}
    assert json.loads(found["request"])["seed"] == 7
    np.testing.assert_array_equal(
        table["signal_point"].to_numpy(), table["label"].to_numpy()
    )


@pytest.mark.parametrize("suffix", [".parquet", ".h5"])
def test_an_interrupted_call_is_gone_on_with(tmp_path, made, monkeypatch, suffix):
    whole = simulate_mixture(tmp_path / f"w{suffix}", 30, 20, 1, progress=False)
    working, tried = simulation.accepted_events, []

    def fail(process, seed, chunk, count):
        if len(tried) == 3:
            raise KeyboardInterrupt
        tried.append((process.kind, chunk))
        return working(process, seed, chunk, count)

    path = tmp_path / f"a{suffix}"
    monkeypatch.setattr(simulation, "accepted_events", fail)
    with pytest.raises(KeyboardInterrupt):
        simulate_mixture(path, 30, 20, 1, progress=False)
    assert not path.exists()
    monkeypatch.setattr(simulation, "accepted_events", working)
    with pytest.raises(ValueError, match=r"made differently .*seed: expected 2, got 1"):
        simulate_mixture(path, 30, 20, 2, progress=False)
    made.clear()
    simulate_mixture(path, 30, 20, 1, progress=False)
    assert made == [("signal", 0, 10), ("signal", 1, 10)]
    assert as_sets(read(path)) == as_sets(read(whole))
    if suffix == ".parquet":
        assert path.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, whole.name]


@pytest.mark.parametrize("suffix", [".parquet", ".h5"])
def test_a_finished_file_is_kept_and_no_other_is_overwritten(tmp_path, made, suffix):
    path = simulate_events(tmp_path / f"a{suffix}", num_events=5, progress=False)
    before = path.read_bytes()
    made.clear()
    simulate_events(path, num_events=5, progress=False)
    assert made == []
    with pytest.raises(ValueError, match="background: expected 6, got 5"):
        simulate_events(path, num_events=6, progress=False)
    with pytest.raises(ValueError, match="mpi: expected True, got False"):
        simulate_events(path, num_events=5, mpi=True, progress=False)
    assert path.read_bytes() == before
    other = tmp_path / f"other{suffix}"
    other.write_bytes(b"precious")
    with pytest.raises(ValueError, match="exists and was made differently"):
        simulate_events(other, num_events=5, progress=False)
    assert other.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "a.root"}, "ends in .parquet .* or .h5"),
        ({"kind": "qcd"}, "kind: expected one of"),
        ({"num_events": 0}, "expected at least 1 and 1, got"),
        ({"num_events": -1}, "expected at least 1 and 1, got"),
        ({"workers": 0}, "expected at least 1 and 1, got"),
        ({"m_y": 1.0}, "expected m_x >= 30, m_y >= 15"),
    ],
)
def test_wrong_requests_are_refused(tmp_path, made, changes, message):
    changes = {"path": "a.parquet", "num_events": 5, "progress": False, **changes}
    path = tmp_path / changes.pop("path")
    with pytest.raises(ValueError, match=message):
        simulate_events(path, **changes)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_nothing_is_begun(tmp_path, made, monkeypatch):
    monkeypatch.setattr(simulation, "require_events_extra", require_events_extra)
    monkeypatch.setitem(sys.modules, "fastjet", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxphys\[events\]'.*fastjet"):
        simulate_events(tmp_path / "a.parquet", num_events=5, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_progress_tells_the_acceptance(tmp_path, made, capsys):
    simulate_events(tmp_path / "a.parquet", num_events=20)
    assert "50% accepted" in capsys.readouterr().err


def test_sample_of_the_package_is_small_and_complete():
    path = sample_path()
    assert path.stat().st_size < 3.5e6
    events = read(path)
    np.testing.assert_array_equal(events.event_id, np.arange(4600))
    assert np.bincount(events.label).tolist() == [4000, 600]
    # shuffled: every tenth of the file has its share of signal
    share = events.label.reshape(10, 460).sum(axis=1)
    assert share.min() > 30
    assert np.all(np.diff(events.offset) >= 20)
    metadata = pq.read_schema(path).metadata
    assert json.loads(metadata[b"request"])["seed"] == 2020
    for label in (0, 1):
        n = np.diff(events.offset)[events.label == label]
        allowed = 3 * n.std() / np.sqrt(len(n)) + 0.03 * TABLE["n"][label]
        assert abs(n.mean() - TABLE["n"][label]) < allowed


@pytest.mark.slow
def test_sample_is_what_the_generator_makes(events_extra):
    """Compared by event, as another processor may round a threshold elsewhere."""
    made = accepted_events(Process("signal"), 2020, 0, 60)
    label, empty = np.ones(60, np.int8), np.arange(0)
    events = Events(made.particles, made.offset, label, np.arange(60), empty)
    sample = set(as_sets(read(sample_path()), 1))
    assert sum(event in sample for event in as_sets(events)) >= 50


@pytest.mark.slow
def test_file_does_not_depend_on_the_number_of_processes(
    tmp_path, monkeypatch, events_extra
):
    monkeypatch.setattr(simulation, "CHUNK", 15)
    one, two = (
        simulate_mixture(
            tmp_path / f"{workers}.parquet", 40, 20, 5, workers, progress=False
        )
        for workers in (1, 2)
    )
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.slow
def test_simulation_agrees_with_the_table(tmp_path, events_extra):
    from jaxphys.hidden_vertex.physics.observables import antikt_observables

    start = time.perf_counter()
    path = simulate_mixture(tmp_path / "m.parquet", 2000, 2000, 11, 2, progress=False)
    seconds = time.perf_counter() - start
    events = read(path)
    found = antikt_observables(events.particles, events.offset)
    size = np.diff(events.offset)
    log_pt = np.add.reduceat(np.log(events.particles[:, 0]), events.offset[:-1])
    print(f"\n2,000 events of each kind in {seconds:.0f} s; here / table")
    wrong = []
    for label, kind in enumerate(KINDS):
        chosen = events.label == label
        for name, wanted in TABLE.items():
            # mean over particles, its error that of the mean over events
            values = log_pt / size if name == "log_pt" else found[name]
            values = np.asarray(values, np.float64)[chosen]
            mean, error = values.mean(), values.std() / np.sqrt(len(values))
            if name == "log_pt":
                mean = log_pt[chosen].sum() / size[chosen].sum()
            print(f"{kind:10} {name:8} {mean:9.3f} +- {error:.3f} / {wanted[label]}")
            if abs(mean - wanted[label]) > 3 * error + 0.05 * wanted[label]:
                wrong.append((kind, name, mean, wanted[label]))
    assert wrong == []  # how long it takes depends on the machine: printed
