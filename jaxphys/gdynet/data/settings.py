"""Where frames come from, and how a trajectory is prepared."""

import dataclasses
from typing import ClassVar

from jaxphys.gdynet.physics.neighbours import BACKENDS
from jaxphys.options import ORIGINAL, option, structural

CASES = ("A", "B", "C")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameFlags:
    """Files of frames, their parts, and simulated cases."""

    GROUP: ClassVar = "data"

    train_fnames: tuple[str, ...] = option(
        (),
        "training data in place of --data: folders of .npy, .npz archives, or the 4 "
        "(5) .npy files of one trajectory in the original's order",
        group=ORIGINAL,
    )
    val_fnames: tuple[str, ...] = option(
        (), "validation data of --train_fnames, in the same forms", group=ORIGINAL
    )
    test_fnames: tuple[str, ...] = option(
        (), "test data of --train_fnames, in the same forms", group=ORIGINAL
    )
    train_fraction: float = structural(
        0.8, "part of --data for training", minimum=0.0, maximum=1.0
    )
    val_fraction: float = structural(
        0.1,
        "part of --data for validation; the rest is the test, or, where there is none, "
        "the validation is the test too",
        minimum=0.0,
        maximum=1.0,
    )
    split_block: int = structural(
        0,
        "frames of a block of time of the split, where there are fewer than ten "
        "trajectories; 0: one block for each part",
        unit="frames",
        minimum=0,
    )
    frame_step: int = structural(
        1, "read every n-th frame of a recorded case only", unit="frames", minimum=1
    )
    trajectories: int = structural(
        0,
        "trajectories of a simulated case, or the first ones of a recorded one; 0: all",
        unit="trajectories",
        minimum=0,
    )
    frames: int = structural(
        0,
        "frames of each simulated trajectory; 0: the number of the case",
        unit="frames",
        minimum=0,
    )
    case: str = structural(
        "B",
        "case that is simulated: lithium in fcc sulphur (A), dipoles of a perovskite "
        "(B, for ferro), or the Prinz potential (C)",
        choices=CASES,
    )
    barrier: float = structural(
        4.0, "barrier of the dipoles of case B", unit="kT", minimum=0.1
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparationFlags:
    """How the file of a trajectory becomes frames with neighbours."""

    GROUP: ClassVar = "data"

    trajectory: str = option(
        "", "prepare, predict: trajectory that ASE or MDAnalysis reads, or Xie's .npz"
    )
    topology: str = option(
        "", "prepare: topology of --trajectory, where its format needs one"
    )
    target: str = option(
        "",
        "prepare: atoms whose states are wanted: element:Li, index:0,5,10 or "
        "selection:<MDAnalysis>; empty: those that the file names",
    )
    directions: str = option(
        "",
        "prepare: direction of each atom for ferro: FILE.npy, or "
        "displacement:<centre>:<ligand>:<k>",
    )
    n_nbrs: int = structural(20, "neighbours of an atom", minimum=1)
    radius: str = option(
        "7.0",
        "prepare: largest distance of a neighbour in angstrom, or auto",
    )
    backend: str = option(
        "auto", "prepare: program that searches neighbours", choices=BACKENDS
    )
    pbc: bool = option(True, "prepare: take the cell as periodic")
    workers: int = option(
        2, "prepare: processes that search neighbours", unit="processes", minimum=1
    )
    check_only: bool = option(
        False, "prepare: read and check the data, and write nothing"
    )
