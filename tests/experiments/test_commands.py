"""Every mode of every system as a process, in a fresh folder, on tiny data."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from jaxphys.hypertrack.data.event_source import open_events
from tests.hidden_vertex.samples import lhco_rows, write_lhco
from tests.hypertrack.event_sets import write_event

pytestmark = pytest.mark.slow  # half a minute to two minutes a system

ROOT = pathlib.Path(__file__).parents[2]
RUN = "--workdir=run"
SMALL = {
    "cr_muons": [
        *("--n_showers=300", "--n_depths=2", "--batch_size=128", "--val_fraction=0.2"),
        *("--val_events=200", "--hidden_dim=16", "--report_events=1000"),
        *("--nobaseline", "--eval_every=4 steps"),
    ],
    "gdynet": [
        *("--case=A", "--trajectories=2", "--frames=60", "--tau=2", "--state_len=2"),
        *("--atom_fea_len=4", "--num_gaussians=4", "--n_conv=1", "--epochs=1"),
        *("--loss_schedule=vamp2", "--ck_steps=3", "--n_bootstrap=5"),
    ],
    "hidden_vertex": ["--data=events.h5", "--batch_size=16", "--epochs=2"],
    "hypertrack": [
        *("--ncell=304", "--niter=2", "--rfactor_start=0.03", "--rfactor_end=0.03"),
        *("--buckets=1", "--nstack=1", "--h_dim=4", "--m_dim=4", "--z_dim=5"),
        *("--nstack_dec=1", "--joint_sets=4", "--joint_nodes=8", "--val_graphs=1"),
        *("--report_events=2", "--iterations=2", "--round_iterations=1"),
        "--joint_iteration=1",
    ],
    "track_extrapolator": [
        *("--samples=600", "--model=tiny", "--epochs=2", "--report_jacobians=0"),
        "--report_batches=1",
    ],
}
NEW = ["--mode=simulate", "--data_seed=5", "--output=new"]
# system -> (arguments, what they leave) in the order in which a user comes to them
COMMANDS = {
    "cr_muons": [
        ([*NEW, "--n_showers=60", "--n_depths=2"], "new/events-0000.parquet"),
        (["--mode=prepare", "--data=new", "--output=all.parquet"], "all.parquet"),
        (["--mode=evaluate", RUN, "--data=new", "--output=page"], "page/report.html"),
        (["--mode=predict", RUN, "--data=new", "--output=out.parquet"], "out.parquet"),
        (["--mode=export", RUN], "run/export"),
    ],
    "gdynet": [
        ([*NEW, "--case=A", "--trajectories=1", "--frames=60"], "new/atom_types.npy"),
        (
            ["--mode=prepare", "--trajectory=md.xyz", "--target=element:Li"]
            + ["--n_nbrs=3", "--output=prepared"],
            "prepared/nbr_dists.npy",
        ),
        (["--mode=evaluate", RUN, "--data=new", "--output=page"], "page/report.html"),
        (["--mode=predict", RUN, "--data=new", "--output=out.parquet"], "out.parquet"),
        (["--mode=export", RUN], "run/export"),
    ],
    "hidden_vertex": [
        (["--mode=prepare", "--data=new.h5", "--output=store"], "store/meta.json"),
        (
            ["--mode=evaluate", RUN, "--data=new.h5", "--output=page"],
            "page/report.html",
        ),
        (["--mode=predict", RUN, "--data=new.h5", "--output=o.parquet"], "o.parquet"),
        (["--mode=export", RUN], "run/export"),
    ],
    "hypertrack": [
        (["--mode=prepare", "--data=csv", "--output=new"], "new-hits.parquet"),
        (
            ["--mode=voxels", "--ncell=304", "--niter=1", "--output=cells"],
            "cells-304.npz",
        ),
        (["--mode=evaluate", RUN, "--data=new", "--output=page"], "page/report.html"),
        (["--mode=predict", RUN, "--data=new", "--output=out.parquet"], "out.parquet"),
        (["--mode=export", RUN], "run/export"),
    ],
    "track_extrapolator": [
        ([*NEW, "--samples=60"], "new/X_train.npy"),
        (["--mode=prepare", "--data=new", "--output=store"], "store"),
        (["--mode=evaluate", RUN, "--data=new", "--output=page"], "page/report.html"),
        (
            ["--mode=predict", RUN, "--data=new/X_train.npy", "--output=out.parquet"],
            "out.parquet",
        ),
        (["--mode=export", RUN], "run/export"),
    ],
}


@pytest.fixture
def folder(tmp_path):
    """A fresh folder with the files that a user would bring."""
    for name, seed in (("events.h5", 3), ("new.h5", 4)):
        sizes = np.random.default_rng(seed).integers(5, 40, 120)
        write_lhco(tmp_path / name, lhco_rows(sizes))
    (tmp_path / "csv").mkdir()
    for event in (1, 2):
        write_event(tmp_path / "csv", open_events().read(event), particle_type=False)
    rng, frames = np.random.default_rng(5), []
    for _ in range(3):
        rows = [
            f"{'Li' if i < 2 else 'S'} {x:.6f} {y:.6f} {z:.6f}"
            for i, (x, y, z) in enumerate(rng.uniform(0, 6, (8, 3)))
        ]
        lattice = (
            'Lattice="6 0 0 0 6 0 0 0 6" Properties=species:S:1:pos:R:3 pbc="T T T"'
        )
        frames += ["8", lattice, *rows]
    (tmp_path / "md.xyz").write_text("\n".join(frames) + "\n")
    return tmp_path


@pytest.mark.parametrize("system", sorted(COMMANDS))
def test_every_mode_runs_as_a_command(system, folder):
    first = ([*SMALL[system], RUN], "run/report/report.html")
    own = (["--mode=evaluate", RUN, "--output=own"], "own/report.html")
    for arguments, result in [first, own, *COMMANDS[system]]:
        done = subprocess.run(
            [sys.executable, "-m", f"experiments.{system}", "--plain_log", *arguments],
            cwd=folder,
            env={
                **{k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
                "PYTHONPATH": str(ROOT),
                "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        assert (folder / result).exists(), (arguments, done.stdout, done.stderr)


def test_help_is_shown_and_a_wrong_flag_is_named(folder):
    for arguments, status, word in (
        (["--help"], 0, "--tau"),
        (["--lr=3"], 2, "--lr is --learning_rate here"),
        (["--mode=simulate", "--seed=3", "--output=x"], 1, "draws by --data_seed"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "experiments.gdynet", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert word in done.stdout + done.stderr
