"""Recorded training steps are reproduced."""

import pathlib

import pytest

from jaxphys.cr_muons.replay.training import CASES
from jaxphys.equivalence.golden import read
from jaxphys.equivalence.replay import replay

FOLDER = pathlib.Path(__file__).parents[2] / "equivalence/golden/cr_muons"
FILES = sorted(p for p in FOLDER.glob("*.npz") if p.stem.split("__")[0] in CASES)


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_file_replays_within_tolerance(path):
    rows = replay(read(path))
    assert rows
    assert [row for row in rows if not row.ok] == []
