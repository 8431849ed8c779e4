"""The top of the library: a run from its folder, whichever system it belongs to."""

import importlib
import os
import pathlib
from typing import Any


def load_run(workdir: str | os.PathLike, **settings: Any) -> Any:
    """Loads the trained model of a run, whichever system it belongs to.

    Args:
      workdir: folder of the run, as given to --workdir.
      **settings: of ``jaxphys.<system>.inference.load``, for example weights="last".

    Returns:
      The model with a method `predict`; its arguments are those of the system.

    Raises:
      ValueError: the folder holds no run.
    """
    path = pathlib.Path(workdir) / "config.flags"
    first = path.read_text().splitlines()[:1] if path.is_file() else []
    head = "# experiment: "
    if not first or not first[0].startswith(head):
        raise ValueError(f"{workdir}: no run there (expected {path})")
    system = first[0].removeprefix(head)
    if not is_system(system):
        raise ValueError(f"{path}: unknown experiment {system!r}")
    return importlib.import_module(f"jaxphys.{system}.inference").load(
        workdir, **settings
    )


def is_system(name: str) -> bool:
    """Returns whether the library has a system of that name."""
    if not name.isidentifier():
        return False
    folder = pathlib.Path(__file__).parent / name
    return (folder / "inference").is_dir() or (folder / "inference.py").is_file()
