"""SIGTERM is noticed, not obeyed at once; handlers are given back."""

import os
import signal
import threading

import pytest

from jaxphys.training.process.preemption import EXIT_CODE, Preemption


def test_exit_code_is_the_documented_one():
    assert EXIT_CODE == 75


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_is_remembered_until_asked(number):
    with Preemption() as preemption:
        assert not preemption.reached()
        os.kill(os.getpid(), number)
        assert preemption.reached()
        assert preemption.reached()


def test_handlers_are_given_back_even_after_an_exception():
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]

    def fail():
        with Preemption():
            assert signal.getsignal(signal.SIGTERM) != before[0]
            raise RuntimeError("within")

    with pytest.raises(RuntimeError, match="within"):
        fail()
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


def test_second_interrupt_ends_at_once():
    with Preemption() as preemption:
        os.kill(os.getpid(), signal.SIGINT)
        assert preemption.reached()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_outside_the_main_thread_signals_are_left_alone():
    found = []
    before = signal.getsignal(signal.SIGTERM)

    def enter():
        with Preemption() as preemption:
            found.append((signal.getsignal(signal.SIGTERM), preemption.reached()))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [(before, False)]


def test_processes_are_synchronised_by_a_count_without_gaps(monkeypatch):
    """JAX's service compares for equality: a skipped number would never be met."""
    seen = []
    monkeypatch.setattr("jax.process_count", lambda: 2)
    monkeypatch.setattr(
        "jax.experimental.multihost_utils.reached_preemption_sync_point",
        lambda number: seen.append(number) or number == 3,
    )
    preemption = Preemption()
    assert [preemption.reached() for _ in range(4)] == [False, False, True, False]
    assert seen == [1, 2, 3, 4]
