"""A trained network for other programs: StableHLO, and PyTorch's state dict."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.data.files import replace_file
from jaxphys.equivalence.torch_weights import Entry, to_torch
from jaxphys.hidden_vertex.inference.predict import Detector
from jaxphys.hidden_vertex.model.model import node_entries, seed_entries
from jaxphys.hidden_vertex.training.network import Network
from jaxphys.nn.stablehlo import serialised


def write(folder, detector: Detector) -> list[pathlib.Path]:
    """Writes what there is of a network; returns the files.

    Written are network.stablehlo (see `program`) and, where the original has such a
    module, torch_state_dict.npz (PyTorch's names and layout) of the float32 weights.
    """
    folder = pathlib.Path(folder)
    written = [folder / "network.stablehlo"]
    with replace_file(written[0]) as file:
        file.write(stablehlo(detector))
    entries = torch_entries(detector.network)
    if entries is not None:
        written.append(folder / "torch_state_dict.npz")
        with replace_file(written[1]) as file:
            np.savez(file, allow_pickle=False, **to_torch(detector.params, entries))
    return written


def torch_entries(network: Network) -> list[Entry] | None:
    """Returns how the weights pair with the original's; None without such a module."""
    if network.kind == "node":
        return node_entries()
    plain = not network.encoder_mlp and len(network.decoder_hidden) == 1
    if network.kind == "seed" and plain:
        return seed_entries(len(network.hidden))
    return None


def program(detector: Detector) -> Callable[..., dict[str, jax.Array]]:
    """Returns the function that is exported.

    Of a conditional network (jets or event view): sets, float32 [b, 2, 48, 3] or
    [b, M, 3] as `jaxphys.hidden_vertex.physics.jets` makes them. Of a graph: x [N, 3]
    (log pT, eta, phi), graph_index [N] int32, n_node [G] int32 and neighbours [N, k]
    int32, or senders and receivers [E] int32.

    It returns the scores of every event (the error of reconstruction under its name,
    latent, combined) and the code, all float32.
    """
    network, statistics = detector.network, detector.statistics
    objective: Any = network.objective().evaluate
    if network.sees in ("knn", "radius"):
        # the score does not depend on the loss, and this one has a free shape
        objective = objective._replace(loss=objective.score)
    params = jax.tree.map(jnp.asarray, detector.params)
    where = {
        "mean": jnp.asarray(statistics.latent.mean, jnp.float32),
        "inverse": jnp.asarray(
            np.linalg.inv(statistics.latent.covariance), jnp.float32
        ),
    }

    def scores(error: jax.Array, code: jax.Array) -> dict[str, jax.Array]:
        code = code.reshape(code.shape[0], *where["mean"].shape)  # [b, J, L]
        off = code - where["mean"][None]
        square = jnp.einsum("eja,jab,ejb->ej", off, where["inverse"], off)
        latent = jnp.sum(jnp.sqrt(jnp.maximum(square, 0)), axis=1)
        log = jnp.log(jnp.maximum(latent, jnp.finfo(jnp.float32).tiny))
        combined = (error - statistics.nll.mean) / statistics.nll.std
        combined += (log - statistics.log_latent.mean) / statistics.log_latent.std
        found = {network.error_name: error, "latent": latent, "combined": combined}
        return {k: v.astype(jnp.float32) for k, v in (found | {"code": code}).items()}

    if network.sees in ("jets", "event"):

        def of_sets(sets: jax.Array) -> dict[str, jax.Array]:
            batch = {network.sees: sets, "weight": jnp.ones(sets.shape[0])}
            found = objective(params, batch, None)
            return scores(found.score, found.code)

        return of_sets

    def of_graphs(
        x: jax.Array, graph_index: jax.Array, n_node: jax.Array, *edges: jax.Array
    ) -> dict[str, jax.Array]:
        if network.mean:
            x = (x - jnp.array([network.mean])) / jnp.array([network.std])
        names = ("neighbours",) if network.graph == "knn" else ("senders", "receivers")
        part = {
            "x": x,
            "graph_index": graph_index,
            "n_node": n_node,
            "weight": jnp.ones(n_node.shape[0]),
            **dict(zip(names, edges, strict=True)),
        }
        found = objective.part(params, part, None)
        return scores(found.score, found.code)

    return of_graphs


def stablehlo(detector: Detector) -> bytes:
    """Returns the serialised `program`; numbers of events and particles stay free."""
    network = detector.network
    float32, int32 = jnp.float32, jnp.int32
    if network.sees in ("jets", "event"):
        shape = {"jets": "b, 2, 48, 3", "event": "b, 128, 3"}[network.sees]
        arguments = [(shape, float32)]
    else:
        arguments = [("n, 3", float32), ("n", int32), ("g", int32)]
        if network.graph == "knn":
            arguments.append((f"n, {detector.reading.k}", int32))
        else:
            arguments += [("e", int32), ("e", int32)]
    return serialised(program(detector), arguments)
