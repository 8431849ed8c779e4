"""Who knows one system knows five: names, signatures and flags are the same."""

import importlib
import inspect

import pytest

from tests.structure.checkout import systems

SYSTEMS = systems()
SIGNATURES = {
    "train_step": (["state", "batch", "key", "phase"], ["objective", "optimizer"]),
    "eval_step": (["state", "batch", "key", "phase"], ["objective"]),
}
FLAGS = ("seed", "split_seed", "data_seed", "weights", "learning_rate")
# what these are called elsewhere; a flag of that name would be a second word for it
OTHER_WORDS = {
    *("lr", "clip_norm", "max_grad_norm", "train_ratio", "val_ratio", "split"),
    *("num_workers", "export_weights", "random_seed", "shuffle_seed", "report_seed"),
}


def step_of(system):
    """Returns the module of the steps; a room of one file is that module."""
    room = importlib.import_module(f"jaxphys.{system}.training")
    if hasattr(room, "train_step"):
        return room
    return importlib.import_module(f"jaxphys.{system}.training.step")


def config_of(system):
    return importlib.import_module(f"experiments.{system}.config").Config


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("name", SIGNATURES)
def test_step_has_the_signature_of_all(system, name):
    found = inspect.signature(getattr(step_of(system), name)).parameters.values()
    by_place = [p.name for p in found if p.kind is p.POSITIONAL_OR_KEYWORD]
    by_name = [p.name for p in found if p.kind is p.KEYWORD_ONLY]
    assert (by_place, by_name) == SIGNATURES[name]


@pytest.mark.parametrize("system", SYSTEMS)
def test_first_state_is_made_alike(system):
    found = list(inspect.signature(step_of(system).initial_state).parameters.values())
    assert [p.name for p in found[1:]] == ["objective", "optimizer"]
    assert all(p.kind is p.KEYWORD_ONLY for p in found[1:])


@pytest.mark.parametrize("system", SYSTEMS)
def test_trained_run_is_loaded_with_its_best_weights(system):
    room = importlib.import_module(f"jaxphys.{system}.inference")
    first, second = list(inspect.signature(room.load).parameters.values())[:2]
    assert (first.name, second.name, second.default) == ("workdir", "weights", "best")


@pytest.mark.parametrize("system", SYSTEMS)
def test_flags_have_the_names_of_all(system):
    fields = config_of(system).__dataclass_fields__
    assert [name for name in FLAGS if name not in fields] == []
    assert sorted(OTHER_WORDS & set(fields)) == []
    seeds = [name for name in fields if name.endswith("_seed")]
    assert sorted(seeds) == ["data_seed", "split_seed"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_page_is_written_of_a_run_and_its_results(system):
    room = importlib.import_module(f"jaxphys.{system}.report")
    page = room
    if hasattr(room, "__path__"):
        page = importlib.import_module(f"jaxphys.{system}.report.page")
    first, *rest = inspect.signature(page.write_report).parameters.values()
    assert first.name == "run"
    assert all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in rest)
