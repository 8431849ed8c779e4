"""Flagfiles that ship and commands of the pages fit the flags of their experiment."""

import importlib
import pathlib
import re
import shlex

import pytest
from absl import flags

from jaxphys import command_line
from jaxphys.training import app

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted((ROOT / "experiments").glob("*/flags/*.flags"))
EXPERIMENTS = sorted({path.parents[1].name for path in FILES})
PAGES = [ROOT / "README.md", *sorted((ROOT / "experiments").glob("*/README.md"))]
COMMAND = re.compile(r"python -m experiments\.(\w+) (--[^`#\n]*)")
COMMANDS = [
    found
    for page in PAGES
    for found in COMMAND.findall(page.read_text())
    if "--flagfile=..." not in found[1] and not found[1].startswith("--help")
]


def config_of(name):
    return importlib.import_module(f"experiments.{name}.config").Config


def given_in(path):
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parents[1].name}-{p.stem}")
def test_flagfile_parses_and_survives_being_written_down(path, tmp_path):
    kind = config_of(path.parents[1].name)
    found = command_line.parse_command_line(kind, [f"--flagfile={path}"])
    again = tmp_path / "config.flags"
    again.write_text(command_line.to_flagfile(found))
    assert command_line.read_flagfile(kind, again) == found


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parents[1].name}-{p.stem}")
def test_flagfile_gives_every_flag_once_and_says_what_it_is_for(path):
    names = [line.lstrip("-").split("=")[0] for line in given_in(path)]
    assert sorted(names) == sorted(set(names))
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parents[1].name}-{p.stem}")
def test_flagfile_names_a_workdir_of_its_own_outside_of_the_package(path):
    kind = config_of(path.parents[1].name)
    found = command_line.parse_command_line(kind, [f"--flagfile={path}"])
    assert found.mode == "train"
    others = [
        command_line.parse_command_line(kind, [f"--flagfile={other}"]).workdir
        for other in FILES
        if other.parent == path.parent and other != path
    ]
    assert found.workdir.startswith("runs/")
    assert found.workdir not in others


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_ships_the_three_flagfiles(name):
    folder = ROOT / "experiments" / name / "flags"
    assert {"quickstart", "seed", "best"} <= {p.stem for p in folder.glob("*.flags")}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_declares_its_name_and_renames_to_flags_that_exist(name):
    kind = config_of(name)
    assert name == kind.EXPERIMENT
    fields = kind.__dataclass_fields__
    for old, new in kind.RENAMED.items():
        assert old not in fields, old
        assert all(
            word.lstrip("-").split("=")[0].rstrip(",;") in {*fields, "flagfile"}
            for word in new.split()
            if word.startswith("--")
        ), new


@pytest.mark.parametrize(("name", "arguments"), COMMANDS, ids=str.strip)
def test_commands_of_the_pages_are_understood(name, arguments, tmp_path, monkeypatch):
    kind, values = config_of(name), flags.FlagValues()
    command_line.define_flags(kind, values)
    monkeypatch.chdir(tmp_path)  # where no run is
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    found = command_line.parse_command_line(kind, shlex.split(arguments), values)
    given = command_line.given_flags(kind, values)
    if found.mode in ("evaluate", "predict", "export"):
        with pytest.raises(ValueError, match="no run there"):
            app.resolve(found, given)
    else:
        assert app.resolve(found, given) == found
