"""Binds the flags to generator and critic, their update step and their events."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cr_muons.config import Config
from experiments.cr_muons.data import Data
from jaxphys.cr_muons.analysis import validation
from jaxphys.cr_muons.physics.normalise import FeatureNorm, normalise_conditions
from jaxphys.cr_muons.training import pretraining, step, summaries, updates
from jaxphys.data.batches import FirstThen
from jaxphys.training.task import Progress, Task, TrainState

# The same noise in every evaluation, so that its scalars follow the weights alone.
_EVAL_KEY = 20_260_119
_AUGMENT = 7_001  # folded into the key of a step


def turned(batch: Mapping[str, jax.Array], key: jax.Array) -> jax.Array:
    """Returns the muons [D, M, 3] with each event turned by an angle of its own."""
    count = len(batch["muon_event"])
    events = batch["num_muons"].shape[1]
    angle = jax.random.uniform(key, (count, events + 1), maxval=2 * math.pi)
    angle = jnp.take_along_axis(angle, batch["muon_event"], axis=1)  # [D, M]
    energy, x, y = (batch["muons"][..., i] for i in range(3))
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([energy, cosine * x - sine * y, sine * x + cosine * y], axis=-1)


def seen_by_step(
    config: Config, norm: FeatureNorm, batch: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
    """Returns a batch of physical numbers as the networks see it."""
    return {
        "conditions": normalise_conditions(batch["primaries"], config.depth_kind),
        "features": norm.apply(batch["muons"]),
        "num_muons": batch["num_muons"],
        "muon_event": batch["muon_event"],
        "event_mask": batch["event_mask"],
    }


def batch_metrics(batch: Mapping[str, jax.Array]) -> dict[str, Any]:
    """Returns what the original says of its batches, as (sum, weight)."""
    counts, mask = batch["num_muons"], batch["event_mask"]
    events, muons = jnp.sum(mask), jnp.sum(counts).astype(jnp.float32)
    one = jnp.float32(1)
    return {
        "events": (events, one),
        "muons": (muons, one),
        "mean_muons_per_event": (muons, events),
        "max_muons_per_event": (jnp.max(counts).astype(jnp.float32), one),
        "large_events": (jnp.sum(counts > 10_000).astype(jnp.float32), one),
        "pad_fraction_events": (1 - events / mask.size, one),
        "pad_fraction_muons": (1 - muons / batch["muon_event"].size, one),
    }


def best_of(config: Config) -> tuple[str, str]:
    """Returns the figure of the evaluations that chooses the weights, and "min"."""
    return f"val_{config.best_by}", "min"


def make_task(config: Config, data: Data, params: Any = None) -> Task:
    """Builds the task of a run.

    Args:
      config: the flags.
      data: batches and normalisation.
      params: weights of generator and critic to start from; None draws them.
    """
    settings = config.settings()
    epochs = config.multiplicity_epochs
    before = sum(data.numbers.num_batches(epoch) for epoch in range(epochs))
    objective = step.Objective(settings, before)
    optimizer = updates.optimizers(settings)

    def init(key: jax.Array) -> TrainState:
        start = step.initial_params(key, settings) if params is None else params
        return step.initial_state(start, objective=objective, optimizer=optimizer)

    def train_step(state, batch, key, phase):
        if config.rotate_augment:
            muons = turned(batch, jax.random.fold_in(key, _AUGMENT))
            batch = {**batch, "muons": muons}
        seen = seen_by_step(config, data.norm, batch)
        new, found = step.train_step(
            state, seen, key, phase, objective=objective, optimizer=optimizer
        )
        return new, {**found, **batch_metrics(batch)}

    def eval_step(state, batch, key, phase):
        del key
        key = jax.random.key(_EVAL_KEY)
        seen = seen_by_step(config, data.norm, batch)
        found = step.eval_step(state, seen, key, phase, objective=objective)
        return {**batch, "conditions": seen["conditions"], **found}

    def advance(progress: Progress, scalars: Mapping[str, float]) -> Progress:
        del scalars
        if progress.round >= epochs:
            progress = progress.replace(phase="train")
        if 0 < config.train_steps <= progress.step:
            progress = progress.replace(stop=f"--train_steps={config.train_steps}")
        return progress

    return Task(
        init=init,
        train_step=train_step,
        eval_step=eval_step,
        summarize=lambda found: validation.summarize(
            data.norm, found, best_by=config.best_by
        ),
        histograms=lambda found: histograms(data.norm, found),
        train_data=FirstThen(data.numbers, data.train, epochs)
        if epochs
        else data.train,
        eval_data=data.val,
        first_phase="multiplicity" if before else "train",
        advance=advance,
        enter_phase=lambda state, phase: pretraining.begin_adversarial(state),
        best=best_of(config),
        best_of=step.sampled,
        announce=lambda progress, entry: announce(config, progress, entry),
    )


def histograms(
    norm: FeatureNorm, batches: Sequence[Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    """Returns the values of the original's histograms, of the first batch."""
    batch = batches[0]
    seen = {**batch, "features": norm.apply(np.asarray(batch["muons"]))}
    return summaries.histograms(seen, batch["fake_features"], batch["fake_event"])


def announce(config: Config, progress: Progress, entry: Mapping[str, Any]) -> str:
    """Returns the line of an evaluation."""
    losses = (("critic", "c", 3), ("generator", "g", 3), ("multiplicity", "m", 4))
    words = [
        f"step {progress.step}",
        *(
            f"{name} {entry[f'train_{key}_loss']:.{digits}f}"
            for name, key, digits in losses  # a phase has not all of them
            if f"train_{key}_loss" in entry
        ),
        f"W1 N {entry['val_w1_n']:.4f} E {entry['val_w1_logE']:.4f} "
        f"r {entry['val_w1_logr']:.4f}",
    ]
    if "val_classifier_auc" in entry:
        words.append(f"classifier {entry['val_classifier_auc']:.3f}")
    if "steps_per_second" in entry:
        rate = entry["steps_per_second"] * config.batch_size
        words.append(f"{rate / 1e3:.1f}k ev/s")
        words.append(f"wait {entry['input_wait']:.0%}")
    bad = progress.extra["best_bad"]
    words.append("NEW BEST" if not bad else f"no gain for {bad:.0f}")
    return "\n".join([" | ".join(words), *warnings(config, progress, entry)])


def warnings(config: Config, progress: Progress, entry: Mapping[str, Any]) -> list[str]:
    """Returns a sentence for each figure that is out of its range."""
    found = []
    if abs(entry.get("train_c_loss", 0.0)) > 1000:
        found.append(f"warning: critic loss {entry['train_c_loss']:.4g}")
    late = config.multiplicity == "deterministic" and progress.step > 1000
    if late and entry.get("train_m_loss", 0.0) > 0.2:
        found.append(f"warning: multiplicity loss {entry['train_m_loss']:.3f} > 0.2")
    if entry.get("train_fake_overflow_events", 0.0) > 0:
        found.append(
            f"warning: {entry['train_fake_overflow_events']:.3g} generated events a "
            "step do not fit --fake_muon_budget"
        )
    if entry.get("input_wait", 0.0) > 0.2:
        found.append("warning: over a fifth of the time is spent waiting for events")
    return found
