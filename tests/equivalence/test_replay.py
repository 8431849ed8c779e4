"""Recorded cases are replayed by the system that they name."""

import dataclasses
import importlib
import pathlib

import numpy as np
import pytest

from jaxphys.equivalence import __main__ as command_line
from jaxphys.equivalence import golden as g
from jaxphys.equivalence.cases import Case
from jaxphys.equivalence.replay import replay
from tests.structure.checkout import systems

HERE = pathlib.Path(__file__).parent / "golden"
FILES = sorted(HERE.glob("*/*.npz"))
TESTS = pathlib.Path(__file__).parents[1]
# rooms with many cases replay them one by one in tests of their own
HERE_ONLY = [
    path for path in FILES if not (TESTS / path.parent.name / "replay").is_dir()
]


@pytest.mark.parametrize("path", HERE_ONLY, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_recorded_case_is_within_tolerance(path):
    golden = g.read(path)
    assert golden.meta["system"] == path.parent.name
    rows = replay(golden)
    assert rows
    assert [row for row in rows if not row.ok] == []


def test_there_are_recorded_cases_and_they_are_small():
    assert FILES
    assert sum(path.stat().st_size for path in FILES) < 15e6


@pytest.mark.parametrize("system", systems())
def test_every_system_has_cases(system):
    module = importlib.import_module(f"jaxphys.{system}.replay")
    assert module.CASES
    assert all(isinstance(case, Case) for case in module.CASES.values())


def toy(tmp_path, **meta):
    path = tmp_path / "toy__a.npz"
    known = {"system": "track_extrapolator", "case": "lr_plateau", "config": {}}
    g.write(path, {**known, "tolerance": {}, **meta}, outputs={"y": np.zeros(1)})
    return g.read(path)


def test_unknown_case_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"toy__a\.npz: unknown case 'x'.*lr_plateau"):
        replay(toy(tmp_path, case="x"))


@pytest.mark.parametrize(
    "system", ["os", "training", "", "equivalence", "track_extrapolator.inference"]
)
def test_unknown_system_is_refused(tmp_path, system):
    with pytest.raises(ValueError, match="unknown system"):
        replay(toy(tmp_path, system=system))


def test_every_recorded_output_can_miss():
    """A change of one part in a hundred of any number is seen."""
    path = next(p for p in FILES if p.stem.startswith("mlp_train"))
    golden = g.read(path)
    without_meaning = golden.meta.get("not_compared", [])
    assert len(without_meaning) < len(golden.outputs)
    for name, value in golden.outputs.items():
        moved = {**golden.outputs, name: value * 1.01 + np.abs(value).max() * 0.01}
        missed = [row.name for row in g.compare(golden, moved) if not row.ok]
        assert missed == [n for n in [name] if n not in without_meaning]


# quick to replay, from every system; some replays read recorded outputs too
QUICK = [
    HERE / f"{name}.npz"
    for name in (
        "cr_muons/adaptive_critic__one_sided",
        "cr_muons/normalise__four_columns",
        "cr_muons/parquet__outliers",
        "gdynet/gaussian_expansion__default",
        "gdynet/koopman__two_states",
        "gdynet/preprocess__kdtree_orthorhombic",
        "hidden_vertex/graph_build__edge_sizes",
        "hidden_vertex/splits__seed42",
        "hypertrack/ground_truth__traj",
        "hypertrack/metrics__mixed",
        "track_extrapolator/field_file__bin_tesla",
        "track_extrapolator/lr_plateau__ties",
    )
]


def quick(path):
    return pytest.param(path, id=f"{path.parent.name}-{path.stem}")


def replayed(golden):
    """Returns the names of all misses, and what an error says."""
    try:
        return [row.name for row in replay(golden) if not row.ok], ""
    except ValueError as error:
        return [], str(error)


def without(golden, kind, *names):
    found = {n: a for n, a in getattr(golden, kind).items() if n not in names}
    return dataclasses.replace(golden, **{kind: found})


@pytest.mark.parametrize("path", [quick(path) for path in QUICK])
def test_any_output_taken_out_is_a_miss_that_names_it(path):
    golden = g.read(path)
    for name in golden.outputs:
        misses, error = replayed(without(golden, "outputs", name))
        assert misses == [name] or name in error.split("not in the record: ")[1]


@pytest.mark.parametrize("path", [quick(path) for path in QUICK])
def test_all_outputs_but_one_taken_out_are_named(path):
    golden = g.read(path)
    kept, *others = golden.outputs
    misses, error = replayed(without(golden, "outputs", *others))
    literal = [name for name in others if "/" not in name]
    assert misses == sorted(others) or all(name in error for name in literal)
    assert kept not in misses


@pytest.mark.parametrize("path", [quick(path) for path in QUICK])
def test_any_input_taken_out_is_named_with_the_file(path):
    golden = g.read(path)
    for name in golden.inputs:
        _, error = replayed(without(golden, "inputs", name))
        assert error.startswith(f"{path}: ")
        assert name in error
        assert "\n" not in error


@pytest.mark.parametrize(
    ("stem", "kind", "name"),
    [
        ("track_extrapolator/mlp_forward__one_track", "params", "network.0.weight"),
        ("track_extrapolator/mlp_forward__one_track", "params", "network.2.bias"),
        ("track_extrapolator/mlp_forward__one_track", "params", "output_std"),
        ("hidden_vertex/train_loop__early_stop", "inputs", "train/3/x"),
        ("hidden_vertex/forward__small_graphs", "params", "conv1.bias"),
        ("hypertrack/gnn_forward__one_node", "params", "mlp_2pt_edx.0.0.weight"),
        ("gdynet/forward_ferro__one_conv", "params", "embedding.weight"),
        ("gdynet/forward_ferro__one_conv", "inputs", "atom_directions"),
        ("cr_muons/critic_forward__sqrt_clamp_amax", "inputs", "call/0/counts"),
        ("cr_muons/critic_forward__ema_tanh_amax", "params", "crit._score_norm_ema"),
    ],
)
def test_what_a_network_needs_is_named_with_the_file(stem, kind, name):
    golden = g.read(HERE / f"{stem}.npz")
    assert name in getattr(golden, kind)
    _, error = replayed(without(golden, kind, name))
    assert error.startswith(f"{golden.path}: ")
    assert name in error


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("track_extrapolator/lr_plateau__ties", "lr"),
        ("track_extrapolator/propagate__gauss_oddstep", "step"),
        ("hidden_vertex/splits__seed42", "ratios"),
        ("hypertrack/metrics__mixed", "roc_points"),
        ("gdynet/koopman__two_states", "n_splits"),
        ("cr_muons/critic_forward__sqrt_clamp_amax", "score_head"),
    ],
)
def test_setting_that_is_missing_is_named_with_the_file(stem, name):
    golden = g.read(HERE / f"{stem}.npz")
    config = {key: value for key, value in golden.config.items() if key != name}
    meta = {**golden.meta, "config": config}
    _, error = replayed(dataclasses.replace(golden, meta=meta))
    assert error.startswith(f"{golden.path}: no ")
    assert name in error


def test_input_and_parameter_that_nothing_reads_are_misses_that_name_them():
    golden = g.read(HERE / "track_extrapolator/lr_plateau__ties.npz")
    more = {"inputs": {**golden.inputs, "extra": np.zeros(1)}, "params": {"w": 1}}
    rows = replay(dataclasses.replace(golden, **more))
    misses = {row.name: row.message for row in rows if not row.ok}
    assert set(misses) == {"input/extra", "param/w"}
    assert "nothing reads it" in misses["input/extra"]


def test_input_without_use_is_named_with_the_reason_and_passes():
    rows = replay(g.read(HERE / "hidden_vertex/scores__ties.npz"))
    (row,) = [row for row in rows if row.name == "input/event_id"]
    assert row.ok
    assert row.message.startswith("nothing reads it: a name")


def test_settings_that_nothing_reads_are_named():
    golden = g.read(HERE / "track_extrapolator/propagate__gauss_oddstep.npz")
    (row,) = [row for row in replay(golden) if row.name == "config"]
    assert row.ok
    assert row.message == "nothing reads n_steps"


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("cr_muons/critic_forward__sqrt_clamp_amax", "call/0/counts"),
        ("cr_muons/normalise__four_columns", "counts"),
    ],
)
def test_numbers_of_muons_that_contradict_the_muons_are_refused(stem, name):
    golden = g.read(HERE / f"{stem}.npz")
    counts = golden.inputs[name].copy()
    counts[0] += 1
    other = dataclasses.replace(golden, inputs={**golden.inputs, name: counts})
    _, error = replayed(other)
    assert error.startswith(f"{golden.path}: input/{name}: ")


def test_record_of_ones_own_says_which_outputs_it_leaves_out():
    """As the README shows."""
    golden = g.read(HERE / "track_extrapolator/mlp_forward__one_track.npz")
    others = ("net", "y_float64", "jacobian")
    own = without(golden, "outputs", *others)
    meta = {**own.meta, "not_compared": list(others)}
    assert replayed(own)[0] == sorted(others)
    assert replayed(dataclasses.replace(own, meta=meta)) == ([], "")


def test_command_names_what_is_missing_and_what_nothing_reads(tmp_path, capsys):
    golden = g.read(HERE / "hidden_vertex/scores__ties.npz")
    outputs = dict(golden.outputs)
    del outputs["auc"], outputs["fpr"]
    path = tmp_path / "scores__short.npz"
    g.write(path, golden.meta, inputs=golden.inputs, outputs=outputs)
    assert command_line.main([str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    missed = [line.split()[1] for line in lines if line.startswith("  MISS")]
    assert missed == ["auc", "fpr"]
    assert any(
        "input/event_id" in line and "nothing reads it" in line for line in lines
    )
    g.write(path, golden.meta, inputs={}, outputs=golden.outputs)
    assert command_line.main([str(path)]) == 1
    out = capsys.readouterr().out
    assert f"MISS ValueError: {path}: no input/x_hat, which the case needs" in out


def test_record_in_which_nothing_is_compared_is_refused():
    golden = g.read(HERE / "track_extrapolator/lr_plateau__ties.npz")
    meta = {**golden.meta, "not_compared": ["*"]}
    with pytest.raises(ValueError, match="no output to compare"):
        replay(dataclasses.replace(golden, meta=meta))
