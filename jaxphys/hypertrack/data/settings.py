"""Which events train, validate and are reconstructed."""

import dataclasses
from typing import ClassVar

from jaxphys.hypertrack.data.reduction import MODES
from jaxphys.options import option, structural


@dataclasses.dataclass(frozen=True, kw_only=True)
class EventFlags:
    """Events of each part of a run, the voxels, and simulated or converted events."""

    GROUP: ClassVar = "data"

    event_start: tuple[int, ...] = structural(
        (),
        "first event numbers of the ranges that train the net; empty: by "
        "--train_fraction",
    )
    event_end: tuple[int, ...] = structural(
        (), "last event numbers of the ranges that train the net"
    )
    val_data: str = option(
        "", "events that validate; empty: those of --data", change="training"
    )
    event_val_start: tuple[int, ...] = option(
        (),
        "first event numbers of the ranges that validate and are reported; empty: by "
        "--val_fraction",
        change="training",
    )
    event_val_end: tuple[int, ...] = option(
        (),
        "last event numbers of the ranges that validate and are reported",
        change="training",
    )
    voxel_fraction: float = structural(
        0.5,
        "part of --data that trains the voxels, where no ranges are given; the net, "
        "of a run whose voxels are trained elsewhere",
        minimum=0.0,
        maximum=1.0,
    )
    train_fraction: float = structural(
        0.3,
        "part of --data that trains the net, where no ranges are given",
        minimum=0.0,
        maximum=1.0,
    )
    val_fraction: float = structural(
        0.2,
        "part of --data that validates, where no ranges are given",
        minimum=0.0,
        maximum=1.0,
    )
    voxdyn: str = structural(
        "", "file of trained voxels; empty: voxels are trained first, inside --workdir"
    )
    voxel_data: tuple[str, ...] = structural(
        (), "data sets that train the voxels; empty: --data"
    )
    voxel_event_start: tuple[int, ...] = structural(
        (),
        "first event numbers of the ranges that train the voxels; empty: by "
        "--voxel_fraction",
    )
    voxel_event_end: tuple[int, ...] = structural(
        (), "last event numbers of the ranges that train the voxels"
    )
    ncell: tuple[int, ...] = structural(
        (131072,),
        "number of voxels; --mode=voxels trains a file for each of several numbers",
        minimum=1,
    )
    allow_voxels_mismatch: bool = option(
        False, "accept voxels that were trained with another --node2node or --ncell"
    )
    read_threads: int = option(
        1,
        "threads that make the graphs of a training; 0: none beside the training's own",
        unit="threads",
        minimum=0,
    )
    workers: int = option(
        1, "processes of simulate and prepare", unit="processes", minimum=1
    )
    mu: float = option(
        20.0,
        "simulate: mean number of collisions of an event",
        unit="collisions",
        minimum=0.0,
    )
    n_events: int = option(48, "simulate: number of events", unit="events", minimum=1)
    first_event_id: int = option(1, "simulate: number of the first event", minimum=0)
    check_only: bool = option(
        False, "prepare: read and check the data, and write nothing"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReductionFlags:
    """Which part of an event a graph of the training keeps."""

    GROUP: ClassVar = "data"

    rfactor_start: float = structural(
        0.01,
        "smallest fraction of the particles of an event that a graph keeps",
        minimum=1e-6,
        maximum=1.0,
    )
    rfactor_end: float = structural(
        0.01,
        "largest fraction of the particles of an event that a graph keeps",
        minimum=1e-6,
        maximum=1.0,
    )
    noise_ratio: float = structural(
        0.05,
        "noise hits over all hits of a graph; -1: as many as in the data",
        minimum=-1.0,
        maximum=0.99,
    )
    reduce: str = structural(
        "track",
        "what a graph keeps of an event: random tracks, whole vertices, or a sector in "
        "azimuth at full density",
        choices=MODES,
    )
    period: float = structural(
        1.0,
        "probability that an iteration takes a new event, and not that of the "
        "iteration before",
        minimum=1e-6,
        maximum=1.0,
    )
