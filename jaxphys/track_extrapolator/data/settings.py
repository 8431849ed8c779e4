"""Where tracks come from: files, or the simulation and its field."""

import dataclasses
from typing import ClassVar

from jaxphys.options import option, structural
from jaxphys.track_extrapolator.data.field_files import KINDS


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackFlags:
    """Files of tracks, their parts, and which tracks are simulated."""

    GROUP: ClassVar = "data"

    dataset: str = option(
        "train", "name of the data set in the folder --data: X_<name>.npy and so on"
    )
    train_pairs: str = structural(
        "", "npz file with pairs of states (X_plane, Y_true) to train on, not --data"
    )
    train_fraction: float = structural(
        0.0,
        "part of the tracks for training; 0: 0.85, of --train_pairs 0.72",
        minimum=0.0,
        maximum=1.0,
    )
    val_fraction: float = structural(
        0.0,
        "part of the tracks for validation, the rest is the test; 0: 0.10, of "
        "--train_pairs 0.08",
        minimum=0.0,
        maximum=1.0,
    )
    samples: int = structural(100_000, "tracks to simulate", unit="tracks", minimum=1)
    shards: int = option(
        0,
        "Parquet files that the simulated tracks are written into; 0: one, and X_, Y_ "
        "and P_<dataset>.npy",
        unit="files",
        minimum=0,
    )
    shard: int = option(
        -1,
        "number of the one file of --shards to simulate (cluster jobs); -1: all that "
        "are missing",
        minimum=-1,
    )
    check_only: bool = option(
        False, "prepare: read and check the data, and write nothing"
    )
    z_in: float = structural(3000.0, "entry plane of simulated tracks", unit="mm")
    z_out: float = structural(7000.0, "exit plane of simulated tracks", unit="mm")
    dz_mode: str = structural(
        "fixed",
        "planes of simulated tracks: fixed, or z_in and the distance are drawn "
        "uniformly (and are inputs of the network)",
        choices=("fixed", "uniform"),
    )
    dz_min: float = structural(
        2000.0, "least distance of the planes of --dz_mode=uniform", unit="mm"
    )
    dz_max: float = structural(
        6000.0, "largest distance of the planes of --dz_mode=uniform", unit="mm"
    )
    z_in_min: float = structural(
        2500.0, "least entry plane of --dz_mode=uniform", unit="mm"
    )
    z_in_max: float = structural(
        3500.0, "largest entry plane of --dz_mode=uniform", unit="mm"
    )
    x_max: float = structural(
        900.0,
        "largest |x| of simulated tracks (uniform)",
        unit="mm",
        minimum=0.0,
    )
    y_max: float = structural(
        750.0,
        "largest |y| of simulated tracks (uniform)",
        unit="mm",
        minimum=0.0,
    )
    tx_max: float = structural(
        0.3, "largest slope |tx| of simulated tracks, drawn uniformly", minimum=0.0
    )
    ty_max: float = structural(
        0.25, "largest slope |ty| of simulated tracks, drawn uniformly", minimum=0.0
    )
    p_min: float = structural(
        2.0,
        "least momentum of simulated tracks; its logarithm is drawn uniformly",
        unit="GeV",
        minimum=1e-3,
    )
    p_max: float = structural(
        100.0, "largest momentum of simulated tracks", unit="GeV", minimum=1e-3
    )
    step_mm: float = structural(
        10.0, "step of the integration of the true tracks", unit="mm", minimum=1e-3
    )
    integrator: str = structural(
        "rk4",
        "integrator of the true tracks; all but rk4 are adaptive and need the extra "
        "ode",
        choices=("rk4", "dopri5", "tsit5", "cashkarp"),
    )
    dtype: str = structural(
        "float64",
        "arithmetic of the integration of the true tracks",
        choices=("float64", "float32"),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldFlags:
    """The magnetic field of the truth, and the one that a parametrisation uses."""

    GROUP: ClassVar = "data"

    field: str = structural(
        "gauss_seed", "magnetic field of the simulated tracks", choices=KINDS
    )
    field_file: str = structural("", "file with the map of a grid or multipole field")
    polarity: float = structural(1.0, "factor on all components of the magnetic fields")
    approximate_field: str = structural(
        "",
        "magnetic field that the parametrisations born and map use; empty: that of the "
        "truth",
        choices=("", *KINDS),
    )
    approximate_field_file: str = structural(
        "", "file with the map of --approximate_field"
    )
