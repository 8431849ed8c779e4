"""Tables of a report: numbers rounded for reading, exact in the JSON."""

import dataclasses
import math
import numbers
from collections.abc import Sequence
from typing import Any

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_NO_VALUE = "–"
_INFINITE = ("∞", "−∞")


def format_number(value: Any, digits: int = 3) -> str:
    """Returns a number as readers expect it in a table.

    Integers keep all digits with thousands separators. Floats keep `digits`
    significant ones, with a power of ten outside 0.001 to 100,000. A value that does
    not exist (None, NaN) becomes a dash and an infinite one the sign ∞, so that
    neither can be taken for a result.

    Args:
        value: an int, a float, a numpy scalar, None or a text (returned unchanged).
        digits: significant digits of a float.

    Returns:
        The text.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return _NO_VALUE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return _signed(f"{int(value):,}")
    value = float(value)
    if math.isnan(value):
        return _NO_VALUE
    if math.isinf(value):
        return _INFINITE[value < 0]
    if value == 0.0:
        return "0"
    # the exponent of the rounded number: 0.9996 with three digits is 1.00
    mantissa, exponent_text = f"{value:.{digits - 1}e}".split("e")
    exponent = int(exponent_text)
    if -3 <= exponent < 5:
        return _signed(f"{value:,.{max(0, digits - 1 - exponent)}f}")
    return _signed(mantissa) + "×10" + str(exponent).translate(_SUPERSCRIPT)


def _signed(text: str) -> str:
    return text.replace("-", "−")


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: the heading, also the key in the JSON.
        unit: the unit, shown in brackets behind the heading.
        digits: significant digits of its floats.
    """

    name: str
    unit: str = ""
    digits: int = 3

    @property
    def heading(self) -> str:
        """The name with its unit."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell as it is shown: text and whether it stands right-aligned."""

    text: str
    numeric: bool


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a report.

    Attributes:
        caption: one sentence on what is shown.
        columns: the columns; a plain text is a column without a unit.
        rows: the rows, each with one value (number, text or None) per column.
        notes: sentences under the table.
        emphasis: indices of the rows in bold.
        empty: the sentence that stands in place of a table without rows.
    """

    caption: str
    columns: Sequence[Column | str]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()
    emphasis: Sequence[int] = ()
    empty: str = "There is nothing to list."

    def __post_init__(self):
        for index, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.caption!r}, row {index}: expected "
                    f"{len(self.columns)} values, got {len(row)}"
                )

    @property
    def heads(self) -> list[Column]:
        """The columns, all of them as Column."""
        return [Column(c) if isinstance(c, str) else c for c in self.columns]

    @property
    def numeric_columns(self) -> list[bool]:
        """Which columns hold numbers: these, heading included, stand to the right."""
        return [
            any(_is_number(row[i]) for row in self.rows)
            for i in range(len(self.columns))
        ]

    @property
    def cells(self) -> list[list[Cell]]:
        """The rows as they are shown."""
        numeric, heads = self.numeric_columns, self.heads
        return [
            [
                Cell(format_number(value, head.digits), right)
                for value, head, right in zip(row, heads, numeric, strict=True)
            ]
            for row in self.rows
        ]

    @property
    def all_notes(self) -> list[str]:
        """The notes, with an explanation of each sign that stands for no number."""
        shown = {cell.text for row in self.cells for cell in row}
        notes = list(self.notes)
        if _NO_VALUE in shown:
            notes.append(f"{_NO_VALUE} no value: no entries, or not measured.")
        if shown & set(_INFINITE):
            notes.append("∞ the number left the range of floating point.")
        return notes

    def records(self) -> list[dict[str, Any]]:
        """Returns the rows as dictionaries from column heading to exact value."""
        return [
            {head.heading: value for head, value in zip(self.heads, row, strict=True)}
            for row in self.rows
        ]


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
