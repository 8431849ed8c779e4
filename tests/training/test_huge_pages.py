"""A process starts again at most once, and only where huge pages can be had."""

import pytest

from jaxphys.training import huge_pages

KERNEL = "always [madvise] never\n"


def test_setting_is_added_to_those_that_are_there():
    found = huge_pages.environment({"A": "1"}, ("glibc", "2.39"), KERNEL)
    assert found == {
        "A": "1",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "JAXPHYS_HUGE_PAGES": "1",
    }
    env = {"GLIBC_TUNABLES": "glibc.malloc.check=3"}
    found = huge_pages.environment(env, ("glibc", "2.39"), KERNEL)
    assert found is not None
    assert found["GLIBC_TUNABLES"] == "glibc.malloc.check=3:glibc.malloc.hugetlb=1"
    assert huge_pages.environment(found, ("glibc", "2.39"), KERNEL) is None


@pytest.mark.parametrize(
    ("env", "libc", "kernel"),
    [
        ({}, ("glibc", "2.31"), KERNEL),
        ({}, ("", ""), KERNEL),
        ({}, ("glibc", "2.39"), "always madvise [never]\n"),
        ({}, ("glibc", "2.39"), ""),
        ({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=2"}, ("glibc", "2.39"), KERNEL),
    ],
)
def test_nothing_is_started_where_nothing_is_gained(env, libc, kernel):
    assert huge_pages.environment(env, libc, kernel) is None


def test_process_is_replaced_by_the_same_command(monkeypatch):
    calls = []
    monkeypatch.setattr(huge_pages.os, "execve", lambda *a: calls.append(a))
    monkeypatch.setattr(huge_pages, "environment", lambda *a: {"X": "1"})
    huge_pages.start_again("experiments.gdynet", ["--epochs=2"])
    (path, command, env), *rest = calls
    assert not rest
    assert command == [path, "-m", "experiments.gdynet", "--epochs=2"]
    assert env == {"X": "1"}


@pytest.mark.parametrize("switch", ["--nohuge_pages", "--huge_pages=false"])
def test_process_is_kept_where_huge_pages_are_switched_off(monkeypatch, switch):
    calls = []
    monkeypatch.setattr(huge_pages.os, "execve", lambda *a: calls.append(a))
    monkeypatch.setattr(huge_pages, "environment", lambda *a: {"X": "1"})
    huge_pages.start_again("experiments.gdynet", ["--epochs=2", switch])
    assert calls == []
