"""What a run remembers beside its checkpoints: the data it was begun with."""

import dataclasses
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from jaxphys.data.files import read_json, write_json
from jaxphys.data.fingerprint import Fingerprint
from jaxphys.training.app import CHECKPOINTS
from jaxphys.training.checkpoint import Checkpointer

DATA_FILE = "data.json"


def remember_data(workdir: str | pathlib.Path, data: Fingerprint) -> None:
    """Writes what a run is begun with into its workdir."""
    write_json(pathlib.Path(workdir) / DATA_FILE, dataclasses.asdict(data))


def data_of(workdir: str | pathlib.Path) -> Fingerprint | None:
    """Returns what a run was begun with; None of one that does not remember it."""
    path = pathlib.Path(workdir) / DATA_FILE
    if not path.is_file():
        return None
    found = read_json(path)
    return Fingerprint(
        found["digest"], found["source"], tuple(found.get("trained", ()))
    )


def check_same_data(workdir: str | pathlib.Path, data: Fingerprint) -> None:
    """Refuses to go on with other data than a run was begun with.

    Raises:
      ValueError: names both.
    """
    begun = data_of(workdir)
    if begun is None:
        print(
            f"warning: {workdir}: an earlier version made this run, which did not "
            "remember its data: they are not compared",
            file=sys.stderr,
        )
    elif not begun.same(data):
        raise ValueError(
            f"{workdir}: the run was begun with other data, {begun.source}, now "
            f"{data.source}: use another --workdir (--init_from takes the weights)"
        )


def check_unseen(workdir: str | pathlib.Path, data: Fingerprint, allow: bool) -> None:
    """Refuses to evaluate a run on the data that it was trained on.

    Args:
      workdir: of the run.
      data: what is evaluated.
      allow: say it in a line and go on.

    Raises:
      ValueError: names the data and the flag that allows it.
    """
    begun = data_of(workdir)
    if begun is None or not begun.trains_on(data):
        return
    words = f"{data.source}: the run in {workdir} was trained on these data"
    if not allow:
        raise ValueError(
            f"{words}: without --data its own test part is evaluated "
            "(--allow_training_data evaluates all of them)"
        )
    print(f"warning: {words}; not an unbiased figure", file=sys.stderr)


def history_of(workdir: str | pathlib.Path) -> list[Mapping[str, Any]]:
    """Returns the evaluations of a run up to its latest checkpoint."""
    keeper = Checkpointer(pathlib.Path(workdir) / CHECKPOINTS, read_only=True)
    return list(keeper.read_latest()[1].history)
