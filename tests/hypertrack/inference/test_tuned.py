"""What the end of a run chose is in its folder, and is not for another choice."""

import dataclasses
import json
import math

import pytest

from jaxphys.hypertrack.inference import tuned
from tests.hypertrack.toy_tracks import toy_events

CHOSEN = {
    "transformer": ({}, math.nan),
    "cut": ({"threshold": 0.5}, 0.8),
    "jaccard": ({"threshold": 0.7, "min_overlap": 0.4}, 0.9),
    "hdbscan": ({"threshold": 0.2}, 0.9),
    "dbscan_latents": ({"eps": 1.0}, 0.95),
}
WEIGHTS = {"weights": "best", "weights_step": 7, "weights_phase": "joint", "mu": 20}


def test_what_was_chosen_is_read_as_it_was_written(tmp_path):
    assert tuned.read_tuned(tmp_path) is None
    basis = tuned.made_from(WEIGHTS, toy_events(2), 4)
    tuned.write_tuned(tmp_path, tuned.Stored(CHOSEN, basis))
    found = tuned.read_tuned(tmp_path)
    assert found is not None
    assert found.made_from == basis
    assert list(found.tuned) == list(CHOSEN)
    for method, (options, score) in CHOSEN.items():
        assert found.tuned[method][0] == options
        assert found.tuned[method][1] == pytest.approx(score, nan_ok=True)
    (path,) = tmp_path.iterdir()
    assert "NaN" not in path.read_text()


@pytest.mark.parametrize("text", ["", "[]", '{"methods": {"cut": {}}}'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / tuned.TUNED_FILE).write_text(text)
    with pytest.raises(ValueError, match=r"tuned\.json: damaged"):
        tuned.read_tuned(tmp_path)


def test_other_weights_events_and_tracks_ask_for_another_choice():
    one, other = toy_events(2)
    basis = tuned.made_from(WEIGHTS, [one, other], 4)
    assert json.loads(json.dumps(basis)) == basis
    assert tuned.made_from({**WEIGHTS, "mu": 3}, [one, other], 4) == basis
    moved = dataclasses.replace(other, position=other.position + 1)
    for changed in (
        tuned.made_from({**WEIGHTS, "weights_step": 8}, [one, other], 4),
        tuned.made_from(WEIGHTS, [one], 4),
        tuned.made_from(WEIGHTS, [one, moved], 4),
        tuned.made_from(WEIGHTS, [one, other], 3),
    ):
        assert changed != basis


def test_the_best_simple_method_is_one_that_every_event_can_be_clustered_by():
    assert tuned.best_simple(CHOSEN) == "jaccard"  # the first of equal ones
    latents = {"dbscan_latents": CHOSEN["dbscan_latents"]}
    assert tuned.best_simple({**latents, "transformer": ({}, math.nan)}) == ""
