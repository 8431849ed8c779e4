"""``python -m experiments.cr_muons --flagfile=... --workdir=...``."""

import functools
import json
import pathlib
import sys

import jax
import jax.numpy as jnp

from experiments.cr_muons import data
from experiments.cr_muons.config import Config
from experiments.cr_muons.experiment import report_run
from experiments.cr_muons.recipe import best_of, make_task
from jaxphys.cr_muons.data import corsika
from jaxphys.cr_muons.data.writers import write_predictions
from jaxphys.cr_muons.inference import export as exports
from jaxphys.cr_muons.inference import predict as prediction
from jaxphys.cr_muons.training.step import initial_params
from jaxphys.report import Column
from jaxphys.report.ensemble import write_ensemble
from jaxphys.training import app


def train(config: Config, session: app.Session) -> None:
    """Reads or simulates events, trains, compares with held-out truth and reports."""
    begun = app.find_checkpoint(
        config, best_of(config)
    )  # said before all work if it is wrong
    config = data.with_parts(config)
    folder = app.open_workdir(config)
    with session.stage("data"):
        norm = prediction.read_network(folder)["norm"] if begun is not None else None
        found = data.load(config, norm)
        if begun is not None:
            _check_same_data(folder, found)
        task = make_task(config, found, _starting_weights(config))
    if jax.process_index() == 0:
        prediction.save_network(
            folder,
            config.settings(),
            found.norm,
            config.depth_kind,
            data_fingerprint=found.train.index.fingerprint,
            seed=config.seed,
        )
    with session.stage("training"):
        result = app.train(config, task, config.epochs)
    if jax.process_index() != 0:
        return
    page = folder / "report" / "report.html"
    if begun == result.progress.step and page.exists():
        print(f"the run was finished before: {page} (--mode=evaluate makes it anew)")
        return
    report_run(config, session, found, list(result.progress.history))


def _check_same_data(folder: pathlib.Path, found: data.Data) -> None:
    """Refuses to go on with other events than the run began with."""
    saved = prediction.read_network(folder).get("data_fingerprint")
    if saved != found.train.index.fingerprint:
        raise ValueError(
            f"{folder}: the run began with other events (numbers of muons or showers "
            "differ): use another --workdir"
        )


def _starting_weights(config: Config):
    """Returns the weights of --init_from, None to draw them."""
    if not config.init_from:
        return None
    params = prediction.load_params(config.init_from)
    draw = functools.partial(initial_params, settings=config.settings())
    wanted = jax.eval_shape(draw, jax.random.key(0))
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (wanted, params)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"--init_from={config.init_from}: networks of other sizes")
    return params


def evaluate(config: Config, session: app.Session) -> None:
    """Reports on the run's held-out truth, or on all events of --data if given."""
    history = list(prediction.load(config.workdir).metadata["history"])
    if session.given("data") or session.given("infiles"):
        report_run(config, session, None, history)
        return
    norm = prediction.read_network(config.workdir)["norm"]
    report_run(config, session, data.load(config, norm), history)


def predict(config: Config, session: app.Session) -> None:
    """Writes bundles of muons for the table of primaries in --data."""
    if not session.given("data"):
        raise ValueError("--data: needed, the table of primaries")
    output = config.output or str(pathlib.Path(config.workdir) / "prediction.parquet")
    if pathlib.Path(output).suffix != ".parquet":
        raise ValueError(f"--output={output}: expected a .parquet file")
    if pathlib.Path(output).resolve() == pathlib.Path(config.data).resolve():
        raise ValueError(f"--output={output}: is --data itself")
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
    if not config.output:
        raise ValueError("--output: needed, the folder for the simulated events")
    print(data.simulate(config, config.output))


def prepare(config: Config, session: app.Session) -> None:
    """Checks --data; converts HDF5 and CORSIKA files to the Parquet file --output.

    Every row is checked. With --check_only the first ones are shown and nothing is
    written; --skip_bad_rows writes rows with impossible numbers to a file beside.
    """
    del session
    if not config.sources:
        raise ValueError("--data: needed, the files with the events")
    if not config.output and not config.check_only:
        raise ValueError("--output: needed, the Parquet file for the events")
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


def export(config: Config, session: app.Session) -> None:
    """Writes the generator as StableHLO and as PyTorch weights."""
    del session
    folder = pathlib.Path(config.output or f"{config.workdir}/export")
    for path in exports.write(folder, prediction.load(config.workdir, config.weights)):
        print(path)


def summarize(config: Config, session: app.Session) -> None:
    """Writes mean and spread over the runs of --seeds."""
    keys = ("w1_sum", "fano_pooled", "classifier_auc")
    members = {}
    for seed in config.seeds:
        path = pathlib.Path(app.of_seed(config, seed).workdir) / "report/report.json"
        found = json.loads(path.read_text())["numbers"]["values"]
        members[f"seed {seed}"] = {name: found[name] for name in keys}
    columns = [Column("summed W1"), Column("Fano ratio"), Column("classifier AUC")]
    folder = pathlib.Path(config.workdir) / "report"
    found = write_ensemble(
        folder, "cr_muons", members, columns, keys=keys, command=session.command
    )
    print(
        f"summed W1 {found['mean']['w1_sum']:.4f} +- {found['std']['w1_sum']:.2g} over "
        f"{len(members)} seeds\nreport: {folder / 'report.html'}"
    )


def main() -> None:
    """Runs the mode that the flags ask for."""
    app.run(
        Config,
        {
            "train": train,
            "evaluate": evaluate,
            "predict": predict,
            "simulate": simulate,
            "prepare": prepare,
            "export": export,
            "summarize": summarize,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
