"""Compares the training step of the muon GAN with the original's, side by side.

Command: `python -m tests.benchmarks.cr_muons_step --original=model.py` (five minutes),
where the file is training/model.py of briedel/cr_muons at bdff8ed; without it the twin
in tests/cr_muons is measured. Both sides take the same batches of 4096 events in one
process on the same cores and alternate, `--steps` at a time, of which the first, that
finds the other's data in the caches, is left out; medians of wall and CPU time are
printed. With `--steps=1` every step is one after the other's. The
generator of both begins with two muons in every event. Both are on huge pages, as the
command line puts our side, or with `--nohuge_pages` on small ones. The last line of
JSON holds all.
"""

import argparse
import functools
import importlib.util
import itertools
import json
import os
import statistics
import sys
import time

from jaxphys.training.process import huge_pages

EVENTS = 4096
TARGET = 2.0
KINDS = {"0.4 mu/event": 1164, "drop_empty": 40_114}  # real muons of a batch


def make_batch(kind, seed=0):
    """Returns conditions, features and numbers of muons of a batch, numpy."""
    import numpy as np

    rng = np.random.default_rng(seed)
    total, number = KINDS[kind], np.zeros(EVENTS, np.int64)
    if kind == "drop_empty":
        number += 1
        events = np.arange(EVENTS)
    else:
        events = rng.choice(EVENTS, 250, replace=False)
        number[events] = 1
    share = rng.pareto(1.2, len(events)) + 0.1
    more = rng.multinomial(total - number.sum(), share / share.sum())
    number[events] += more
    conditions = rng.normal(size=(EVENTS, 4)).astype(np.float32)
    features = rng.normal(size=(total, 3)).astype(np.float32)
    return conditions, features, number


def ours(name, kind):
    """Returns a function that takes one of our steps, and one that waits."""
    import jax
    import numpy as np

    from jaxphys.cr_muons.training import step, updates
    from tests.cr_muons.recipes import PUBLISHED

    # two muons in every event at the start, so as many places
    settings = PUBLISHED[name].replace(fake_muon_budget=2 * EVENTS)
    conditions, features, number = make_batch(kind)
    event = np.repeat(np.arange(EVENTS, dtype=np.int32), number)
    places = 2048 if kind != "drop_empty" else 40_960
    pad = places - len(event)
    batch = {
        "conditions": conditions[None],
        "features": np.pad(features, ((0, pad), (0, 0)))[None],
        "num_muons": number[None].astype(np.int32),
        "muon_event": np.pad(event, (0, pad), constant_values=EVENTS)[None],
        "event_mask": np.ones((1, EVENTS), np.float32),
    }
    batch = jax.tree.map(jax.numpy.asarray, batch)
    objective, optimizer = step.Objective(settings), updates.optimizers(settings)
    update = jax.jit(
        lambda state, batch, key: step.train_step(
            state, batch, key, "train", objective=objective, optimizer=optimizer
        ),
        donate_argnums=0,
    )
    params = step.initial_params(jax.random.key(0), settings)
    held = [
        step.initial_state(
            params, objective=step.Objective(settings), optimizer=optimizer
        )
    ]
    key = jax.random.key(1)
    start = time.perf_counter()
    compiled = update.lower(held[0], batch, key).compile()
    seconds = time.perf_counter() - start
    found = {}

    def run():
        held[0], found["metrics"] = compiled(held[0], batch, key)
        jax.block_until_ready(held[0])

    return run, seconds, found


def theirs(name, kind, path):
    """Returns a function that takes one step of the original or of its twin."""
    import torch

    from tests.cr_muons.recipes import PUBLISHED

    settings = PUBLISHED[name]
    spec = importlib.util.spec_from_file_location("original_step", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    generator, critic = module.ScalableGenerator(), module.ScalableCritic()
    with torch.no_grad():
        generator.multiplicity_net[-1].bias.fill_(0.5)
    if settings.optimizer == "adam":
        make = functools.partial(
            torch.optim.Adam, lr=settings.learning_rate, betas=(0.0, 0.9)
        )
    else:
        make = functools.partial(
            torch.optim.SGD, lr=settings.learning_rate, momentum=settings.momentum
        )
    optimizers = make(generator.parameters()), make(critic.parameters())
    conditions, features, number = map(torch.as_tensor, make_batch(kind))
    event = torch.repeat_interleave(torch.arange(EVENTS), number)

    def run():
        return module.train_step_scalable(
            generator,
            critic,
            *optimizers,
            features,
            event,
            conditions,
            number,
            lambda_gp=settings.lambda_gp,
            critic_steps=settings.critic_steps,
            gp_max_pairs=settings.gp_max_pairs,
            gp_every=settings.gp_every,
            grad_clip_norm=settings.grad_clip_norm,
            grad_accum_steps=1,
        )

    return run


def compare(name, kind, path, rounds, steps):
    """Returns seconds per step of both sides, which take turns of some steps."""
    mine, compile_seconds, found = ours(name, kind)
    runs = {"original": theirs(name, kind, path), "jaxphys": mine}
    wall = {side: [] for side in runs}
    cpu = {side: [] for side in runs}
    for turn in range(rounds + 1):
        for (side, run), step in itertools.product(runs.items(), range(steps)):
            start, spent = time.perf_counter(), time.process_time()
            run()
            if turn and (step or steps == 1):
                wall[side].append(time.perf_counter() - start)
                cpu[side].append(time.process_time() - spent)
    total, weight = found["metrics"]["num_fake"]
    fakes = float(total / weight)
    return {
        "wall": wall,
        "cpu": cpu,
        "compile": compile_seconds,
        "fakes": fakes,
    }


def show(name, kind, found):
    """Prints rates and ratios of one configuration."""
    print(
        f"{kind}, {name}: compiled in {found['compile']:.0f} s, "
        f"{found['fakes']:.0f} generated muons"
    )
    for clock in ("wall", "cpu"):
        theirs, ours = (found[clock][side] for side in ("original", "jaxphys"))
        ratio = statistics.median(a / b for a, b in zip(theirs, ours, strict=True))
        rates = [EVENTS / statistics.median(times) for times in (theirs, ours)]
        least = min(theirs) / min(ours)
        found[f"{clock} ratio"] = [ratio, least]
        print(
            f"  {clock}: {rates[0]:8.0f} -> {rates[1]:8.0f} events/s, {ratio:.2f}x, "
            f"of the least {least:.2f}x",
            flush=True,
        )
    return found


def main():
    """Prints the ratios and, last, all measurements as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--original", default="", help="training/model.py; else a twin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of a side in a turn")
    parser.add_argument("--cores", default="0,1")
    parser.add_argument("--torch_threads", type=int, default=2)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument(
        "--names", default="sgd_nogp_cs5,sgd_gp_cs5,adam_gp_cs5,adam_gp_cs1"
    )
    parser.add_argument("--nohuge_pages", action="store_true")
    args = parser.parse_args()
    huge_pages.start_again(sys.orig_argv)
    os.sched_setaffinity(0, [int(core) for core in args.cores.split(",")])
    import torch

    from tests.cr_muons import torch_twin

    torch.set_num_threads(args.torch_threads)
    path = args.original or torch_twin.__file__
    everything = {}
    for kind in args.kinds.split(","):
        for name in args.names.split(","):
            found = compare(name, kind, path, args.rounds, args.steps)
            everything[f"{kind}/{name}"] = show(name, kind, found)
    worst = min(found["cpu ratio"][0] for found in everything.values())
    print(f"smallest ratio of CPU times {worst:.2f}x (target {TARGET:g})")
    print(json.dumps(everything))


if __name__ == "__main__":
    main()
