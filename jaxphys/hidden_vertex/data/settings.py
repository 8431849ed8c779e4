"""Where events come from, how they are prepared, and which parts they are split in."""

import dataclasses
from typing import ClassVar

from jaxphys.options import ORIGINAL, option, structural

CONTENTS = ("knn", "radius", "jets", "event")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EventFlags:
    """Files of events, their parts, and what is simulated."""

    GROUP: ClassVar = "data"

    prepared: str = option(
        "",
        "folder of the store that is made of a raw --data file, which runs on the same "
        "data can share; empty: inside --workdir",
    )
    extra_data: tuple[str, ...] = option(
        (),
        "further files or stores that the report scores, a line each; signal without "
        "background is set against the background of the run",
    )
    scan_limit: int = structural(
        0, "read only the first rows of a raw file; 0: all", unit="rows", minimum=0
    )
    read_rows: int = option(
        4096, "rows of a raw file that are held in memory", unit="rows", minimum=1
    )
    workers: int = option(
        2, "processes of prepare and simulate", unit="processes", minimum=1
    )
    contents: tuple[str, ...] = option(
        (),
        "what prepare stores besides the particles; empty: what --model reads",
        choices=CONTENTS,
    )
    check_only: bool = option(
        False, "prepare: read and check the data, and keep nothing"
    )
    allow_unscaled: bool = option(
        False, "accept values of log pT above 20, which look like pT in GeV"
    )
    train_fraction: float = structural(
        0.7, "part of the background for training", minimum=0.0, maximum=1.0
    )
    val_fraction: float = structural(
        0.15, "part of the background for validation", minimum=0.0, maximum=1.0
    )
    subset_size: int = structural(
        0,
        "train on events whose row in the file is below this only, prepare these rows "
        "only; 0: all",
        unit="rows",
        minimum=0,
    )
    max_train_events: int = structural(
        0,
        "train on the first events of the shuffled ones only; 0: all",
        unit="events",
        minimum=0,
    )
    contamination: float = structural(
        0.0,
        "fraction of signal events among the training events, on purpose",
        minimum=0.0,
        maximum=0.9,
    )
    train_target: int = structural(
        0,
        "train on the first background rows of the file; 0: by --train_fraction",
        unit="events",
        minimum=0,
        group=ORIGINAL,
    )
    test_bg_target: int = structural(
        0,
        "background rows of the test, with --train_target",
        unit="events",
        minimum=0,
        group=ORIGINAL,
    )
    test_sig_target: int = structural(
        0,
        "signal rows of the test, with --train_target",
        unit="events",
        minimum=0,
        group=ORIGINAL,
    )
    kind: str = option(
        "mixture",
        "simulate: both kinds of events, or one",
        choices=("mixture", "background", "signal"),
    )
    num_events: int = option(
        20_000,
        "simulate: background events, or events of --kind=signal",
        unit="events",
        minimum=1,
    )
    num_signal: int = option(
        2_000, "simulate: signal events of --kind=mixture", unit="events", minimum=1
    )
    m_v: float = option(
        3500.0, "simulate: mass of the resonance", unit="GeV", minimum=1.0
    )
    m_x: float = option(
        500.0, "simulate: mass of its first product", unit="GeV", minimum=1.0
    )
    m_y: float = option(
        100.0, "simulate: mass of its second product", unit="GeV", minimum=1.0
    )
    mpi: bool = option(False, "simulate: several parton collisions in an event")
