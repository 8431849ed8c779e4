"""Collisions: settings, the trigger, and lists of events that depend on seeds alone."""

import sys

import numpy as np
import pytest

from jaxphys.hidden_vertex.simulation import collisions
from jaxphys.hidden_vertex.simulation.collisions import (
    BATCH,
    Chunk,
    Process,
    accepted_events,
    chunk_seed,
    final_particles,
    pythia_settings,
    require_events_extra,
    start_pythia,
    trigger,
)
from jaxphys.hidden_vertex.simulation.response import Truth


@pytest.fixture
def events_extra():
    """Skips the test if the extra is not installed."""
    for name in ("pythia8mc", "awkward", "vector", "fastjet"):
        pytest.importorskip(name, reason="needs pip install 'jaxphys[events]'")


def test_background_and_signal_have_their_settings():
    background = pythia_settings(Process(), 17)
    assert {"Random:seed = 17", "HardQCD:all = on", "PartonLevel:MPI = off"} < {
        *background
    }
    assert "PhaseSpace:pTHatMin = 1125." in background
    signal = pythia_settings(Process("signal", 3000.0, 300.0, 200.0, True), 1)
    assert "PartonLevel:MPI = on" in signal
    assert "34:m0 = 3000.0" in signal
    assert "9000001:new = X Xbar 1 3 0 300.0 1. 280.0 320.0 0." in signal
    assert "9000002:new = Y void 1 0 0 200.0 0.5 195.0 205.0 0." in signal
    # a channel needs the particle that it belongs to
    channel = signal.index("34:oneChannel = 1 1. 100 9000001 9000002")
    assert channel > signal.index("9000002:addChannel = 1 0.25 100 4 -4")
    assert not any("HardQCD" in line for line in signal)


@pytest.mark.parametrize("seed", [0, 900_000_001])
def test_seeds_that_pythia_would_replace_are_refused(seed):
    with pytest.raises(ValueError, match="seed of Pythia: expected 1 to 900000000"):
        pythia_settings(Process(), seed)


@pytest.mark.parametrize("masses", [(3500, 29, 100), (3500, 500, 14), (900, 300, 100)])
def test_masses_without_room_for_the_decays_are_refused(masses):
    with pytest.raises(ValueError, match="expected m_x >= 30, m_y >= 15 and m_x"):
        Process("signal", *masses)


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"kind: expected one of .*got 'qcd'"):
        Process("qcd")


def test_chunks_have_their_own_numbers():
    cases = [(0, "background", 0), (0, "signal", 0), (0, "background", 1)]
    cases += [(1, "background", 0), (1, "background", 1)]
    words = [tuple(chunk_seed(*case).generate_state(4)) for case in cases]
    assert len(set(words)) == len(cases)
    with pytest.raises(ValueError, match="seed, chunk: expected >= 0, got -1, 0"):
        chunk_seed(-1, "signal", 0)


def test_missing_packages_are_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(ImportError, match=r"jaxphys\[events\].*missing: pythia8mc"):
        require_events_extra()
    with pytest.raises(ImportError, match=r"pip install 'jaxphys\[events\]'"):
        start_pythia(Process(), 1)


def fake(monkeypatch, jets_above):
    """Puts numbered events in place of Pythia and of its detector."""
    monkeypatch.setattr(collisions, "start_pythia", lambda process, seed: [])

    def collide(pythia, tries):
        number = np.arange(len(pythia), len(pythia) + tries)
        pythia.extend(number)
        return Truth(number, np.empty((tries, 4)), np.arange(tries + 1))

    def answer(truth, rng):
        rows = np.stack([truth.pdg, rng.random(len(truth.pdg)), truth.pdg], axis=1)
        return rows.astype(np.float32), truth.offset

    monkeypatch.setattr(collisions, "final_particles", collide)
    monkeypatch.setattr(collisions, "detect", answer)
    monkeypatch.setattr(
        collisions, "trigger", lambda x, offset: x[:, 0] % 10 >= jets_above
    )


@pytest.mark.parametrize("count", [0, 1, 50, 100])
def test_fewer_events_are_the_beginning_of_more(monkeypatch, count):
    fake(monkeypatch, jets_above=5)
    long = accepted_events(Process(), 3, 4, 130)
    short = accepted_events(Process(), 3, 4, max(count, 1))
    assert len(long.offset) == 131
    np.testing.assert_array_equal(
        short.particles, long.particles[: len(short.particles)]
    )
    assert len(short.particles) == max(count, 1)
    assert np.all(long.particles[:, 0] % 10 >= 5)
    assert long.tries % BATCH == 0
    assert long.tries >= 260
    other = accepted_events(Process(), 3, 5, 130)
    assert np.all(other.particles[:, 1] != long.particles[:, 1])


def test_a_process_without_hard_jets_is_given_up(monkeypatch):
    fake(monkeypatch, jets_above=99)
    with pytest.raises(ValueError, match="0 of 20032 collisions have a jet above 1200"):
        accepted_events(Process(), 0, 0, 10)


def test_trigger_asks_for_one_hard_jet(events_extra):
    events = {
        "one particle": ([(1250, 0.1, 3.0)], True),
        "softer": ([(1150, 0.1, 3.0)], False),
        "two in a jet": ([(700, 0, 1.0), (600, 0.3, 1.5)], True),
        "two jets": ([(700, 0, 1.0), (600, 0.3, 2.5)], False),
        "across phi = pi": ([(700, 0, 3.1), (600, 0.3, -3.1)], True),
        "none": ([], False),
        "forward": ([(1, 0, 0.0), (1300, 2.0, 1.0)], True),
    }
    rows = [row for event, _ in events.values() for row in event]
    offset = np.cumsum([0, *(len(event) for event, _ in events.values())])
    found = trigger(np.array(rows, np.float32), offset)
    wanted = {name: hard for name, (_, hard) in events.items()}
    assert dict(zip(events, found.tolist(), strict=True)) == wanted
    assert not trigger(np.array(rows, np.float32)[1:2], np.array([0, 1])).any()


def test_collisions_conserve_momentum(events_extra):
    truth = final_particles(start_pythia(Process(), 5), 8)
    assert len(truth.offset) == 9
    total = np.add.reduceat(truth.momentum, truth.offset[:-1])
    np.testing.assert_allclose(total[:, :3], 0, atol=1e-3)
    np.testing.assert_allclose(total[:, 3], 13_000, rtol=1e-6)


@pytest.mark.parametrize("kind", collisions.KINDS)
def test_equal_seeds_make_equal_events(events_extra, kind):
    first, again = (accepted_events(Process(kind), 1, 2, 6) for _ in range(2))
    assert isinstance(first, Chunk)
    np.testing.assert_array_equal(first.particles, again.particles)
    np.testing.assert_array_equal(first.offset, again.offset)
    assert len(first.offset) == 7
    assert trigger(first.particles, first.offset).all()
    other = accepted_events(Process(kind), 1, 3, 6)
    assert not np.array_equal(other.offset, first.offset)
