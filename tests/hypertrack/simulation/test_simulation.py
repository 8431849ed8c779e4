"""Files of simulated events: the same for all workers, gone on with, never replaced."""

import sys

import numpy as np
import pytest

from jaxphys.hypertrack.data.compact_parquet import CompactEvents, compact_path
from jaxphys.hypertrack.data.event_source import open_events
from jaxphys.hypertrack.simulation import simulation
from jaxphys.hypertrack.simulation.simulation import simulate, simulate_event
from tests.hypertrack.event_sets import random_event, require_same
from tests.hypertrack.flights import straight_flight
from tests.hypertrack.occupancy import compare, summarise

# of the specification: mean hits, particles, particles with four hits
MU_20 = {"hits per event": 12_673, "particles per event": 1_148}


@pytest.fixture
def events_extra():
    """Skips the test if the extra is not installed."""
    for name in ("pythia8mc", "awkward", "acts"):
        pytest.importorskip(name, reason="needs pip install 'jaxphys[events]'")


@pytest.fixture
def made(monkeypatch):
    """Puts random events in place of the generator; returns what was asked."""
    asked = []

    def event(event_id, mu, seed):
        asked.append(event_id)
        return random_event(seed + event_id, event_id=event_id)

    monkeypatch.setattr(simulation, "simulate_event", event)
    monkeypatch.setattr(simulation, "require_events_extra", lambda: None)
    return asked


def test_events_come_in_the_order_of_their_numbers(tmp_path, made):
    prefix = simulate(tmp_path / "new/set", 5, 2, 3, 100, progress=False)
    source = CompactEvents(prefix)
    assert source.event_ids.tolist() == made == [100, 101, 102, 103, 104]
    require_same(source.read(102), random_event(105, event_id=102))
    assert source.metadata["request"] == {
        "version": 1,
        "num_events": 5,
        "mu": 2.0,
        "seed": 3,
        "first_event_id": 100,
    }
    assert len(list(prefix.parent.iterdir())) == 3


def test_an_interrupted_call_is_gone_on_with(tmp_path, made, monkeypatch):
    whole = simulate(tmp_path / "whole", 5, 2, 3, progress=False)
    working = simulation.simulate_event

    def fail(event_id, mu, seed):
        if event_id == 4:
            raise KeyboardInterrupt
        return working(event_id, mu, seed)

    monkeypatch.setattr(simulation, "simulate_event", fail)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "set", 5, 2, 3, progress=False)
    assert not list(tmp_path.glob("set-*"))
    monkeypatch.setattr(simulation, "simulate_event", working)
    with pytest.raises(ValueError, match=r"made differently .*mu: expected 4.0, got 2"):
        simulate(tmp_path / "set", 5, 4, 3, progress=False)
    made.clear()
    prefix = simulate(tmp_path / "set", 5, 2, 3, progress=False)
    assert made == [4, 5]
    for kind in ("hits", "truth", "particles"):
        own = compact_path(prefix, kind).read_bytes()
        assert own == compact_path(whole, kind).read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_finished_files_are_kept_and_no_others_overwritten(tmp_path, made):
    prefix = simulate(tmp_path / "set", 3, 2, 3, progress=False)
    made.clear()
    assert simulate(prefix, 3, 2, 3, workers=2, progress=False) == prefix
    assert made == []
    with pytest.raises(ValueError, match="seed: expected 4, got 3"):
        simulate(prefix, 3, 2, 4, progress=False)
    compact_path(tmp_path / "mine", "hits").write_bytes(b"precious")
    with pytest.raises(ValueError, match="exists and was made differently"):
        simulate(tmp_path / "mine", 3, 2, 3, progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mu": 0}, "mu: expected a number above 0 and below 1640, got 0"),
        ({"mu": float("nan")}, "mu: expected"),
        ({"mu": 2000}, "mu: expected"),
        ({"num_events": 0}, "num_events: expected at least 1, got 0"),
        ({"workers": 0}, "workers: expected at least 1"),
        ({"seed": -1}, "seed: expected at least 0"),
        ({"seed": 2**32}, "seed, event numbers: expected below"),
        ({"first_event_id": 2**31 - 1}, "seed, event numbers: expected below"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        simulate(tmp_path / "set", **change)
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "acts", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxphys\[events\]'"):
        simulate(tmp_path / "set", 1)
    assert list(tmp_path.iterdir()) == []


def test_the_numbers_of_an_event_depend_on_seed_and_event_alone(monkeypatch):
    seeds = []

    def collide(mu, rng):
        return straight_flight(seed=int(rng.integers(1000)))[0]

    def fly(primaries, seed):
        seeds.append(seed)
        return straight_flight(seed=seed % 1000)[1]

    monkeypatch.setattr(simulation, "collide", collide)
    monkeypatch.setattr(simulation, "fly", fly)
    first, again = simulate_event(5, 2, 1), simulate_event(5, 2, 1)
    require_same(again, first)
    simulate_event(6, 2, 1)
    simulate_event(5, 2, 2)
    assert len(set(seeds)) == 3


def test_a_crossing_without_hits_is_replaced(monkeypatch):
    tries = []

    def collide(mu, rng):
        tries.append(rng.integers(1000))
        return straight_flight(0 if len(tries) < 3 else 4)[0]

    monkeypatch.setattr(simulation, "collide", collide)
    monkeypatch.setattr(simulation, "fly", lambda p, seed: straight_flight(len(p))[1])
    event = simulate_event(5, 2, 1)
    assert len(set(tries)) == len(tries) == 3
    assert event.num_tracks > 0


def test_sample_of_the_package_says_how_it_was_made():
    source = open_events("")
    assert isinstance(source, CompactEvents)
    assert source.metadata["request"] == {
        "version": 1,
        "num_events": 45,
        "mu": 2.0,
        "seed": 2014,
        "first_event_id": 1,
    }


@pytest.mark.slow
def test_two_events_are_the_same_for_all_workers(tmp_path, events_extra):
    prefix = simulate(tmp_path / "two", 2, 20, 11, workers=2, progress=False)
    source = CompactEvents(prefix)
    for event_id in (2, 1):
        require_same(simulate_event(event_id, 20, 11), source.read(event_id))
    stored = open_events("").read(3)
    require_same(simulate_event(3, 2.0, 2014), stored)


@pytest.mark.slow
def test_simulated_events_are_those_of_the_supplied_files(data_dir, events_extra):
    """Occupancies, lengths and momenta agree within the fluctuations of events."""
    reference = open_events(data_dir("hypertrack") / "train_mu20")
    expected = summarise(reference[i] for i in range(len(reference)))
    found = summarise(simulate_event(i, 20, 2026) for i in range(1, 49))
    rows = compare(found, expected)
    pulls = np.array([row["pull"] for row in rows])
    assert np.sqrt(np.mean(pulls**2)) < 1.5
    assert np.abs(pulls).max() < 4.5
    for name in ("hits per particle", "pT above 0.36 GeV", "displaced by > 1 mm"):
        assert found[name].value == pytest.approx(expected[name].value, rel=0.03)
    for name, value in MU_20.items():
        assert found[name].value == pytest.approx(value, rel=0.25)
