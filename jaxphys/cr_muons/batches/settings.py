"""How events become batches."""

import dataclasses
from typing import ClassVar

from jaxphys.cr_muons.physics.normalise import FEATURE_NORMS
from jaxphys.options import option, structural


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchFlags:
    """Which events are trained on, in which order and in which units."""

    GROUP: ClassVar = "data"

    drop_empty_events: bool = structural(
        False, "leave events without muons out of the adversarial training"
    )
    thin_above: int = structural(
        0,
        "train on an event of N muons with probability thin_above / N, which needs "
        "--fake_counts=real; 0: on all events",
        unit="muons",
        minimum=0,
    )
    max_muons_per_event: int = structural(
        0,
        "training: events with more muons are set aside (--outliers_dir); predict: "
        "most muons of a generated event; 0: any number",
        unit="muons",
        minimum=0,
    )
    max_muons_per_batch: int = structural(
        0,
        "most muons of a batch, and of an event where --max_muons_per_event is 0; 0: "
        "as many as the batches need",
        unit="muons",
        minimum=0,
    )
    outliers_dir: str = option(
        "", "folder that receives the events that were set aside, as training files"
    )
    muon_budget: int = structural(
        0,
        "places for muons in a part of a batch; 0: as many as the data need",
        unit="muons",
        minimum=0,
    )
    parts: int = structural(
        0,
        "parts that a batch is packed in, a multiple of the devices times "
        "--grad_accum_steps; 0: just so many",
        minimum=0,
    )
    shuffle: bool = structural(False, "read the events in a new order in every epoch")
    shuffle_window: int = structural(
        0,
        "events that are shuffled together; 0: those of a file",
        unit="events",
        minimum=0,
    )
    multi_file_shuffle: int = structural(
        0,
        "files that are read in turn, a batch of the reader each; 0: one after the "
        "other",
        unit="files",
        minimum=0,
    )
    prefetch_batches: int = option(
        2, "row groups of a file that are decoded ahead", unit="row groups", minimum=0
    )
    read_threads: int = option(
        1, "threads that decode row groups", unit="threads", minimum=1
    )
    val_fraction: float = structural(
        0.05,
        "part of the showers that validates and chooses the best weights, by a hash of "
        "the shower's number",
        minimum=0.0,
        maximum=0.5,
    )
    val_events: int = structural(
        20_000, "most validation events of an evaluation", unit="events", minimum=1
    )
    depth_kind: str = structural(
        "vertical",
        "what the depth column of the data holds: vertical or slant depth",
        choices=("vertical", "slant"),
    )
    feature_norm: str = structural(
        "original",
        "scales of the muons' features: those of the original, standardised by the "
        "data, or log10 of energy and radius standardised (log_radius)",
        choices=FEATURE_NORMS,
    )
    rotate_augment: bool = structural(
        False, "turn each training event around its axis by a random angle"
    )
