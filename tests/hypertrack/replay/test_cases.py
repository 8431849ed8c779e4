"""Every recorded case has its function."""

import pathlib

from jaxphys.equivalence.golden import read
from jaxphys.hypertrack.replay.cases import CASES

FOLDER = pathlib.Path(__file__).parents[2] / "equivalence/golden/hypertrack"


def test_the_cases_are_those_of_the_recorded_files():
    found = {read(path).meta["case"] for path in FOLDER.glob("*.npz")}
    assert found == set(CASES)
