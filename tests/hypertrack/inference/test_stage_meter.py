import time

import numpy as np
import pytest

from jaxphys.hypertrack.inference import stage_meter
from jaxphys.hypertrack.inference.stage_meter import StageMeter


def test_stages_add_up_and_keep_their_memory():
    meter = StageMeter()
    with meter.stage("small"):
        time.sleep(0.02)
    with meter.stage("large"):
        size = 200 * 2**20
        assert np.ones(size, np.uint8).sum() == size
    with meter.stage("small"):
        time.sleep(0.02)
    assert 0.04 <= meter.seconds["small"] < 1
    assert meter.cpu_seconds["small"] < meter.seconds["small"]
    assert meter.peak == meter.peak_bytes["large"]
    assert meter.peak_bytes["large"] > meter.peak_bytes["small"] + 100 * 2**20


def test_a_stage_that_fails_is_measured_and_the_error_goes_on():
    meter = StageMeter()
    with pytest.raises(RuntimeError), meter.stage("bad"):
        raise RuntimeError
    assert "bad" in meter.seconds


def test_without_the_files_of_linux_the_largest_memory_so_far_counts(monkeypatch):
    monkeypatch.setattr(stage_meter, "_STATUS", "/nowhere")
    monkeypatch.setattr(stage_meter, "_RESET", "/nowhere")
    meter = StageMeter()
    with meter.stage("one"):
        pass
    assert meter.peak > 2**20
    memory = stage_meter.device_peak_bytes()
    assert memory is None or memory >= 0
