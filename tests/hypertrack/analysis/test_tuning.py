import itertools

import numpy as np
import pytest

from jaxphys.hypertrack.analysis import evaluation, tuning
from tests.hypertrack.analysis.test_evaluation import (  # noqa: F401
    events,
    found,
    tracker,
)
from tests.hypertrack.plain_events import event_from_arrays


def test_f1_is_the_mean_of_efficiency_and_purity():
    track = np.repeat([0, 1, 2], 5)
    labels = np.repeat([4, 4, 7], 5)  # one match, one merged pair without
    (matching,) = evaluation.match_events([event_of(track)], [labels])
    assert tuning.f1([matching]) == pytest.approx(2 * 1 / (3 + 2))
    (empty,) = evaluation.match_events([event_of(track[:0])], [labels[:0]])
    assert tuning.f1([empty]) == 0


def event_of(track):

    position = np.zeros((len(track), 3), np.float32)
    return event_from_arrays(1, position, track, weight=np.ones(len(track)))


def test_the_best_of_all_combinations_is_taken_the_first_of_equals(
    tracker, found  # noqa: F811
):  # fmt: skip
    grid = {"threshold": (1.0, 0.5, 0.2), "min_overlap": (0.99, 0.4, 0.3)}
    options, value = tuning.tune(tracker, "jaccard", found, grid)
    values = {}
    for pair in itertools.product(*grid.values()):
        asked = dict(zip(grid, pair, strict=True))
        result = evaluation.cluster(tracker, "jaccard", found, asked)
        values[pair] = tuning.f1(result.matchings)
    best = max(values.values())
    assert value == best == 1
    assert tuple(options.values()) == next(p for p, v in values.items() if v == best)


def test_every_simple_method_has_a_grid_of_its_own_options(tracker, found):  # noqa: F811
    for method in evaluation.METHODS[1:]:
        first = {name: values[0] for name, values in tuning.GRIDS[method].items()}
        labels = evaluation.label_hits(tracker, method, found[0], first)
        assert labels.shape == (found[0].event.num_hits,)


def test_without_an_event_nothing_is_tuned(tracker):  # noqa: F811
    with pytest.raises(ValueError, match="at least one event"):
        tuning.tune(tracker, "cut", [])
