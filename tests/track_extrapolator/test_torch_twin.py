"""The PyTorch twin repeats the recorded training runs of the original."""

import json

import numpy as np
import pytest
import torch

from tests.track_extrapolator.torch_twin import TorchTrackMLP, train


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny layers lose time to threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run_of_golden(golden):
    config = json.loads(str(golden["meta"]))["config"]
    model = TorchTrackMLP(config["hidden"], config["activation"])
    model.load_state_dict(
        {
            name.removeprefix("param/"): torch.from_numpy(golden[name])
            for name in golden.files
            if name.startswith("param/")
        }
    )
    history = train(
        model,
        (golden["input/x_train"], golden["input/y_train"]),
        (golden["input/x_val"], golden["input/y_val"]),
        epochs=config["epochs"],
        batch=config["batch"],
        lr=config["lr"],
        weight_decay=config["weight_decay"],
        patience=config["patience"],
        permutations=golden["input/permutation"],
    )
    return model, history


@pytest.mark.parametrize("variant", ["plateau3", "plateau100"])
def test_twin_repeats_recorded_run(golden_dir, variant):
    folder = golden_dir("track_extrapolator")
    with np.load(folder / f"train_loop__{variant}.npz") as golden:
        model, history = run_of_golden(golden)
        tolerance = json.loads(str(golden["meta"]))["tolerance"]
        for name in ("train_loss", "val_loss", "lr", "best_val_loss"):
            np.testing.assert_allclose(
                getattr(history, name), golden[f"output/{name}"], **tolerance[name]
            )
        for name, tensor in model.state_dict().items():
            expected = golden[f"output/param_after/{name}"]
            rule = tolerance.get(f"param_after/{name}", tolerance["param_after"])
            np.testing.assert_allclose(tensor.numpy(), expected, **rule)
