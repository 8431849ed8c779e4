"""Recorded scores and analyses of the original are reproduced within tolerance."""

import numpy as np
import pytest

from jaxphys.equivalence.golden import compare, read
from jaxphys.equivalence.replay import replay
from jaxphys.gdynet.replay.scores import CASES
from tests.conftest import GOLDEN

FILES = [
    path
    for path in sorted((GOLDEN / "gdynet").glob("*.npz"))
    if path.stem.partition("__")[0] in CASES
]
# the others need a compilation each
QUICK = ("koopman", "deeptime_scores__wide", "_s4_float64", "_s5_float64")


def is_quick(stem):
    return stem.startswith(QUICK) or stem.endswith(QUICK)


def marked(path):
    marks = () if is_quick(path.stem) else pytest.mark.slow
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("path", [marked(path) for path in FILES])
def test_golden_file_replays_within_tolerance(path):
    rows = replay(read(path))
    assert len(rows) >= 10
    assert [row for row in rows if not row.ok] == []


def test_each_case_has_recorded_files():
    assert {path.stem.partition("__")[0] for path in FILES} == set(CASES)


def test_wrong_timescale_would_be_seen():
    golden = read(GOLDEN / "gdynet" / "koopman__soft.npz")
    found = dict(CASES["koopman"].replay(golden))
    found["its"] = np.asarray(found["its"]) * 1.0001
    missed = [row.name for row in compare(golden, found) if not row.ok]
    assert missed == ["its"]
