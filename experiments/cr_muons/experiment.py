"""From a trained generator to the report: closure against held-out truth."""

import pathlib
import time

from experiments.cr_muons import data
from experiments.cr_muons.config import Config
from jaxphys.config import to_flagfile
from jaxphys.cr_muons.analysis import evaluation
from jaxphys.cr_muons.analysis.baseline import fit_baseline
from jaxphys.cr_muons.analysis.closure_checks import compare_with_muongun
from jaxphys.cr_muons.analysis.evaluation import (
    Reference,
    Sampler,
    generate_and_compare,
    truth_of,
)
from jaxphys.cr_muons.inference import predict as prediction
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.report.page import in_words, speed_of, write_report
from jaxphys.training import app
from jaxphys.training.writer import read_metrics

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
    generator.sample(truth_of(reference).primaries, seed=seed + 1)
    generating = time.monotonic() - begin  # programs are compiled in it
    with session.stage("closure"):
        model, closure = generate_and_compare(reference, generator.sample, seed)
    others, columns = {}, {}
    for name, sampler in samplers.items():
        with session.stage(f"closure of {name}"):
            others[name], compared = generate_and_compare(reference, sampler, seed)
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
        truth=truth_of(reference),
        model=model,
        closure=closure,
        history=history,
        data=found.train.counts() if found else {},
        speed={
            "generate_events_per_s": len(model) / generating,
            "generate_muons_per_s": len(model.muons) / generating,
            **speed_of(read_metrics(config.workdir)),
        },
        others=others,
        columns=columns,
        further=further,
        reference=reference_rows,
        config_text=to_flagfile(config),
        command=session.command,
        timings=session.timings,
        weights=generator.metadata,
        source=_source(config, found),
    )
    print(in_words(closure))
    print(f"report: {folder / 'report.html'} after {session.seconds():.0f} s")


def _reference(config: Config, found: data.Data | None) -> Reference | Events:
    """Returns fresh events of the simulation, or the held-out ones of the user."""
    if found is None:
        return data.events_of(config, config.sources)
    if config.sources:
        return found.val.events(config.report_events)
    return evaluation.make_reference(
        config.report_events, config.report_seed, data.population(config)
    )


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
