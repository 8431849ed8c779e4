"""Scalars of an evaluation: zero for the truth itself, blind to padding and parts."""

import numpy as np
import pytest

from jaxphys.cr_muons.analysis import validation
from jaxphys.cr_muons.physics.conditions import DEFAULT
from jaxphys.cr_muons.physics.normalise import fit_feature_norm
from jaxphys.cr_muons.simulation import simulate

EVENTS = simulate(DEFAULT, 60, 5)
NORM = fit_feature_norm(EVENTS.muons, "original")


def padded(array, size, fill):
    width = [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1)
    return np.pad(array, width, constant_values=fill)[None]


def batch_of(events, scale=1.0, spare=0):
    """Returns an evaluated batch; muons are generated with energies times a scale."""
    count, places = len(events), len(events.muons) + spare
    slots = count + spare
    owner = np.repeat(np.arange(count), events.num_muons)
    made = events.muons * np.array([scale, 1, 1], np.float32)
    return {
        "primaries": padded(events.primaries, slots, 1.0),
        "num_muons": padded(events.num_muons, slots, 0),
        "event_mask": padded(np.ones(count), slots, 0),
        "muons": padded(events.muons, places, 1.0),
        "muon_event": padded(owner, places, slots),
        "fake_count": padded(events.num_muons, slots, 0),
        "fake_features": padded(np.asarray(NORM.apply(made)), places, 0.0),
        "fake_event": padded(owner, places, slots),
        "lost": np.int32(0),
    }


def test_truth_is_at_no_distance_from_itself():
    found = validation.summarize(NORM, [batch_of(EVENTS)])
    assert found["val_w1_sum"] == pytest.approx(0, abs=1e-4)
    assert found["val_p0_diff"] == 0
    assert found["val_fano_ratio"] == pytest.approx(1)
    assert found["val_mean_muons"] == pytest.approx(EVENTS.num_muons.mean())


def test_ten_times_the_energy_is_one_decade_and_padding_does_not_count():
    whole = validation.summarize(NORM, [batch_of(EVENTS, 10.0)])
    assert whole["val_w1_logE"] == pytest.approx(1, abs=1e-3)
    assert whole["val_w1_logr"] == pytest.approx(0, abs=1e-4)
    half = len(EVENTS) // 2
    first, rest = np.arange(half), np.arange(half, len(EVENTS))
    parts = [
        batch_of(EVENTS.select(np.isin(np.arange(len(EVENTS)), rows)), 10.0, spare)
        for rows, spare in ((first, 7), (rest, 3))
    ]
    assert validation.summarize(NORM, parts) == pytest.approx(whole, rel=1e-5)


def test_classifier_is_trained_where_it_chooses():
    found = validation.summarize(
        NORM, [batch_of(EVENTS, 10.0)], best_by="classifier_auc"
    )
    assert found["val_classifier_auc"] > 0.9
