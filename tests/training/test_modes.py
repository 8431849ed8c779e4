"""One text serves every system: a sixth one in few lines has all the modes."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from jaxphys.training import modes

ROOT = pathlib.Path(__file__).parents[2]
SIXTH = pathlib.Path(__file__).with_name("sixth_system.txt")


def write_sixth_system(root):
    """Writes its files into a checkout; returns the lines of rooms and experiment."""
    count = 0
    for part in SIXTH.read_text().split("=== ")[1:]:
        name, _, text = part.partition("\n")
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        count += 0 if name.startswith("tests/") else len(text.splitlines())
    return count


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Returns a copy of the tree with a sixth system in it."""
    root = tmp_path_factory.mktemp("tree") / "checkout"
    skip = shutil.ignore_patterns(
        "__pycache__", "golden", "runs_*", "baseline.json", "*.png"
    )
    for folder in ("jaxphys", "experiments", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=skip)
    for name in ("README.md", "BUILD_NOTES.md", "setup.py"):
        shutil.copy(ROOT / name, root / name)
    write_sixth_system(root)
    return root


def call(checkout, *arguments):
    """Runs the sixth system as a command; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "experiments.line", *map(str, arguments)],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_sixth_system_takes_no_more_than_the_lines_it_needs(tmp_path):
    assert write_sixth_system(tmp_path) <= 200


def test_structure_of_a_checkout_with_a_sixth_system_is_sound(checkout):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "tests/structure", "tests/line",
         "-c", os.devnull, "--rootdir", str(checkout)],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


def test_sixth_system_has_every_mode(checkout, tmp_path):
    folder, points = tmp_path / "run", tmp_path / "points.npz"
    run = f"--workdir={folder}"
    status, text = call(checkout, run, "--epochs=3", "--plain_log")
    assert (status, "mean squared error" in text) == (0, True), text
    status, text = call(checkout, run, "--epochs=20")  # it goes on
    assert "resuming at step" in text
    error = json.loads((folder / "report/report.json").read_text())["numbers"]["error"]
    assert error < 0.01
    simulate = ["--mode=simulate", f"--output={points}", "--data_seed=5"]
    assert call(checkout, *simulate)[0] == 0
    evaluate = ["--mode=evaluate", run, f"--output={tmp_path / 'page'}"]
    status, text = call(checkout, *evaluate, f"--data={points}")
    assert status == 0, text
    assert json.loads((tmp_path / "page/report.json").read_text())["numbers"]
    status, text = call(checkout, *evaluate, f"--data={folder / 'points.npz'}")
    assert status == 1
    assert "was trained on these data" in text
    status, text = call(checkout, "--mode=predict", run, f"--data={points}")
    assert status == 0, text
    found = np.load(folder / "prediction.npy")
    np.testing.assert_allclose(found, 2 * np.load(points)["x"] + 1, atol=0.2)
    status, text = call(checkout, "--mode=export", run)
    assert (status, text.strip().endswith("line.stablehlo")) == (0, True), text
    status, text = call(checkout, run, f"--data={points}", "--epochs=21")
    assert (status, "was begun with other data" in text) == (1, True), text


def test_weights_of_another_network_are_refused_by_flag_and_value():
    modes.check_alike("runs/a", {"hidden": 3}, {"hidden": 3, "more": 1})
    with pytest.raises(ValueError, match=r"runs/a: .*--hidden is 4 there, 3 here"):
        modes.check_alike(
            "runs/a", {"hidden": 3, "depth": 1}, {"hidden": 4, "depth": 1}
        )
