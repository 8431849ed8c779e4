"""State dicts and flax trees carry the same numbers in both directions."""

import builtins

import numpy as np
import pytest
import torch

from jaxphys.equivalence import torch_weights as tw


def state_dict():
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2, bias=False)
    )
    return {f"network.{k}": v.numpy() for k, v in model.state_dict().items()}


def test_sequential_skips_activations_and_transposes():
    state = state_dict()
    tree = tw.to_flax(state, tw.sequential(state, "network", ("net",)))
    assert list(tree["net"]) == ["dense_0", "dense_1"]
    expected = state["network.2.weight"].T
    np.testing.assert_array_equal(tree["net"]["dense_1"]["kernel"], expected)
    assert "bias" not in tree["net"]["dense_1"]


def test_layer_that_lacks_its_weight_or_its_bias_is_named():
    state = state_dict()
    del state["network.0.weight"]
    with pytest.raises(ValueError, match=r"missing \['network.0.weight'\]"):
        tw.to_flax(state, tw.sequential(state, "network", ()))
    state = state_dict()
    with pytest.raises(ValueError, match=r"missing \['network.2.bias'\]"):
        tw.to_flax(state, tw.sequential(state, "network", (), bias=True))


def test_more_than_ten_places_keep_their_order():
    state = {f"n.{i}.weight": np.full((1, 1), float(i)) for i in range(0, 24, 2)}
    tree = tw.to_flax(state, tw.sequential(state, "n", ()))
    values = [tree[f"dense_{i}"]["kernel"].item() for i in range(12)]
    assert values == sorted(values)


def test_round_trip_gives_the_same_bytes():
    state = state_dict() | {"norm.weight": np.ones(4), "norm.bias": np.zeros(4)}
    entries = tw.sequential(state, "network", ("net",))
    entries += tw.layer_norm("norm", ("LayerNorm_0",))
    back = tw.to_torch(tw.to_flax(state, entries), entries)
    assert back.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].flags.c_contiguous


def test_names_without_entry_and_entries_without_name_are_refused():
    state = state_dict()
    entries = tw.sequential(state, "network", ())
    with pytest.raises(ValueError, match=r"unexpected \['extra'\]"):
        tw.to_flax(state | {"extra": np.ones(1)}, entries)
    tw.to_flax(state | {"extra": np.ones(1)}, entries, ignore=["extra"])
    with pytest.raises(ValueError, match=r"missing \['network.0.bias'\]"):
        tw.to_flax({k: v for k, v in state.items() if k[-4:] != "bias"}, entries)
    with pytest.raises(ValueError, match="flax tree: missing"):
        tw.to_torch({}, entries)
    with pytest.raises(ValueError, match=r"expected names like other\.0\.weight"):
        tw.sequential(state, "other", ())


def test_shapes_are_compared_with_a_template():
    tree = {"a": {"kernel": np.ones((2, 3))}}
    tw.check_shapes(tree, {"a": {"kernel": np.zeros((2, 3))}})
    with pytest.raises(ValueError, match=r"a/kernel: expected shape \(3, 2\)"):
        tw.check_shapes(tree, {"a": {"kernel": np.zeros((3, 2))}}, "file.pt")


def test_load_reads_plain_and_nested_files(tmp_path):
    plain = {"w": torch.arange(3.0), "h": torch.ones(2, dtype=torch.bfloat16)}
    torch.save(plain, tmp_path / "plain.pt")
    loaded = tw.load_state_dict(tmp_path / "plain.pt")
    np.testing.assert_array_equal(loaded["w"], [0, 1, 2])
    assert loaded["h"].dtype == np.float32
    torch.save({"model": plain, "epoch": 3}, tmp_path / "nested.pt")
    assert set(tw.load_state_dict(tmp_path / "nested.pt", key="model")) == {"w", "h"}
    with pytest.raises(ValueError, match=r"a dict with \['epoch', 'model'\]"):
        tw.load_state_dict(tmp_path / "nested.pt")
    with pytest.raises(ValueError, match="expected an entry 'other'"):
        tw.load_state_dict(tmp_path / "nested.pt", key="other")


def test_missing_torch_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_torch(name, *args, **kwargs):
        if name == "torch":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    with pytest.raises(ImportError, match="pip install torch"):
        tw.load_state_dict(tmp_path / "any.pt")
