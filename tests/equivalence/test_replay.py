"""Recorded cases are replayed by the system that they name."""

import importlib
import pathlib

import numpy as np
import pytest

from jaxphys.equivalence import golden as g
from jaxphys.equivalence.replay import replay
from tests.structure.checkout import systems

HERE = pathlib.Path(__file__).parent / "golden"
FILES = sorted(HERE.glob("*/*.npz"))
TESTS = pathlib.Path(__file__).parents[1]
# rooms with many cases replay them one by one in tests of their own
HERE_ONLY = [
    path for path in FILES if not (TESTS / path.parent.name / "replay").is_dir()
]


@pytest.mark.parametrize("path", HERE_ONLY, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_recorded_case_is_within_tolerance(path):
    golden = g.read(path)
    assert golden.meta["system"] == path.parent.name
    rows = replay(golden)
    assert rows
    assert [row for row in rows if not row.ok] == []


def test_there_are_recorded_cases_and_they_are_small():
    assert FILES
    assert sum(path.stat().st_size for path in FILES) < 15e6


@pytest.mark.parametrize("system", systems())
def test_every_system_has_cases(system):
    module = importlib.import_module(f"jaxphys.{system}.replay")
    assert module.CASES
    assert all(callable(case) for case in module.CASES.values())


def toy(tmp_path, **meta):
    path = tmp_path / "toy__a.npz"
    known = {"system": "track_extrapolator", "case": "lr_plateau", "config": {}}
    g.write(path, {**known, "tolerance": {}, **meta}, outputs={"y": np.zeros(1)})
    return g.read(path)


def test_unknown_case_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"toy__a\.npz: unknown case 'x'.*lr_plateau"):
        replay(toy(tmp_path, case="x"))


@pytest.mark.parametrize(
    "system", ["os", "training", "", "equivalence", "track_extrapolator.inference"]
)
def test_unknown_system_is_refused(tmp_path, system):
    with pytest.raises(ValueError, match="unknown system"):
        replay(toy(tmp_path, system=system))


def test_every_recorded_output_can_miss():
    """A change of one part in a hundred of any number is seen."""
    path = next(p for p in FILES if p.stem.startswith("mlp_train"))
    golden = g.read(path)
    without_meaning = golden.meta.get("not_compared", [])
    assert len(without_meaning) < len(golden.outputs)
    for name, value in golden.outputs.items():
        moved = {**golden.outputs, name: value * 1.01 + np.abs(value).max() * 0.01}
        missed = [row.name for row in g.compare(golden, moved) if not row.ok]
        assert missed == [n for n in [name] if n not in without_meaning]
