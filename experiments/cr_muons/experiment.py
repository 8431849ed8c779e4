"""Muon bundles for the modes: what is read, learned and shown."""

import pathlib
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from experiments.cr_muons import data
from experiments.cr_muons.config import Config
from experiments.cr_muons.recipe import best_of, make_task
from jaxphys.cr_muons.analysis import evaluation
from jaxphys.cr_muons.analysis.baseline import fit_baseline
from jaxphys.cr_muons.analysis.closure_checks import compare_with_muongun
from jaxphys.cr_muons.analysis.evaluation import (
    Reference,
    Sampler,
    generate_and_compare,
    truth_of,
)
from jaxphys.cr_muons.data import corsika
from jaxphys.cr_muons.data.writers import write_predictions
from jaxphys.cr_muons.inference import export as exports
from jaxphys.cr_muons.inference import predict as prediction
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.physics.normalise import FeatureNorm
from jaxphys.cr_muons.report.page import in_words, speed_of, write_report
from jaxphys.report import Column
from jaxphys.training import app, modes
from jaxphys.training.writer import read_metrics

_BASELINE_EVENTS = 400_000
# what weights depend on
ARCHITECTURE = (
    "cond_dim", "feat_dim", "latent_dim_global", "latent_dim_local", "hidden_dim",
    "score_head", "critic_pooling", "multiplicity", "rotate_output",
)  # fmt: skip


class Record(NamedTuple):
    """What a run saves of its networks: sizes and losses, and the features' scales."""

    settings: GanSettings
    norm: FeatureNorm


def open_record(workdir: str | pathlib.Path) -> Record:
    """Returns the record of a run."""
    found = prediction.read_network(workdir)
    return Record(found["settings"], found["norm"])


def start(config: Config) -> modes.Start | None:
    """Returns the weights of --init_from, with the scales of their features.

    Raises:
      ValueError: they are weights of other networks.
    """
    if not config.init_from:
        return None
    found = open_record(config.init_from)
    mine, theirs = (
        {name: getattr(settings, name) for name in ARCHITECTURE}
        for settings in (config.settings(), found.settings)
    )
    mine["feature_norm"], theirs["feature_norm"] = config.feature_norm, found.norm.kind
    modes.check_alike(config.init_from, mine, theirs)
    return modes.Start(found, prediction.load_params(config.init_from))


def report(
    config: Config,
    session: app.Session,
    found: data.Data | data.Unseen,
    history: list,
) -> None:
    """Compares the generator of a run with held-out truth and writes the page."""
    generator, seed = (
        prediction.load(config.workdir, config.weights),
        data.report_seed(config),
    )
    with session.stage("held-out truth"):
        reference = _reference(config, found)
    samplers: dict[str, Sampler] = {}
    for name in config.compare:
        samplers[pathlib.Path(name).name] = prediction.load(name).sample
    if config.baseline and isinstance(found, data.Data):
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
    page = modes.page_of(config, session, history, generator.metadata)
    write_report(
        page,
        truth=truth_of(reference),
        model=model,
        closure=closure,
        data=found.train.counts() if isinstance(found, data.Data) else {},
        speed={
            "generate_events_per_s": len(model) / generating,
            "generate_muons_per_s": len(model.muons) / generating,
            **speed_of(read_metrics(config.workdir)),
        },
        others=others,
        columns=columns,
        further=further,
        reference=reference_rows,
        source=_source(config, found),
    )
    print(in_words(closure))
    print(f"report: {page.folder}/report.html after {session.seconds():.0f} s")


def _reference(config: Config, found: data.Data | data.Unseen) -> Reference | Events:
    """Returns fresh events of the simulation, or the held-out ones of the user."""
    if isinstance(found, data.Unseen):
        return found.events
    if config.sources:
        return found.val.events(config.report_events)
    return evaluation.make_reference(
        config.report_events, data.report_seed(config), data.population(config)
    )


def _source(config: Config, found: data.Data | data.Unseen) -> str:
    if isinstance(found, data.Unseen):
        return f"all events of {','.join(config.sources)}"
    if config.sources:
        return (
            f"validation showers of {','.join(config.sources)}: they chose the best "
            "weights, but were not trained on"
        )
    seed = data.report_seed(config)
    return f"{config.report_events:,} events simulated for this, seed {seed}"


def predict(config: Config, session: app.Session, output: str) -> None:
    """Writes bundles of muons for the table of primaries in --data."""
    generator = prediction.load(config.workdir, config.weights)
    events = generator.predict(
        config.data,
        config.counts_mode,
        counts_column=config.counts_column,
        count_constant=config.count_constant,
        max_muons_per_event=(
            config.max_muons_per_event if session.given("max_muons_per_event") else 0
        ),
        seed=config.seed,
    )
    write_predictions(output, events, config.output_schema)
    print(f"{len(events)} events with {len(events.muons)} muons in {output}")


def simulate(config: Config, session: app.Session) -> None:
    """Writes simulated events into the folder --output."""
    del session
    folder = modes.required(config, "output", "the folder for the simulated events")
    print(data.simulate(config, folder))


def prepare(config: Config, session: app.Session) -> None:
    """Checks --data; converts HDF5 and CORSIKA files to the Parquet file --output.

    Every row is checked. With --check_only the first ones are shown and nothing is
    written; --skip_bad_rows writes rows with impossible numbers to a file beside.
    """
    del session
    if not config.sources:
        raise ValueError("--data: needed, the files with the events")
    if not config.check_only:
        modes.required(config, "output", "the Parquet file for the events")
    opened = data.cache(config)
    if corsika.is_corsika(config.sources):
        if config.check_only:
            raise ValueError("--check_only: is for Parquet and HDF5 files")
        corsika.convert(config.sources, config.output, config.depths)
        return
    index = data.checked(config, opened)
    facts = index.facts
    print("{files} files, {events} events, {muons} muons".format(**facts), end="")
    print(f", {index.num_bad} rows with impossible numbers" if index.num_bad else "")
    if config.check_only:
        _show(index, config.print_max_events)
        return
    aside = pathlib.Path(config.output).with_suffix(".bad_rows.parquet")
    written = data.convert(config, index, aside)
    print(f"{written} events in {config.output}")
    if index.num_bad:
        print(f"the others in {aside}")


def _show(index, most: int) -> None:
    file = next(found.file for found in index.files if found.file.num_rows)
    events = file.read(0, min(most, file.num_rows))
    for row in range(len(events)):
        energy, zenith, mass, depth = events.primaries[row]
        print(
            f"event {row}: E {energy:.4g} GeV, zenith {zenith:.3f} rad, mass "
            f"{mass:.4g} GeV, depth {depth:.0f} m, {events.num_muons[row]} muons"
        )


def _numbers(found: Mapping[str, Any]) -> dict[str, float]:
    values = found["values"]
    return {name: values[name] for name in ("w1_sum", "fano_pooled", "classifier_auc")}


def _words(mean: Mapping[str, float], std: Mapping[str, float], members) -> str:
    del members
    return f"summed W1 {mean['w1_sum']:.4f} +- {std['w1_sum']:.2g}"


EXPERIMENT = modes.Experiment(
    config=Config,
    best=best_of,
    begin=data.with_parts,
    load=lambda config, known: data.load(config, known.norm if known else None),
    load_unseen=data.load_unseen,
    describe=lambda config, found, known: Record(config.settings(), found.norm),
    save=lambda folder, record, config: prediction.save_network(
        folder, record.settings, record.norm, config.depth_kind, seed=config.seed
    ),
    open_record=open_record,
    make_task=lambda config, found, record, params: make_task(config, found, params),
    rounds=lambda config: config.epochs,
    start=start,
    report=report,
    needs="the table of primaries",
    predict=predict,
    export=lambda config, folder: exports.write(
        folder, prediction.load(config.workdir, config.weights)
    ),
    simulate=simulate,
    prepare=prepare,
    ensemble=modes.Ensemble(
        columns={
            "w1_sum": Column("summed W1"),
            "fano_pooled": Column("Fano ratio"),
            "classifier_auc": Column("classifier AUC"),
        },
        read=_numbers,
        words=_words,
    ),
)
