"""Every recorded case of the original is reproduced within its tolerance."""

import pathlib

import numpy as np
import pytest

from jaxphys.equivalence.golden import compare, read
from jaxphys.equivalence.replay import replay
from jaxphys.hidden_vertex.replay.cases import CASES, RULES

FOLDER = pathlib.Path(__file__).parents[2] / "equivalence/golden/hidden_vertex"
FILES = sorted(FOLDER.glob("*.npz"))


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if not p.stem.startswith("train")],
    ids=lambda path: path.stem,
)
def test_golden_file_replays_within_tolerance(path):
    rows = replay(read(path))
    assert rows
    assert [row for row in rows if not row.ok] == []


def test_every_case_has_a_recorded_file():
    assert {read(path).meta["case"] for path in FILES} == set(CASES)


def verdicts(stem, name, change):
    """Returns whether an output passes after a change of the recorded one."""
    golden = read(FOLDER / f"{stem}.npz")
    value = golden.outputs[name]
    moved = {**golden.outputs, name: change(value.copy())}
    return [row.ok for row in compare(golden, moved, RULES) if row.name == name]


def test_senders_are_compared_as_sets_per_receiver():
    def swap(a, b):
        def change(senders):
            senders[[a, b]] = senders[[b, a]]
            return senders

        return change

    stem = "graph_build__real_k6"
    assert verdicts(stem, "senders", swap(0, 5)) == [True]  # of the same receiver
    assert verdicts(stem, "senders", swap(0, 6)) == [False]  # of the next one
    assert verdicts(stem, "senders", lambda s: s[:-1]) == [False]


def test_top_events_may_change_places_only_where_scores_tie():
    def other(index):
        index[0] = (set(range(len(index) + 1)) - set(index.tolist())).pop()
        return index

    assert verdicts("scores__ties", "top_index", lambda i: i) == [True]
    assert verdicts("scores__distinct", "top_index", lambda i: i[::-1]) == [False]
    assert verdicts("scores__ties", "top_index", other) == [False]
    assert verdicts("scores__ties", "top_index", lambda i: i * 0 + i[0]) == [False]
    golden = read(FOLDER / "scores__ties.npz")
    index = golden.outputs["top_index"]
    score = golden.inputs["score_used"][index]
    equal = np.flatnonzero(np.diff(score) == 0)
    assert len(equal)
    swapped = index.copy()
    swapped[[equal[0], equal[0] + 1]] = index[[equal[0] + 1, equal[0]]]
    assert verdicts("scores__ties", "top_index", lambda i: swapped) == [True]
