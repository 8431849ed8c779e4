"""Symbols of the elements, by atomic number."""

import numpy as np

_ROW = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu "
    "Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba "
    "La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi "
    "Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es"
)
SYMBOLS: list[str] = list(_ROW.split())


def atomic_number(symbol: str) -> int:
    """Returns the atomic number of a symbol; "X" is 0, an unknown kind.

    Raises:
        ValueError: If there is no such element up to 99.
    """
    wanted = symbol.strip().capitalize()
    if wanted not in SYMBOLS:
        raise ValueError(f"element {symbol!r}: expected a symbol such as Li or Ti")
    return SYMBOLS.index(wanted)


def atoms_of(symbol: str, atom_types: np.ndarray) -> np.ndarray:
    """Returns the atoms of an element.

    Args:
        symbol: Of the element.
        atom_types: [N] atomic numbers.

    Raises:
        ValueError: If there are none; names the elements that there are.
    """
    found = np.flatnonzero(np.asarray(atom_types) == atomic_number(symbol))
    if not len(found):
        present = ", ".join(SYMBOLS[z] for z in np.unique(atom_types))
        raise ValueError(f"element {symbol!r}: no such atom, there are {present}")
    return found
