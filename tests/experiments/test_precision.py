"""What --precision says reaches the layers of a training step, in all systems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.training import app
from tests.experiments import (
    test_cr_muons_main,
    test_gdynet_main,
    test_hidden_vertex_main,
    test_hypertrack_main,
    test_track_extrapolator_main,
)
from tests.hidden_vertex.samples import lhco_rows, write_lhco
from tests.products import dtypes_of_products

SYSTEMS = {
    "cr_muons": test_cr_muons_main,
    "gdynet": test_gdynet_main,
    "hidden_vertex": test_hidden_vertex_main,
    "hypertrack": test_hypertrack_main,
    "track_extrapolator": test_track_extrapolator_main,
}
# more layers, or wider ones
LARGER = {
    "cr_muons": ["--hidden_dim=24"],
    "gdynet": ["--n_conv=2"],
    "hidden_vertex": ["--latent_dim=9"],
    "hypertrack": ["--nstack=2"],
    "track_extrapolator": ["--model=small"],
}
PHASES = {"cr_muons": "train", "gdynet": "vamp2", "hypertrack": "joint"}
FLOAT32_ONLY = ("cr_muons", "hypertrack")


class Begun(Exception):
    """Raised where the training would begin."""


@pytest.fixture
def step_of(tmp_path, monkeypatch):
    """Returns the training step of a command, and the shapes of what it takes."""

    def begin(task, **_):
        raise Begun(task)

    monkeypatch.setattr(app, "fit", begin)

    def find(name, *flags):
        command = SYSTEMS[name]
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        flags = [*command.SMALL, *flags, f"--workdir={folder}"]
        if name == "hidden_vertex":
            sizes = np.random.default_rng(3).integers(5, 40, 120)
            data = write_lhco(tmp_path / "events.h5", lhco_rows(sizes))
            flags.append(f"--data={data}")
        with pytest.raises(Begun) as begun:
            command.run(*flags)
        (task,) = begun.value.args
        data = task.train_data
        phase = PHASES.get(name, task.first_phase)

        def step(state, batch, resident, key):
            batch = data.expand(resident, batch)
            return task.train_step(state, batch, key, phase)

        key = jax.random.key(0)
        state = jax.eval_shape(task.init, key)
        resident = jax.tree.map(jnp.asarray, data.resident(0))
        return step, (state, data.batch(0, 0, slice(None)), resident, key)

    return find


def types_of(state):
    """Returns the types of weights and optimizers, but of their counts."""
    leaves = jax.tree.leaves((state.params, state.opt_state))
    return {leaf.dtype.name for leaf in leaves} - {"int32"}


@pytest.mark.parametrize("name", SYSTEMS)
def test_bfloat16_is_the_type_of_the_layers_and_of_nothing_that_is_kept(name, step_of):
    found = []
    for flags in ([], LARGER[name]):
        step, arguments = step_of(name, "--precision=bfloat16", *flags)
        new, _ = jax.eval_shape(step, *arguments)
        assert types_of(arguments[0]) == types_of(new) == {"float32"}
        found.append(dtypes_of_products(step, *arguments))
    small, large = found
    rounded, exact = ("bfloat16",) * 2, ("float32",) * 2
    assert set(small) | set(large) <= {rounded, exact}
    assert large[rounded] > small[rounded] > 0
    # what is exact by intention does not grow with the net: first layers, covariances
    assert large[exact] == small[exact]


@pytest.mark.parametrize("name", SYSTEMS)
def test_float64_is_the_type_of_everything_or_is_refused(name, step_of):
    if name in FLOAT32_ONLY:
        with pytest.raises(ValueError, match=r"--precision.*float64.*bfloat16"):
            SYSTEMS[name].run("--precision=float64")
        return
    with jax.enable_x64(True):
        step, arguments = step_of(name, "--precision=float64")
        new, _ = jax.eval_shape(step, *arguments)
        assert types_of(arguments[0]) == types_of(new) == {"float64"}
        assert set(dtypes_of_products(step, *arguments)) == {("float64",) * 2}
