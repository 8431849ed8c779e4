"""Recorded networks, penalties and adaptations are reproduced."""

import pathlib

import pytest

from jaxphys.cr_muons.replay.model import CASES
from jaxphys.equivalence.golden import read
from jaxphys.equivalence.replay import replay

FOLDER = pathlib.Path(__file__).parents[2] / "equivalence/golden/cr_muons"
FILES = sorted(p for p in FOLDER.glob("*.npz") if p.stem.split("__")[0] in CASES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_file_replays_within_tolerance(path):
    rows = replay(read(path))
    assert rows
    assert [row for row in rows if not row.ok] == []


def test_a_wrong_weight_is_noticed():
    path = FOLDER / "critic_forward__ema_tanh_amax.npz"
    golden = read(path)
    golden.params["crit.point_net.1.bias"][0] += 1e-3
    assert not all(row.ok for row in replay(golden))
