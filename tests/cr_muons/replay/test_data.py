"""Recorded normalisation and order of reading are reproduced."""

import pathlib

import pytest

from jaxphys.cr_muons.replay.data import CASES
from jaxphys.equivalence.golden import read
from jaxphys.equivalence.replay import replay

FOLDER = pathlib.Path(__file__).parents[2] / "equivalence/golden/cr_muons"
FILES = sorted(p for case in CASES for p in FOLDER.glob(f"{case}__*.npz"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recorded_file_replays_within_tolerance(path):
    rows = replay(read(path))
    assert rows
    assert [row for row in rows if not row.ok] == []


def test_files_are_there():
    assert len(FILES) == 12
