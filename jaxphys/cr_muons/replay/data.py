"""Replays the golden files of data: normalisation and the order of reading."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxphys.cr_muons.data.filters import Filters
from jaxphys.cr_muons.data.parquet_files import open_parquet
from jaxphys.cr_muons.data.schema import primaries_of_columns
from jaxphys.cr_muons.physics.normalise import (
    denormalise_muons,
    normalise_conditions,
    normalise_muons,
)
from jaxphys.cr_muons.replay.reader_batches import Outlier, training_calls
from jaxphys.equivalence.cases import Case
from jaxphys.equivalence.golden import Golden

Outputs = Mapping[str, Any]


def replay_normalise(golden: Golden) -> Outputs:
    """Conditions and features of raw numbers, and the way back."""
    primaries, _ = primaries_of_columns(golden.inputs["primaries"])
    muons, counts = golden.inputs["muons"], golden.inputs["counts"]
    if len(counts) != len(primaries) or counts.sum() != len(muons):
        raise ValueError(
            f"{golden.path}: input/counts: {len(counts)} events with {counts.sum()} "
            f"muons, expected {len(primaries)} with {len(muons)}"
        )
    return {
        "cond": normalise_conditions(primaries),
        "features": normalise_muons(muons),
        "denormalised": denormalise_muons(golden.outputs["features"]),
    }


def replay_parquet(golden: Golden) -> Outputs:
    """What each training step is called with, and the outliers set aside."""
    config = golden.config
    files = [
        _file(golden.inputs[f"file/{i}/parquet_bytes"], f"{golden.path}, file {i}")
        for i in range(config["n_files"])
    ]
    most, multi_file = config["max_muons_per_batch"], config["multi_file_shuffle"]
    per_event = config["max_muons_per_event"]
    filters = Filters(config["drop_empty_events"], per_event, most)
    steps, outliers = [], []
    # the recorded multi-file path looks for no outliers and trains on them
    calls = training_calls(
        files, config["batch_size"], filters, multi_file, multi_file > 0
    )
    for call in calls:
        (outliers if isinstance(call, Outlier) else steps).append(call)
    outputs: dict[str, Any] = {
        "n_steps": np.asarray(len(steps)),
        "n_outliers": np.asarray(len(outliers)),
    }
    for k, events in enumerate(steps):
        outputs |= {
            f"step/{k}/features": normalise_muons(events.muons),
            f"step/{k}/conditions": normalise_conditions(events.primaries),
            f"step/{k}/batch_index": events.event_of_muon().astype(np.int64),
            f"step/{k}/counts": events.num_muons.astype(np.int64),
        }
    for j, outlier in enumerate(outliers):
        outputs |= {
            f"outlier/{j}/primary": outlier.event.primaries[0],
            f"outlier/{j}/muons": outlier.event.muons,
            f"outlier/{j}/count": np.asarray(len(outlier.event.muons)),
            f"outlier/{j}/reader_batch": np.asarray(outlier.reader_batch),
            f"outlier/{j}/event_in_batch": np.asarray(outlier.event_in_batch),
        }
    return outputs


def _file(content, name):
    import pyarrow as pa

    buffer = pa.py_buffer(content.tobytes())
    return open_parquet(name, lambda: pa.BufferReader(buffer))


CASES = {
    "parquet": Case(replay_parquet, ("n_steps", "n_outliers", "step/*", "outlier/*")),
    "normalise": Case(replay_normalise, ("cond", "features", "denormalised")),
}
