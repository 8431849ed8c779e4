"""Every recorded case of the original is reproduced within its tolerance."""

import pathlib

import pytest

from jaxphys.equivalence.golden import read
from jaxphys.equivalence.replay import replay
from jaxphys.track_extrapolator.replay import CASES

FOLDER = pathlib.Path(__file__).parents[1] / "equivalence/golden/track_extrapolator"
FILES = sorted(FOLDER.glob("*.npz"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_file_replays_within_tolerance(path):
    rows = replay(read(path))
    assert rows
    misses = [row for row in rows if not row.ok]
    assert not misses


def test_every_case_has_a_recorded_file():
    assert {read(path).meta["case"] for path in FILES} == set(CASES)
