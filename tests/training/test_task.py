"""What a task and a run's progress are made of."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxphys.training.task import Interval, Progress

NUMBERS = st.floats(allow_nan=False)
ANY_UNIT = ("steps", "rounds", "seconds")


@settings(max_examples=50, deadline=None)
@given(
    step=st.integers(0, 2**40),
    rate=NUMBERS,
    total=st.tuples(NUMBERS, NUMBERS),
    history=st.lists(st.fixed_dictionaries({"step": st.integers(0, 9), "x": NUMBERS})),
)
def test_progress_survives_json_exactly(step, rate, total, history):
    before = Progress(
        step=step,
        round=3,
        step_in_round=2,
        phase="slow",
        stop="why",
        totals={"loss": total},
        history=tuple(history),
        extra={"learning_rate": rate, "best": math.inf},
    )
    assert Progress.from_json(json.loads(json.dumps(before.to_json()))) == before


def test_progress_in_json_shares_nothing_with_the_run():
    before = Progress(totals={"loss": (1.0, 2.0)}, extra={"a": 1.0})
    found = before.to_json()
    found["extra"]["a"] = 2.0
    found["totals"]["loss"][0] = 5.0
    found["history"].append({})
    assert before == Progress(totals={"loss": (1.0, 2.0)}, extra={"a": 1.0})


def test_entries_of_extra_are_set_without_losing_others():
    before = Progress(extra={"a": 1.0, "b": 2.0})
    assert before.with_extra(b=3.0, c=4.0).extra == {"a": 1.0, "b": 3.0, "c": 4.0}
    assert before.extra == {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5 rounds", Interval(5, "rounds")),
        ("5rounds", Interval(5, "rounds")),
        (" 1 round ", Interval(1, "rounds")),
        ("100 steps", Interval(100, "steps")),
        ("1e3 steps", Interval(1000, "steps")),
        ("0.5 seconds", Interval(0.5, "seconds")),
    ],
)
def test_interval_is_read(text, expected):
    assert Interval.parse(text, flag="f", units=ANY_UNIT) == expected


@pytest.mark.parametrize(
    "text",
    ["", "rounds", "5", "0 steps", "-1 rounds", "1.5 steps", "nan steps", "inf rounds",
     "1e999 rounds", "1e999 seconds", "5 minutes", "5 5 steps", "five steps"],
)  # fmt: skip
def test_other_interval_is_refused_naming_the_flag(text):
    with pytest.raises(ValueError, match=r"--f=.*expected a positive number and one"):
        Interval.parse(text, flag="f", units=ANY_UNIT)


def test_unit_that_is_not_allowed_is_refused_with_the_allowed_ones():
    with pytest.raises(ValueError, match=r"steps, rounds, for example '5 steps'"):
        Interval.parse("5 seconds", flag="eval_every", units=("steps", "rounds"))
