"""The top of the library: a run from its folder, whichever system it belongs to."""

import importlib
import json
import os
import pathlib
from typing import Any

_HEAD = "# experiment: "


class Run:
    """A trained run.

    What is not named here is that of the system's model: `predict`, and what it has
    besides (``jacobian`` of a track extrapolator, ``sample`` of a generator).

    Attributes:
      workdir: its folder.
      system: that it belongs to.
      model: of ``jaxphys.<system>.inference.load``.
    """

    def __init__(self, workdir: str | os.PathLike, system: str, model: Any):
        self.workdir, self.system, self.model = pathlib.Path(workdir), system, model

    def __getattr__(self, name: str) -> Any:
        if name == "model":  # not set yet: while the run is copied
            raise AttributeError(name)
        return getattr(self.model, name)

    def predict(self, *arguments: Any, **settings: Any) -> Any:
        """Applies the model; the arguments are those of the system."""
        return self.model.predict(*arguments, **settings)

    @property
    def config(self) -> Any:
        """The flags that the run was made with."""
        experiment = _experiment_of(self.system)
        reader = importlib.import_module("jaxphys.command_line")
        return reader.read_flagfile(experiment.config, self.workdir / "config.flags")

    @property
    def history(self) -> list[dict[str, Any]]:
        """The evaluations of the run in order, scalars by name."""
        return importlib.import_module("jaxphys.training.writer").read_metrics(
            self.workdir
        )

    def report(self, output: str | os.PathLike = "", **flags: Any) -> dict[str, Any]:
        """Makes the page of the run anew, on its own test part.

        Args:
          output: folder of the page; empty: the one in the workdir.
          **flags: others than the run was made with, as --mode=evaluate takes them.

        Returns:
          The content of report.json.

        Raises:
          ValueError: a flag that may not change.
        """
        return self._evaluated(output, flags)

    def evaluate(
        self, data: str | os.PathLike, output: str | os.PathLike = "", **flags: Any
    ) -> dict[str, Any]:
        """Scores data that the run was not trained on, and makes a page of them.

        Args:
          data: as --data takes it.
          output: folder of the page; empty: ``evaluation`` in the workdir.
          **flags: others than the run was made with.

        Returns:
          The content of report.json.

        Raises:
          ValueError: bad data, or those that the run was trained on.
        """
        where, place = output or self.workdir / "evaluation", os.fspath(data)
        place = place if "://" in place else os.path.abspath(place)
        return self._evaluated(where, {**flags, "data": place})

    def _evaluated(self, output: str | os.PathLike, flags: dict) -> dict[str, Any]:
        folder = pathlib.Path(output or self.workdir / "report")
        app = importlib.import_module("jaxphys.training.app")
        modes = importlib.import_module("jaxphys.training.modes")
        experiment = _experiment_of(self.system)
        places = {"workdir": str(self.workdir), "output": str(folder)}
        given = {**flags, **places, "mode": "evaluate"}
        config = app.resolve(experiment.config(**given), list(given))
        session = app.Session(f"load_run({str(self.workdir)!r})", frozenset(given))
        modes.evaluate(experiment, config, session)
        return json.loads((folder / "report.json").read_text())


def load_run(workdir: str | os.PathLike, **settings: Any) -> Run:
    """Loads the trained model of a run, whichever system it belongs to.

    Args:
      workdir: folder of the run, as given to --workdir.
      **settings: of ``jaxphys.<system>.inference.load``, for example weights="last".

    Returns:
      The run; its method `predict` takes the arguments of the system.

    Raises:
      ValueError: the folder holds no run.
    """
    path = pathlib.Path(workdir) / "config.flags"
    first = path.read_text().splitlines()[:1] if path.is_file() else []
    if not first or not first[0].startswith(_HEAD):
        raise ValueError(f"{workdir}: no run there (expected {path})")
    system = first[0].removeprefix(_HEAD)
    if not is_system(system):
        raise ValueError(f"{path}: unknown experiment {system!r}")
    room = importlib.import_module(f"jaxphys.{system}.inference")
    return Run(workdir, system, room.load(workdir, **settings))


def is_system(name: str) -> bool:
    """Returns whether the library has a system of that name."""
    if not name.isidentifier():
        return False
    folder = pathlib.Path(__file__).parent / name
    return (folder / "inference").is_dir() or (folder / "inference.py").is_file()


def _experiment_of(system: str) -> Any:
    return importlib.import_module(f"experiments.{system}.experiment").EXPERIMENT
