"""Exported programs are the generator, for any number of events and muons."""

from typing import Any

import jax
import numpy as np
import pytest
from jax import export as jax_export

from jaxphys.cr_muons.inference import export, predict
from jaxphys.cr_muons.model import multiplicity
from jaxphys.cr_muons.model.generator import Generator as Networks
from jaxphys.cr_muons.model.generator import initial_params
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.model.torch_weights import from_state_dict
from jaxphys.cr_muons.physics.normalise import fit_feature_norm, normalise_conditions
from tests.cr_muons.samples import draw_events

SIZES = {"latent_dim_global": 3, "latent_dim_local": 2, "hidden_dim": 8}
EVENTS = draw_events(9)


def generator_of(kind, **settings):
    norm = fit_feature_norm(EVENTS.muons, kind)
    made = GanSettings(**SIZES, **settings, feat_dim=norm.num_features)
    params = jax.jit(initial_params, static_argnums=1)(jax.random.key(1), made)
    return predict.Generator(made, params, norm)


def called(program, arguments, *arrays):
    data = export.serialised(program, arguments)
    return jax_export.deserialize(bytearray(data)).call(*arrays)


def arrays_of(generator, counts, seed=0):
    draws, s = np.random.default_rng(seed), generator.settings
    muons = int(counts.sum())
    return (
        EVENTS.primaries[: len(counts)],
        np.log10(counts + 1).astype(np.float32),
        np.repeat(np.arange(len(counts)), counts).astype(np.int32),
        draws.normal(size=(len(counts), s.latent_dim_global)).astype(np.float32),
        draws.normal(size=(muons, s.latent_dim_local)).astype(np.float32),
        draws.uniform(0, 2 * np.pi, muons).astype(np.float32),
    )


@pytest.mark.parametrize(
    ("kind", "rotate"),
    [("original", False), ("standardized", True), ("log_radius", False)],
)
def test_muons_are_those_of_the_networks(kind, rotate):
    generator = generator_of(kind, rotate_output=rotate)
    program = export.muons_program(generator)
    data = export.serialised(program, export.muons_arguments(generator))
    loaded = jax_export.deserialize(bytearray(data))
    for counts in (np.array([2, 0, 3]), np.array([1])):
        arrays = arrays_of(generator, counts)
        found = np.asarray(loaded.call(*arrays))
        primaries, log_count, event, z_global, z_local, angle = arrays
        conditions = normalise_conditions(primaries)
        inputs = (conditions, log_count, z_global, z_local, event)
        variables = {"params": generator.params}
        networks = Networks(generator.settings)
        features = np.asarray(networks.apply(variables, *inputs, method="muons"))
        if kind == "log_radius":
            wanted = generator.norm.invert(features, angle)
        else:
            wanted = generator.norm.invert(features)
        if rotate:
            radius = np.hypot(wanted[:, 1], wanted[:, 2])
            turned = np.arctan2(wanted[:, 2], wanted[:, 1]) + angle
            wanted[:, 1:] = np.stack(
                [radius * np.cos(turned), radius * np.sin(turned)], axis=1
            )
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-4)


def test_law_of_the_number_is_that_of_the_head():
    generator = generator_of("original", multiplicity="negative_binomial")
    program = export.multiplicity_program(generator)
    found = called(program, [("b, 4", "f4")], EVENTS.primaries)
    head: Any = Networks(generator.settings).apply(
        {"params": generator.params},
        normalise_conditions(EVENTS.primaries),
        method="head",
    )
    for value, log in zip((found["mean"], found["shape"]), multiplicity.law(head),
                          strict=True):  # fmt: skip
        np.testing.assert_allclose(value, np.exp(log), rtol=1e-5)


def test_predicted_number_is_that_of_a_sample():
    generator = generator_of("original")
    program = export.multiplicity_program(generator)
    found = called(program, [("b, 4", "f4")], EVENTS.primaries)
    wanted = generator.sample(EVENTS.primaries).num_muons
    np.testing.assert_array_equal(found["number"], wanted)


def test_all_files_are_written(tmp_path):
    generator = generator_of("original")
    written = export.write(tmp_path, generator)
    names = ["multiplicity.stablehlo", "muons.stablehlo", "torch_state_dict.npz"]
    assert [path.name for path in written] == names
    state = dict(np.load(written[2], allow_pickle=False))
    back = from_state_dict(state, generator.settings)["generator"]
    jax.tree.map(np.testing.assert_array_equal, dict(generator.params), back)
