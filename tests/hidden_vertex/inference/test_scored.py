import dataclasses

import numpy as np
import pytest

from tests.hidden_vertex.scored_events import make_scored


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"headline": "nll"}, r"expected one of \['combined', 'latent'\], got 'nll'"),
        ({"size": np.ones(3)}, "size: expected one entry for each of 400 events"),
        ({"observables": {"n": np.ones(9)}}, r"observables\['n'\].*got 9"),
        (
            {"scores": {"combined": np.where(np.arange(400) == 2, np.nan, 0.0)}},
            "event 10006: expected a finite number, got nan",
        ),
    ],
)
def test_events_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_scored(**changes)


def test_events_are_counted_by_kind():
    scored = make_scored()
    assert scored.counts == {"events": 400, "background": 300, "signal": 100}
    assert dataclasses.replace(scored, label=None).counts == {"events": 400}
