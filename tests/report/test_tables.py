import numpy as np
import pytest

from jaxphys.report import Column, Table, format_number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0172, "0.0172"),
        (0.01716, "0.0172"),
        (1.0, "1.00"),
        (0.9996, "1.00"),
        (28.44, "28.4"),
        (1234.5, "1,234"),  # 1234.5 is halfway and rounds to even
        (-0.5, "−0.500"),
        (1.3e-5, "1.30×10⁻⁵"),
        (-2e7, "−2.00×10⁷"),
        (0.0, "0"),
        (108_996, "108,996"),
        (np.int64(7), "7"),
        (np.float32(0.25), "0.250"),
        (True, "yes"),
        ("RK4", "RK4"),
    ],
)
def test_numbers_read_with_three_significant_digits(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize("value", [None, float("nan"), np.float32("nan")])
def test_a_missing_value_is_a_dash_and_never_a_number(value):
    assert format_number(value) == "–"


def test_infinite_values_keep_their_sign():
    assert format_number(float("inf")) == "∞"
    assert format_number(float("-inf")) == "−∞"


def test_rounding_loses_at_most_half_a_unit_of_the_last_digit():
    rng = np.random.default_rng(3)
    for value in 10 ** rng.uniform(-2.9, 4.9, 200):
        shown = float(format_number(value, digits=3).replace(",", ""))
        assert abs(shown - value) <= 0.5 * max(1.0, 1e-2 * value)
        assert abs(shown / value - 1) <= 5.1e-3


def test_columns_of_numbers_stand_to_the_right_and_texts_to_the_left():
    table = Table("t", ["method", Column("mean", "mm")], [("Born", 1), ("RK4", None)])
    assert table.numeric_columns == [False, True]
    assert [cell.numeric for cell in table.cells[1]] == [False, True]
    assert table.heads[1].heading == "mean [mm]"


def test_signs_without_a_number_are_explained_below_the_table():
    table = Table("t", ["a"], [(float("nan"),), (float("inf"),)], notes=["own"])
    assert table.all_notes[0] == "own"
    assert any(note.startswith("– no value") for note in table.all_notes)
    assert any("∞" in note for note in table.all_notes)
    assert Table("t", ["a"], [(1.0,)]).all_notes == []


def test_records_keep_the_exact_values():
    table = Table("t", ["m", Column("e", "mm")], [("x", 0.123456789)])
    assert table.records() == [{"m": "x", "e [mm]": 0.123456789}]


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="row 1: expected 2 values, got 1"):
        Table("t", ["a", "b"], [(1, 2), (3,)])
