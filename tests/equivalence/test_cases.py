"""A case declares its outputs: a record that lacks one is told so, by name."""

import dataclasses
import importlib
import pathlib

import numpy as np
import pytest

from jaxphys.equivalence import golden as g
from jaxphys.equivalence.cases import Case, matching

FILES = sorted((pathlib.Path(__file__).parent / "golden").glob("*/*.npz"))


def toy(tmp_path, outputs, **meta):
    path = tmp_path / "toy__a.npz"
    known = {"system": "s", "case": "c", "config": {"wide": False}, "tolerance": {}}
    arrays = {name: np.zeros(1) for name in outputs}
    g.write(path, {**known, **meta}, outputs=arrays)
    return g.read(path)


def nothing(golden):
    return {}


def without(golden, name):
    outputs = {key: array for key, array in golden.outputs.items() if key != name}
    return dataclasses.replace(golden, outputs=outputs)


def test_declared_name_is_lacking_even_where_the_replay_does_not_give_it(tmp_path):
    case = Case(nothing, ("y", "z"))
    assert case.lacking(toy(tmp_path, ["y"]), ()) == ["z"]
    assert case.lacking(toy(tmp_path, ["y", "z"]), ()) == []


def test_members_of_a_family_are_those_that_the_replay_gives(tmp_path):
    case = Case(nothing, ("y", "grad/*"))
    produced = ("y", "grad/a", "grad/b", "more")
    assert case.lacking(toy(tmp_path, ["grad/a"]), produced) == ["grad/b", "y"]
    assert case.lacking(toy(tmp_path, ["y"]), ()) == []


def test_config_decides_where_the_declaration_is_a_function(tmp_path):
    case = Case(nothing, lambda f: ("y", "z") if f.config["wide"] else ("y",))
    assert case.lacking(toy(tmp_path, ["y"]), ("y", "z")) == []
    wide = toy(tmp_path, ["y"], config={"wide": True})
    assert case.lacking(wide, ("y", "z")) == ["z"]


def test_tolerance_of_an_output_does_not_declare_it(tmp_path):
    golden = toy(tmp_path, ["y"], tolerance={"y": {"atol": 1.0}, "z": {"atol": 1.0}})
    assert Case(nothing, ("y",)).lacking(golden, ("y",)) == []


def test_output_that_the_file_says_has_no_meaning_need_not_be_there(tmp_path):
    golden = toy(tmp_path, ["y"], not_compared=["z", "grad"])
    assert Case(nothing, ("y", "z", "grad/*")).lacking(golden, ("grad/a",)) == []


def test_first_of_the_names_and_families_matches():
    names = ("grad/*", "*/label", "y")
    assert matching(names, "grad/a/label") == "grad/*"
    assert matching(names, "batch/0/label") == "*/label"
    assert matching(names, "yy") is None


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_any_output_that_is_taken_out_of_a_record_is_named(path):
    """The replays of these files give at least what they record."""
    golden = g.read(path)
    system = importlib.import_module(f"jaxphys.{golden.meta['system']}.replay")
    case = system.CASES[golden.meta["case"]]
    compared = [n for n in golden.outputs if not g.without_meaning(golden, n)]
    assert compared
    assert case.lacking(golden, golden.outputs) == []
    for name in compared:
        assert case.lacking(without(golden, name), golden.outputs) == [name]
