"""Each warning appears where its condition holds, and nowhere else."""

import numpy as np
import pytest

from jaxphys.gdynet.training.accumulate import SetScores
from jaxphys.gdynet.training.score_warnings import (
    Circumstances,
    warnings_at_start,
    warnings_of_scores,
)

GOOD = SetScores(1.9, 1.8, 1.8, 0.01, 1.79, np.array([0.2, 0.3, 0.5]), 0.4)
RUN = Circumstances(num_states=3, rows=2000, lag=10.0, train_vamp2=1.85, slowest=80.0)


def changed(**fields):
    return Circumstances(**{**vars(RUN), **fields})


def test_good_run_has_no_warning():
    assert warnings_at_start(RUN) == {}
    assert warnings_of_scores(GOOD, RUN) == {}
    assert warnings_of_scores(GOOD, changed(train_vamp2=None, slowest=None)) == {}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"num_species": 2}, "static_identity"),
        ({"rows": 41}, "small_batch"),  # 4/40 is the twentieth part of 2
        ({"epsilon": 9e-9}, "epsilon"),
    ],
)
def test_warnings_at_the_start(fields, name):
    expected = [] if fields == {"rows": 41} else [name]
    assert list(warnings_at_start(changed(**fields))) == expected
    if name == "small_batch":
        assert list(warnings_at_start(changed(rows=40))) == [name]


def test_small_epsilon_is_fine_in_float64():
    assert warnings_at_start(changed(epsilon=1e-10, float64=True)) == {}


@pytest.mark.parametrize(
    ("scores", "fields", "name"),
    [
        ({"static": 0.21}, {}, "static_identity"),
        ({"populations": np.array([9e-4, 0.5, 0.5])}, {}, "collapsed"),
        ({"trace": 9e-7}, {}, "collapsed"),
        ({"vamp1": 2.002}, {}, "score_above_bound"),
        ({"vamp2": 2.002}, {}, "score_above_bound"),
        ({}, {"train_vamp2": 2.01}, "overfit"),
        ({}, {"slowest": 9.0}, "near_lag"),
    ],
)
def test_warnings_of_scores(scores, fields, name):
    found = warnings_of_scores(GOOD._replace(**scores), changed(**fields))
    assert list(found) == [name]
    assert len(found[name]) > 20


@pytest.mark.parametrize(
    "scores", [{"static": 0.19}, {"vamp1": 2.0009}, {"trace": 2e-6}]
)
def test_values_at_the_limits_pass(scores):
    assert warnings_of_scores(GOOD._replace(**scores), RUN) == {}
