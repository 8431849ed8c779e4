"""A process starts again at most once, and only where huge pages can be had."""

import os
import platform
import subprocess
import sys

import pytest

from jaxphys.training.process import huge_pages

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
    command = ["python", "-X", "dev", "-m", "experiments.gdynet", "--epochs=2"]
    huge_pages.start_again(command)
    (path, again, env), *rest = calls
    assert not rest
    assert again == [path, *command[1:]]
    assert env == {"X": "1"}


@pytest.mark.parametrize("switch", ["--nohuge_pages", "--huge_pages=false"])
def test_process_is_kept_where_huge_pages_are_switched_off(monkeypatch, switch):
    calls = []
    monkeypatch.setattr(huge_pages.os, "execve", lambda *a: calls.append(a))
    monkeypatch.setattr(huge_pages, "environment", lambda *a: {"X": "1"})
    huge_pages.start_again(["python", "-m", "experiments.gdynet", switch])
    assert calls == []


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        (["-m", "experiments.cr_muons", "--help"], huge_pages.SETTING),
        (["-m", "experiments.cr_muons", "--help", "--nohuge_pages"], ""),
        (["-c", "import experiments"], ""),
    ],
)
def test_a_program_starts_again_before_it_imports_much(tmp_path, options, setting):
    if huge_pages.environment({}, platform.libc_ver(), huge_pages.kernel()) is None:
        pytest.skip("no huge pages to be had here")
    name = "sitecustomize"  # imported by every start of an interpreter
    log = tmp_path / "starts"
    (tmp_path / f"{name}.py").write_text(
        f"import os\nopen({str(log)!r}, 'a').write("
        "os.environ.get('GLIBC_TUNABLES', '') + '\\n')\n"
    )
    env = {k: v for k, v in os.environ.items() if k not in huge_pages.VARIABLES}
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, *options]
    subprocess.run(command, env=env, check=False, capture_output=True, timeout=120)
    starts = log.read_text().split("\n")[:-1]
    assert starts == (["", setting] if setting else [""])
