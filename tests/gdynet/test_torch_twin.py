"""The PyTorch twin has the original's numbers."""

import pathlib

import numpy as np
import pytest

from jaxphys.equivalence.golden import compare, read

FOLDER = pathlib.Path(__file__).parents[1] / "equivalence/golden/gdynet"
FILES = sorted(FOLDER.glob("forward_*.npz"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_twin_replays_the_recorded_forward_pass(path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch_geometric")
    from tests.gdynet import torch_twin

    golden = read(path)
    config, inputs = golden.config, golden.inputs
    smearing = torch_twin.Smearing(config["cutoff"], config["num_gaussians"])
    names = {"nbr_lists": "nbr_lists", "nbr_dists": "nbr_dists"}
    if config["model"] == "gdynet_ferro":
        names["directions"] = "atom_directions"
    frames = {name: inputs[key] for name, key in names.items()}
    graph = torch_twin.graph_of(
        frames, inputs["atom_types"], inputs["target_index"], smearing
    )
    lobe = torch_twin.Lobe(
        config["atom_fea_len"],
        config["n_conv"],
        config["state_len"],
        config["num_gaussians"],
        "directions" in names,
    )
    state = {name: torch.tensor(array) for name, array in golden.params.items()}
    lobe.load_state_dict(state)
    got = {}
    with torch.no_grad():
        lobe.eval()
        got["eval/logits"], got["eval/probs"] = lobe.logits(graph), lobe(graph)
    if not config["eval_only"]:
        lobe.train()
        probs = lobe(graph)
        (torch.tensor(inputs["cotangent"]) * probs).sum().backward()
        got["train/probs"] = probs.detach()
        for name, value in lobe.named_parameters():
            got[f"grad/{name}"] = value.grad
        for name, value in lobe.named_buffers():
            got[f"train/buffer_after/{name}"] = value
    rows = compare(golden, {name: np.asarray(value) for name, value in got.items()})
    rows = [row for row in rows if row.message != "not produced"]
    assert len(rows) == len(got)
    assert [row for row in rows if not row.ok] == []
