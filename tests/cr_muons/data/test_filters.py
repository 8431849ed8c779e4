"""Filters take out what their flags say."""

import numpy as np
import pytest

from jaxphys.cr_muons.data.filters import Filters

COUNTS = np.array([0, 1, 5, 6, 0, 20])


@pytest.mark.parametrize(
    ("filters", "outliers", "kept"),
    [
        (Filters(), [], [0, 1, 2, 3, 4, 5]),
        (Filters(drop_empty=True), [], [1, 2, 3, 5]),
        (Filters(max_muons_per_event=5), [3, 5], [0, 1, 2, 4]),
        (Filters(max_muons_per_batch=6), [5], [0, 1, 2, 3, 4]),
        (Filters(True, 5, 100), [3, 5], [1, 2]),
    ],
)
def test_outliers_and_kept_events(filters, outliers, kept):
    assert np.flatnonzero(filters.outliers(COUNTS)).tolist() == outliers
    assert np.flatnonzero(filters.kept(COUNTS)).tolist() == kept


def test_negative_limits_are_refused():
    with pytest.raises(ValueError, match="max_muons_per_event"):
        Filters(max_muons_per_event=-1)
    with pytest.raises(ValueError, match="max_muons_per_batch"):
        Filters(max_muons_per_batch=-1)


def test_thinning_keeps_every_small_event_and_shares_muons_evenly():
    number = np.repeat(np.array([0, 1, 8, 16, 80], np.int32), 20_000)
    kept = Filters(thin_above=8).kept(number)
    found = {n: kept[number == n].mean() for n in (0, 1, 8, 16, 80)}
    assert found[0] == found[1] == found[8] == 1
    assert found[16] == pytest.approx(0.5, abs=0.02)
    assert found[80] == pytest.approx(0.1, abs=0.01)
    np.testing.assert_array_equal(Filters(thin_above=8).kept(number), kept)
