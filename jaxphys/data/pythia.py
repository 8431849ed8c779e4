"""Starts Pythia 8 from the wheel pythia8mc (extra `events`).

Reference: C. Bierlich et al. (Pythia 8.3), SciPost Phys. Codebases 8 (2022).
"""

import importlib
import os
import pathlib
import sysconfig
from collections.abc import Sequence
from typing import Any

MOST_SEED = 900_000_000  # Pythia replaces 0 and larger ones


def require_packages(names: Sequence[str], purpose: str) -> None:
    """Raises an ImportError that says what to install if a package is missing.

    Args:
        names: modules of the extra `events`.
        purpose: what needs them, for the message.
    """
    missing = []
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            missing.append(f"{name} ({error})")
    if missing:
        raise ImportError(
            f"{purpose} needs {', '.join(names)}: pip install 'jaxphys[events]'; "
            f"missing: {', '.join(missing)}"
        )


def initialise_pythia(settings: Sequence[str], what: str) -> Any:
    """Returns an initialised generator.

    Args:
        settings: lines as in a file of Pythia, "Name = value".
        what: the process, for messages.

    Raises:
        ImportError: if pythia8mc is not installed.
        ValueError: if Pythia refuses a setting or the process.
    """
    require_packages(("pythia8mc",), "the simulation of collisions")
    pythia8mc: Any = importlib.import_module("pythia8mc")
    folder = xml_folder(pythia8mc.__file__)
    if folder is not None:
        os.environ.setdefault("PYTHIA8DATA", str(folder))
    pythia = pythia8mc.Pythia("", False)
    for setting in settings:
        if not pythia.readString(setting):
            raise ValueError(f"Pythia refused the setting {setting!r}")
    if not pythia.init():
        raise ValueError(
            f"Pythia could not be initialised for {what}, its tables from "
            f"PYTHIA8DATA={os.environ.get('PYTHIA8DATA')}"
        )
    return pythia


def xml_folder(module_file: str) -> pathlib.Path | None:
    """Returns where the package put its tables, or None."""
    roots = [
        pathlib.Path(sysconfig.get_path("data")),
        *pathlib.Path(module_file).parents,
    ]
    for root in roots:
        folder = root / "share" / "Pythia8" / "xmldoc"
        if (folder / "Index.xml").is_file():
            return folder
    return None
