"""VAMP scores of whole sets of pairs of frames."""

from collections.abc import Mapping
from typing import Any

import jax

from jaxphys.data.batches import Batches
from jaxphys.gdynet.training import accumulate, step


def set_scores(
    lobes: step.Lobes,
    variables: Mapping[str, Any],
    parts: Mapping[str, Batches],
) -> dict[str, float]:
    """Returns <part>_{vamp1,vamp2,vampe,static,centred} of each part as a whole.

    Args:
      lobes: networks.
      variables: params and batch_stats of each of them.
      parts: name -> its pairs, each once.
    """
    found = {}
    for name, batches in parts.items():
        sums = _sums(lobes, variables, batches)
        scored = accumulate.scores(sums, lobes.epsilon, lobes.vamp_mode)
        for key in ("vamp1", "vamp2", "vampe", "static", "centred"):
            found[f"{name}_{key}"] = float(getattr(scored, key))
    return found


def _sums(
    lobes: step.Lobes, variables: Mapping[str, Any], batches: Batches
) -> accumulate.Sums:
    resident = jax.device_put(batches.resident(0))
    params = {name: v["params"] for name, v in variables.items()}
    stats = {name: v["batch_stats"] for name, v in variables.items()}

    @jax.jit
    def one(params, stats, resident, rows):
        batch = batches.expand(resident, rows)
        pair = step.evaluate(lobes, params, stats, batch, False)
        targets = len(lobes.target_index)
        return accumulate.batch_sums(pair.chi0, pair.chit, pair.weight, targets)

    found = []
    for index in range(batches.num_batches(0)):
        rows = batches.batch(0, index, slice(None))
        found.append({"sums": one(params, stats, resident, rows)})
    return accumulate.total(found)
