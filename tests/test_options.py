"""Values of flags are checked against what was declared of them."""

import pytest

from jaxphys import options
from jaxphys.options import Option, check_value, is_list, scalar_type

COUNT = Option("how many", unit="tracks", minimum=1, maximum=9)
KIND = Option("kind", choices=("x", "y"))


@pytest.mark.parametrize(
    ("kind", "details", "value"),
    [
        (int, COUNT, 9),
        (float, Option("rate"), 2),
        (str, KIND, "y"),
        (tuple[int, ...], COUNT, (1, 9)),
        (tuple[str, ...], KIND, ()),
        (bool, Option("switch"), True),
    ],
)
def test_good_values_pass(kind, details, value):
    check_value("name", kind, details, value)


@pytest.mark.parametrize(
    ("kind", "details", "value", "message"),
    [
        (int, COUNT, 0, "--name=0: expected at least 1 tracks"),
        (int, COUNT, 10, "--name=10: expected at most 9 tracks"),
        (int, COUNT, 2.5, "--name=2.5: expected int, got float"),
        (int, COUNT, True, "--name=True: expected int, got bool"),
        (float, Option("rate"), float("nan"), "expected a finite number"),
        (str, KIND, "z", "--name='z': expected one of x, y"),
        (str, Option("text"), "a\nb", "a line break is not allowed"),
        (tuple[int, ...], COUNT, [1], "expected a tuple"),
        (tuple[int, ...], COUNT, (1, 10), "--name=10: expected at most 9 tracks"),
    ],
)
def test_bad_values_are_refused_by_name(kind, details, value, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        check_value("name", kind, details, value)


def test_lists_are_known_and_checked_by_their_elements():
    assert is_list(tuple[float, ...])
    assert not is_list(float)
    assert scalar_type(tuple[float, ...]) is float
    assert scalar_type(str) is str


def test_flags_that_are_no_more_are_dropped_and_told(capsys):
    saved = {"samples": "3", "other_seed": "5", "third": "0"}
    kept = options.without(saved, ("other_seed", "third"), ("0", "0"))
    assert kept == {"samples": "3"}
    said = capsys.readouterr().err
    assert "--other_seed=5 of an earlier version" in said
    assert "--third" not in said
