"""A trained run for other programs: StableHLO of a lobe, PyTorch's state dicts."""

import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.data.files import replace_file
from jaxphys.gdynet.inference import predict
from jaxphys.gdynet.model.torch_weights import variables_to_torch
from jaxphys.gdynet.training import step
from jaxphys.nn.stablehlo import serialised


def write(folder, workdir, weights: str = "best") -> list[pathlib.Path]:
    """Writes the files of a run; returns them.

    Written are lobe_0.stablehlo (see `program`) and, for every lobe,
    `<lobe>_state_dict.npz` with the original's names and layout.

    Args:
      folder: where to write.
      workdir: of the run.
      weights: see `predict.load`.
    """
    folder = pathlib.Path(folder)
    predictor = predict.load(workdir, weights)
    written = [folder / "lobe_0.stablehlo"]
    with replace_file(written[0]) as file:
        file.write(stablehlo(predictor))
    for name, variables in predict.load_variables(workdir, weights).items():
        written.append(folder / f"{name}_state_dict.npz")
        with replace_file(written[-1]) as file:
            found = variables_to_torch(variables, predictor.model)
            np.savez(file, allow_pickle=False, **found)
    return written


def program(predictor: predict.Predictor) -> Callable[..., jax.Array]:
    """Returns the function that is exported.

    nbr_lists [f, N, M] int32, nbr_dists [f, N, M] float32 in angstrom and, of the ferro
    variant, directions [f, N, 3] to probabilities [f, n, S] float32. Atoms, targets and
    weights of the run are inside; f is free.
    """
    lobes = step.Lobes(predictor.model, predictor.atom_types, predictor.target_index)
    variables = jax.tree.map(jnp.asarray, dict(predictor.variables))
    names = ("nbr_lists", "nbr_dists", *(["directions"] if predictor.ferro else []))

    def probabilities(*arrays: jax.Array) -> jax.Array:
        frames = dict(zip(names, arrays, strict=True))
        return step.probabilities(lobes, variables, frames).astype(jnp.float32)

    return probabilities


def stablehlo(predictor: predict.Predictor) -> bytes:
    """Returns the serialised `program`; the number of frames stays free."""
    atoms, width = len(predictor.atom_types), predictor.n_nbrs
    shapes = [
        (f"f, {atoms}, {width}", jnp.int32),
        (f"f, {atoms}, {width}", jnp.float32),
    ]
    if predictor.ferro:
        shapes.append((f"f, {atoms}, 3", jnp.float32))
    return serialised(program(predictor), shapes)
