"""Physics training systems in JAX."""

import importlib
import os
import pathlib
from typing import Any


def load_run(workdir: str | os.PathLike, **settings: Any) -> Any:
    """Loads the trained model of a run, whichever system it belongs to.

    Args:
      workdir: folder of the run, as given to --workdir.
      **settings: of ``jaxphys.<system>.predict.load``, for example weights="last".

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
    folder = pathlib.Path(__file__).parent / system
    places = [
        p for p in ("inference/predict", "predict") if (folder / f"{p}.py").is_file()
    ]
    if not places:
        raise ValueError(f"{path}: unknown experiment {system!r}")
    place = places[0].replace("/", ".")
    module = importlib.import_module(f"jaxphys.{system}.{place}")
    return module.load(workdir, **settings)
