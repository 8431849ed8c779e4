"""From a trained generator to the report: closure against held-out truth."""

import json
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.cr_muons import data
from experiments.cr_muons.config import Config
from jaxphys.config import to_flagfile
from jaxphys.cr_muons.analysis import evaluation
from jaxphys.cr_muons.analysis.baseline import fit_baseline
from jaxphys.cr_muons.analysis.closure_checks import compare_with_muongun
from jaxphys.cr_muons.analysis.evaluation import Closure, Reference, Sampler
from jaxphys.cr_muons.inference import predict as prediction
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.report.page import write_report
from jaxphys.training import app

_BASELINE_EVENTS = 400_000


def report_run(
    config: Config, session: app.Session, found: data.Data | None, history: list
) -> None:
    """Compares the generator of a run with held-out truth and writes the report.

    Args:
      config: the flags.
      session: of this call.
      found: the run's own events; None: the truth is all of --data.
      history: of the run's evaluations.
    """
    generator, seed = (
        prediction.load(config.workdir, config.weights),
        config.report_seed,
    )
    with session.stage("held-out truth"):
        reference = _reference(config, found)
    samplers: dict[str, Sampler] = {}
    for name in config.compare:
        samplers[pathlib.Path(name).name] = prediction.load(name).sample
    if config.baseline and found is not None:
        with session.stage("regression baseline"):
            # all events, also those that the adversarial training leaves out
            fitted = fit_baseline(found.numbers.events(_BASELINE_EVENTS))
        samplers["regression"] = fitted.sample
    begin = time.monotonic()
    generator.sample(_truth(reference).primaries, seed=seed + 1)
    generating = time.monotonic() - begin  # programs are compiled in it
    with session.stage("closure"):
        model, closure = _compare(reference, generator.sample, seed)
    others, columns = {}, {}
    for name, sampler in samplers.items():
        with session.stage(f"closure of {name}"):
            others[name], compared = _compare(reference, sampler, seed)
        columns[name] = compared
    further = {}
    for place in config.extra_data:
        truth = data.events_of(config, place)
        further[pathlib.Path(place).stem] = evaluation.compare_events(
            truth, generator.sample(truth.primaries, seed=seed)
        )
    reference_rows = []
    if config.reference:
        with session.stage("reference numbers"):
            reference_rows = compare_with_muongun(config.reference, generator.sample)
    folder = pathlib.Path(config.output or f"{config.workdir}/report")
    write_report(
        folder,
        truth=_truth(reference),
        model=model,
        closure=closure,
        history=history,
        data=found.train.counts() if found else {},
        speed=_speed(config, len(model) / generating, len(model.muons) / generating),
        others=others,
        columns=columns,
        further=further,
        reference=reference_rows,
        config_text=to_flagfile(config),
        command=session.command,
        timings=session.timings,
        source=_source(config, found),
    )
    print(_in_words(closure))
    print(f"report: {folder / 'report.html'} after {session.seconds():.0f} s")


def _speed(config: Config, events: float, muons: float) -> dict[str, float]:
    """Returns rates of generation and, from the run's log, of training."""
    found = {"generate_events_per_s": events, "generate_muons_per_s": muons}
    path = pathlib.Path(config.workdir) / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    # the first interval includes the compilation
    timed = [entry for entry in lines if "steps_per_second" in entry][1:]
    if timed:
        rate = float(np.median([entry["steps_per_second"] for entry in timed]))
        found["steps_per_s"] = rate
        found["train_events_per_s"] = rate * timed[-1]["train_events"]
        found["train_muons_per_s"] = rate * timed[-1]["train_muons"]
        found["input_wait"] = float(np.median([e["input_wait"] for e in timed]))
    return found


def _reference(config: Config, found: data.Data | None) -> Reference | Events:
    """Returns fresh events of the simulation, or the held-out ones of the user."""
    if found is None:
        return data.events_of(config, config.sources)
    if config.sources:
        return found.val.events(config.report_events)
    return evaluation.make_reference(
        config.report_events, config.report_seed, data.population(config)
    )


def _truth(reference: Reference | Events) -> Events:
    return reference if isinstance(reference, Events) else reference.truth


def _compare(
    reference: Reference | Events, sampler: Sampler, seed: int
) -> tuple[Events, Closure]:
    """Returns the generated events and how they compare."""
    model = sampler(_truth(reference).primaries, seed)
    if isinstance(reference, Events):
        return model, evaluation.compare_events(reference, model)
    return model, evaluation.compare(reference, sampler, seed)


def _source(config: Config, found: data.Data | None) -> str:
    if found is None:
        return f"all events of {','.join(config.sources)}"
    if config.sources:
        return (
            f"validation showers of {','.join(config.sources)}: they chose the best "
            "weights, but were not trained on"
        )
    return (
        f"{config.report_events:,} events simulated for this, seed {config.report_seed}"
    )


def _in_words(closure: Closure) -> str:
    values: Mapping[str, Any] = closure.values
    words = [
        f"W1 of N {values['w1_n']:.4f}, E {values['w1_logE']:.4f}, "
        f"r {values['w1_logr']:.4f}",
        f"Fano {values['fano_pooled']:.2f}",
        f"classifier AUC {values['classifier_auc']:.3f}",
        f"{len(closure.good)} of {len(closure.rows)} lines good",
        "missed: " + (", ".join(closure.missed) or "none"),
    ]
    return "; ".join(words)
