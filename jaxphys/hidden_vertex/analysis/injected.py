"""Does the score of an event rise when one of its particles is made harder?"""

import pathlib
import shutil

import numpy as np

from jaxphys.hidden_vertex.data.injection import Injected
from jaxphys.hidden_vertex.data.prepare import prepare
from jaxphys.hidden_vertex.data.store import Store
from jaxphys.hidden_vertex.inference.predict import Detector


def injected_scores(
    detector: Detector,
    store: Store,
    positions: np.ndarray,
    strength: float,
    seed: int,
    folder: pathlib.Path,
) -> np.ndarray:
    """Returns the scores of events with a harder particle each, [E].

    Args:
        detector: a trained run.
        store: holds the events.
        positions: of the events in the store, [E].
        strength: factor on the pT of the particle.
        seed: chooses the particles.
        folder: for the changed events; is made anew and removed.
    """
    source = Injected(store, positions, strength, seed)
    shutil.rmtree(folder, ignore_errors=True)
    recipe = detector.reading.recipe((detector.network.sees,))
    changed = prepare(source, folder, recipe, allow_unscaled=True)
    found = detector.predict(changed).score
    shutil.rmtree(folder)
    return found
