"""A trained run for other programs: StableHLO, and PyTorch's state dict."""

import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.data.files import replace_file
from jaxphys.hypertrack.inference import predict
from jaxphys.hypertrack.inference.tracker import Tracker
from jaxphys.hypertrack.model.torch_weights import (
    buffers_to_torch,
    params_to_torch,
    transformer_to_torch,
)
from jaxphys.hypertrack.model.track_net import TrackNet
from jaxphys.nn.stablehlo import serialised


def write(
    folder: str | os.PathLike, workdir: str | os.PathLike, weights: str = "best"
) -> list[pathlib.Path]:
    """Writes the files of a run; returns them.

    Written are network.stablehlo (see `network_program`), transformer.stablehlo (see
    `transformer_program`) where the transformer is trained and, of the net tune-5,
    torch_state_dict.npz, which the original's `InverterNet.load_state_dict` takes with
    strict=False.

    Args:
        folder: where to write.
        workdir: of the run.
        weights: see `predict.load`.
    """
    folder = pathlib.Path(folder)
    tracker = predict.load(pathlib.Path(workdir), weights).tracker
    contents = {"network.stablehlo": network_stablehlo(tracker)}
    if tracker.transformer is not None:
        contents["transformer.stablehlo"] = transformer_stablehlo(tracker)
    written = [folder / name for name in contents]
    for path, content in zip(written, contents.values(), strict=True):
        with replace_file(path) as file:
            file.write(content)
    if isinstance(tracker.net, TrackNet):
        written.append(folder / "torch_state_dict.npz")
        with replace_file(written[-1]) as file:
            np.savez(file, allow_pickle=False, **torch_state_dict(tracker))
    return written


def torch_state_dict(tracker: Tracker) -> dict[str, np.ndarray]:
    """Returns the weights and buffers under the original's names and in its layout.

    A transformer that is not trained is left out, and so is its threshold `thr`.

    Raises:
        ValueError: the original has no such net.
    """
    net, variables = tracker.net, tracker.variables
    if not isinstance(net, TrackNet):
        raise ValueError(f"net: expected TrackNet (tune-5), got {type(net).__name__}")
    found = params_to_torch(variables["params"], net)
    found |= buffers_to_torch(variables["batch_stats"], net)
    if tracker.transformer is not None and tracker.transformer_params is not None:
        found |= transformer_to_torch(tracker.transformer_params, tracker.transformer)
        found["thr"] = np.array([tracker.soft_threshold], np.float32)
    return found


def network_program(tracker: Tracker) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Returns the function that is exported of the net.

    position [n, 3] float32 in mm and edge_index [2, e] int32 (source, destination;
    sorted by destination) to latents [n, z] and edge logits [e], float32; n and e are
    free. All edges pass at once: memory grows with e.
    """
    variables = jax.tree.map(jnp.asarray, dict(tracker.variables))

    def outputs(
        position: jax.Array, edge_index: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        graph = {"position": position, "edge_index": edge_index}
        found: Any = tracker.net.apply(variables, graph, False)
        return found.latents.astype(jnp.float32), found.logits.astype(jnp.float32)

    return outputs


def transformer_program(tracker: Tracker) -> Callable[..., jax.Array]:
    """Returns the function that is exported of the set transformer.

    rows [b, n, F] float32 (latents and coordinates of the hits of micrographs, see
    `objective.transformer_rows`), pivots [b, p, F] float32 and row_mask [b, n] bool to
    logits [b, n] float32; b, n and p are free.

    Raises:
        ValueError: the run has not trained it.
    """
    transformer = tracker.transformer
    if transformer is None or tracker.transformer_params is None:
        raise ValueError("transformer: the run has not trained one")
    params = jax.tree.map(jnp.asarray, dict(tracker.transformer_params))

    def logits(rows: jax.Array, pivots: jax.Array, row_mask: jax.Array) -> jax.Array:
        found: Any = transformer.apply({"params": params}, rows, pivots, row_mask)
        return found.astype(jnp.float32)

    return logits


def network_stablehlo(tracker: Tracker) -> bytes:
    """Returns the serialised `network_program`."""
    shapes = [("n, 3", jnp.float32), ("2, e", jnp.int32)]
    return serialised(network_program(tracker), shapes)


def transformer_stablehlo(tracker: Tracker) -> bytes:
    """Returns the serialised `transformer_program`."""
    width = 0 if tracker.transformer is None else tracker.transformer.in_features
    shapes = [
        (f"b, n, {width}", jnp.float32),
        (f"b, p, {width}", jnp.float32),
        ("b, n", jnp.bool_),
    ]
    return serialised(transformer_program(tracker), shapes)
