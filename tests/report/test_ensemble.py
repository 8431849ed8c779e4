"""The report of an ensemble shows every run and their spread."""

import json
import math

import pytest

from jaxphys.report import Column
from jaxphys.report.ensemble import write_ensemble

COLUMNS = [Column("error", "mm"), Column("slope")]
KEYS = ("error", "slope")


def test_mean_and_spread_over_runs(tmp_path):
    members = {
        "seed 0": {"error": 1.0, "slope": 4.0, "other": 9.0},
        "seed 1": {"error": 3.0, "slope": 4.0, "other": 9.0},
    }
    found = write_ensemble(tmp_path, "toy", members, COLUMNS, keys=KEYS)
    assert found["mean"] == {"error": 2.0, "slope": 4.0}
    assert found["std"]["error"] == pytest.approx(math.sqrt(2))
    assert found["std"]["slope"] == 0
    text = (tmp_path / "report.html").read_text()
    assert text.count("seed 0") == 1
    assert "standard deviation" in text
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["numbers"]["members"]["seed 1"]["error"] == 3.0


def test_a_single_run_has_no_spread(tmp_path):
    members = {"seed 0": {"error": 1.0, "slope": 4.0}}
    found = write_ensemble(tmp_path, "toy", members, COLUMNS, keys=KEYS)
    assert math.isnan(found["std"]["error"])


def test_a_run_without_the_number_is_named(tmp_path):
    members = {"seed 0": {"error": 1.0}}
    with pytest.raises(ValueError, match="seed 0: the report lacks slope"):
        write_ensemble(tmp_path, "toy", members, COLUMNS, keys=KEYS)
    with pytest.raises(ValueError, match="without runs"):
        write_ensemble(tmp_path, "toy", {}, COLUMNS, keys=KEYS)
