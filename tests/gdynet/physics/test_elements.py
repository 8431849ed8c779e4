"""Symbols and atomic numbers."""

import numpy as np
import pytest

from jaxphys.gdynet.physics.elements import SYMBOLS, atomic_number, atoms_of


def test_symbols_are_numbered_from_zero_to_99():
    assert len(SYMBOLS) == 100
    assert len(set(SYMBOLS)) == 100
    known = {"X": 0, "H": 1, "li": 3, "S": 16, "TI": 22, "Ba": 56, "Pb": 82, "Es": 99}
    assert {symbol: atomic_number(symbol) for symbol in known} == known


def test_atoms_of_an_element():
    assert atoms_of("Li", np.array([3, 16, 3])).tolist() == [0, 2]
    with pytest.raises(ValueError, match="there are Li, S"):
        atoms_of("Ti", np.array([3, 16, 3]))
    with pytest.raises(ValueError, match="element 'Qq'"):
        atomic_number("Qq")
