"""A trained generator for other programs: StableHLO, and PyTorch's state dict."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.cr_muons.inference.predict import Generator
from jaxphys.cr_muons.inference.sampling import MOST_PER_EVENT
from jaxphys.cr_muons.model import multiplicity
from jaxphys.cr_muons.model.generator import Generator as Networks
from jaxphys.cr_muons.model.parts import rotated
from jaxphys.cr_muons.model.torch_weights import to_state_dict
from jaxphys.cr_muons.physics.normalise import normalise_conditions
from jaxphys.data.files import replace_file
from jaxphys.nn.stablehlo import serialised


def write(folder, generator: Generator) -> list[pathlib.Path]:
    """Writes the files of a generator; returns them.

    Written are multiplicity.stablehlo and muons.stablehlo (see `multiplicity_program`
    and `muons_program`; all random numbers are inputs) and torch_state_dict.npz with
    the original's names and layout.
    """
    folder = pathlib.Path(folder)
    programs = {
        "multiplicity": serialised(multiplicity_program(generator), [("b, 4", "f4")]),
        "muons": serialised(muons_program(generator), muons_arguments(generator)),
    }
    written = []
    for name, content in programs.items():
        written.append(folder / f"{name}.stablehlo")
        with replace_file(written[-1]) as file:
            file.write(content)
    written.append(folder / "torch_state_dict.npz")
    with replace_file(written[-1]) as file:
        state = to_state_dict({"generator": generator.params}, generator.settings)
        np.savez(file, allow_pickle=False, **state)
    return written


def multiplicity_program(generator: Generator) -> Callable[..., dict[str, jax.Array]]:
    """Returns the function of the number of muons.

    primaries [b, 4] float32 (energy GeV, zenith rad, mass GeV, depth m) to, of a law,
    mean [b] and shape [b] (N ~ Poisson(mean * Gamma(shape) / shape)), else number [b]
    int32 and log_count [b], what `muons_program` takes.
    """
    networks, params = _networks(generator)
    settings = generator.settings

    def numbers(primaries: jax.Array) -> dict[str, jax.Array]:
        conditions = normalise_conditions(primaries, generator.depth_kind)
        head: Any = networks.apply(params, conditions, method="head")
        if settings.multiplicity == "negative_binomial":
            log_mean, log_shape = multiplicity.law(head)
            return {"mean": jnp.exp(log_mean), "shape": jnp.exp(log_shape)}
        number = multiplicity.rounded_counts(head[:, 0], MOST_PER_EVENT)
        return {"number": number, "log_count": head[:, 0]}

    return numbers


def muons_program(generator: Generator) -> Callable[..., jax.Array]:
    """Returns the function of the muons.

    primaries [b, 4] float32; log_count [b], log10(N + 1) or what `multiplicity_program`
    says; event [m] int32, the event of each muon; z_global [b, Zg] and z_local [m, Zl],
    standard normal numbers; angle [m], uniform in 0 to 2 pi: to muons [m, 3] (energy
    GeV, x m, y m). The angle has no effect on a generator that learned directions.
    """
    networks, params = _networks(generator)
    settings, norm = generator.settings, generator.norm

    def muons(
        primaries: jax.Array,
        log_count: jax.Array,
        event: jax.Array,
        z_global: jax.Array,
        z_local: jax.Array,
        angle: jax.Array,
    ) -> jax.Array:
        conditions = normalise_conditions(primaries, generator.depth_kind)
        arrays = (conditions, log_count, z_global, z_local, event)
        features: Any = networks.apply(params, *arrays, method="muons")
        if settings.feat_dim == 2:
            return norm.invert(features, angle)
        if settings.rotate_output:
            features = rotated(features, angle / (2 * jnp.pi))
        return norm.invert(features)

    return muons


def muons_arguments(generator: Generator) -> list[tuple[str, str]]:
    """Returns shape and type of the inputs of `muons_program`."""
    s = generator.settings
    return [
        ("b, 4", "f4"),
        ("b", "f4"),
        ("m", "i4"),
        (f"b, {s.latent_dim_global}", "f4"),
        (f"m, {s.latent_dim_local}", "f4"),
        ("m", "f4"),
    ]


def _networks(generator: Generator) -> tuple[Networks, dict[str, Any]]:
    params = jax.tree.map(jnp.asarray, dict(generator.params))
    return Networks(generator.settings), {"params": params}
