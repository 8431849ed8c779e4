import dataclasses
import json

import numpy as np
import pytest

from jaxphys.cr_muons.analysis.evaluation import (
    CRITERIA,
    Criterion,
    compare,
    compare_events,
    make_reference,
)
from jaxphys.cr_muons.physics.conditions import DEFAULT
from jaxphys.cr_muons.physics.events import Events, make_events
from jaxphys.cr_muons.simulation import simulate, simulate_conditions
from tests.cr_muons.conditions import conditions_of


@pytest.fixture(scope="module")
def reference():
    return make_reference(20_000, seed=100, floors=1)


def _sampler(**changes):
    settings = dataclasses.replace(DEFAULT, **changes)

    def sample(primaries, seed):
        conditions = conditions_of(primaries)
        random = np.random.default_rng([9, seed])
        parts = simulate_conditions(conditions, random, settings)
        return Events.concatenate(list(parts))

    return sample


def test_the_simulation_is_good_against_itself(reference):
    found = compare(reference, _sampler())
    assert found.missed == []
    names = {"w1_n", "w1_logE", "p0_difference", "fano_pooled", "classifier_auc"}
    assert names <= set(found.good)
    assert found.values["w1_n"] < 0.006
    assert list(found.values)[:-1] == [c.name for c in CRITERIA]
    assert found.rows[0].floor == reference.floor["w1_n"]
    assert all(low <= high for low, high in reference.floor.values())


def test_poisson_numbers_fail_the_fluctuation_test_alone(reference):
    found = compare(reference, _sampler(fluctuation=0.0))
    assert set(found.missed) == {"fano_pooled", "fano_median"}
    assert found.values["fano_pooled"] == pytest.approx(0.65, abs=0.05)


def test_wider_bundles_show_in_the_radius(reference):
    found = compare(reference, _sampler(transverse_scale=1.08))
    assert found.values["w1_logr"] == pytest.approx(0.033, abs=0.006)
    assert "w1_logr" not in found.good


def test_weaker_fluctuations_and_more_muons_are_seen(reference):
    more = compare(reference, _sampler(yield_scale=1.3)).values
    assert more["yield_median"] > 0.2
    wider = compare(reference, _sampler(fluctuation=1 / 0.7)).values
    assert wider["fano_pooled"] == pytest.approx(1.15, abs=0.06)


def test_a_model_with_one_number_and_one_place_is_told_apart(reference):
    def fixed(primaries, seed):
        del seed
        number = np.full(len(primaries), 3)
        muons = np.tile([[100.0, 5.0, 0.0]], (3 * len(primaries), 1))
        return make_events(primaries, number, muons)

    found = compare(reference, fixed)
    assert found.values["fano_pooled"] == 0
    assert found.values["classifier_auc"] > 0.99
    assert found.values["isotropy_p"] < 1e-3


def test_a_model_without_muons_is_reported_not_raised(reference):
    def silent(primaries, seed):
        del seed
        return make_events(primaries, np.zeros(len(primaries)), np.zeros((0, 3)))

    found = compare(reference, silent)
    verdicts = {row.name: row.verdict for row in found.rows}
    assert verdicts["w1_logE"] == verdicts["isotropy_p"] == "n/a"
    assert verdicts["w1_n"] == verdicts["p0_difference"] == "missed"
    text = json.dumps(found.describe(), allow_nan=False)
    assert json.loads(text)["w1_logE"]["value"] is None


def test_data_without_replicas_are_compared_by_a_regression():
    settings = dataclasses.replace(DEFAULT, num_depths=1)
    truth, same = (simulate(settings, 20_000, 3, s) for s in (1, 2))
    found = compare_events(truth, same)
    assert found.missed == []
    assert np.isfinite(list(found.values.values())).all()
    assert found.rows[0].floor is None


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.95, "good"), (1.25, "must"), (1.4, "missed"), (0.5, "missed"), (np.nan, "n/a")],
)
def test_verdicts_follow_the_limits(value, verdict):
    criterion = Criterion("fano", "Fano", (0.75, 1.3), (0.9, 1.1))
    assert criterion.verdict(value) == verdict
