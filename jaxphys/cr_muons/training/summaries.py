"""What a training step shows as histograms: counts, conditions, real and fake muons."""

from collections.abc import Mapping
from typing import Any

import numpy as np

MOST_MUONS = 200_000


def histograms(
    batch: Mapping[str, Any],
    fakes: Any | None = None,
    fake_event: Any | None = None,
    most: int = MOST_MUONS,
) -> dict[str, np.ndarray]:
    """Returns the values of the histograms of a step, without padding.

    Args:
        batch: of the step, normalised: conditions [..., B, 4], num_muons [..., B],
            features [..., M, F], muon_event [..., M] (B: padding), event_mask
            [..., B]; leading axes are parts of the batch.
        fakes: features of generated muons [..., K, F]; None: none.
        fake_event: [..., K] their events, as muon_event.
        most: muons of each kind, the first ones.

    Returns:
        Values by name: data/counts, data/primaries_dim<i>, real/muon_feat<i> and
        fake/muon_feat<i>; a name may hold no value.

    Raises:
        ValueError: fakes are given without their events.
    """
    real_event = np.asarray(batch["event_mask"]) > 0
    conditions = np.asarray(batch["conditions"])[real_event]
    found = {"data/counts": np.asarray(batch["num_muons"])[real_event]}
    found |= _columns("data/primaries_dim", conditions)
    places = real_event.shape[-1]
    real = np.asarray(batch["features"])
    held = np.asarray(batch["muon_event"]) < places
    found |= _columns("real/muon_feat", real[held][:most])
    if fakes is not None:
        if fake_event is None:
            raise ValueError("histograms: fakes need fake_event, got None")
        made = np.asarray(fakes)[np.asarray(fake_event) < places]
        found |= _columns("fake/muon_feat", made[:most])
    return found


def _columns(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}{i}": column for i, column in enumerate(values.T)}
