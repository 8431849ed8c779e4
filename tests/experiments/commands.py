"""A mode of an experiment in this process, as its command line would run it."""

import itertools
import json

from absl import flags

from jaxphys.api import load_run
from jaxphys.command_line import define_flags, given_flags, parse_command_line
from jaxphys.training import app, modes


def run_mode(experiment, *arguments):
    """Returns the configuration of the call.

    Args:
      experiment: `jaxphys.training.modes.Experiment`.
      *arguments: of the command line.
    """
    values = flags.FlagValues()
    define_flags(experiment.config, values)
    config = parse_command_line(experiment.config, arguments, values)
    given = given_flags(experiment.config, values)
    config = app.resolve(config, given)
    session = app.Session("command", frozenset(given))
    modes.modes_of(experiment)[config.mode](config, session)
    return config


def check_weights(folder, metric, mode):
    """Checks that loading and the page name the best weights of the last phase."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    history = [entry for entry in map(json.loads, lines) if metric in entry]
    phase, end = history[-1]["phase"], history[-1]["step"]
    own = list(itertools.takewhile(lambda e: e["phase"] == phase, history[::-1]))
    choose = min if mode == "min" else max
    best = choose(own[::-1], key=lambda entry: entry[metric])
    run, last = load_run(folder), load_run(folder, weights="last")
    assert (run.weights, run.weights_step) == ("best", best["step"])
    assert (last.weights, last.weights_step) == ("last", end)
    page = folder / "report/report.html"
    if page.is_file():
        named = json.loads(page.with_suffix(".json").read_text())["weights"]
        assert named == {"which": "best", "step": best["step"], "phase": phase}
        assert f"of step {best['step']}, phase {phase}" in page.read_text()
