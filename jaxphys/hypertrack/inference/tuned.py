"""What the end of a run chose: the options of every clustering without a network.

They lie in the folder of the run, so that its report, `--mode=predict` and `load_run`
make the same tracks of an event.
"""

import hashlib
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxphys.data.files import write_json
from jaxphys.hypertrack.inference import simple_clustering
from jaxphys.hypertrack.physics.events import Event

TUNED_FILE = "tuned.json"

# method -> its options and the score that they reached; NaN: nothing was chosen
Tuned = Mapping[str, tuple[dict[str, Any], float]]


class Stored(NamedTuple):
    """Content of the file.

    Attributes:
      tuned: options and score of every method.
      made_from: what they were chosen for; others are not for the same.
    """

    tuned: Tuned
    made_from: Mapping[str, Any]


def made_from(
    weights: Mapping[str, Any], events: Sequence[Event], hits_min: int
) -> dict[str, Any]:
    """Returns what a choice depends on, in JSON's types.

    Args:
      weights: of `jaxphys.training.best.Weights.facts`.
      events: that were tuned on; a moved file is the same.
      hits_min: fewest hits of a track that counts.
    """
    content = hashlib.sha256()
    for event in events:
        for array in (event.position, event.label, event.weight):
            content.update(np.ascontiguousarray(array).tobytes())
    names = ("weights", "weights_step", "weights_phase")
    return {
        **{name: weights.get(name) for name in names},
        "events": [int(event.event_id) for event in events],
        "content": content.hexdigest(),
        "hits_min": hits_min,
    }


def write_tuned(workdir: str | os.PathLike, stored: Stored) -> None:
    """Writes the choice into the folder of a run."""
    methods = {
        method: {"options": options, "f1": None if math.isnan(score) else score}
        for method, (options, score) in stored.tuned.items()
    }
    content = {"made_from": dict(stored.made_from), "methods": methods}
    write_json(pathlib.Path(workdir) / TUNED_FILE, content)


def read_tuned(workdir: str | os.PathLike) -> Stored | None:
    """Returns the choice of a run; None: it has not come to its end, or is an old one.

    Raises:
      ValueError: the file is damaged.
    """
    path = pathlib.Path(workdir) / TUNED_FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
        tuned = {
            method: (dict(own["options"]), math.nan if own["f1"] is None else own["f1"])
            for method, own in found["methods"].items()
        }
        return Stored(tuned, found["made_from"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: damaged; remove it and --mode=evaluate, which makes it anew"
        ) from error


def best_simple(tuned: Tuned) -> str:
    """Returns the method that takes over where that of a run does not apply.

    It is the best of those that any event can be clustered by, the first of equal ones;
    empty: there is none.
    """
    scores = {m: score for m, (_, score) in tuned.items() if _is_simple(m)}
    return max(scores, key=lambda method: scores[method], default="")


def _is_simple(method: str) -> bool:
    return method in simple_clustering.ALGORITHMS
