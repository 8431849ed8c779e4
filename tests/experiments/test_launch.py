"""The job files do what they say: their commands are read from them and run."""

import pathlib
import re
import shlex

import numpy as np
import pytest

from experiments.track_extrapolator import data
from experiments.track_extrapolator.config import Config
from jaxphys.command_line import parse_command_line
from jaxphys.track_extrapolator.data.dataset_files import read_dataset

LAUNCH = pathlib.Path(__file__).parents[2] / "experiments" / "launch"
SHARDS, SAMPLES = 3, 1000


def read_submit_file(path):
    """Returns the macros of a submit file and its queue statement."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
    head, _, queue = text.partition("queue")
    pairs = (line.split("=", 1) for line in head.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}, queue.strip()


def expand(text, values):
    while match := re.search(r"\$\((\w+)\)", text):
        text = text.replace(match[0], str(values[match[1]]))
    return text


def simulate(words):
    assert words[0] == "track_extrapolator"
    config = parse_command_line(Config, words[1:])
    assert config.mode == "simulate"
    data.simulate(config, pathlib.Path(config.output))


def whole_data_set(folder):
    arguments = ["--mode=simulate", f"--samples={SAMPLES}", "--data_seed=0"]
    data.simulate(parse_command_line(Config, arguments), folder)
    return read_dataset(folder, "train")


def condor_commands(folder):
    macros, queue = read_submit_file(LAUNCH / "track_extrapolator_simulate.sub")
    macros |= {"shards": f"{SHARDS}", "samples": f"{SAMPLES}", "folder": str(folder)}
    jobs = int(expand(queue, macros))
    return [
        shlex.split(expand(macros["arguments"], {**macros, "Process": number}))
        for number in range(jobs)
    ]


def slurm_commands(folder):
    text = (LAUNCH / "track_extrapolator_simulate.sbatch").read_text()
    command = text[text.index("experiments/launch/run.sh track") :].replace("\\\n", "")
    values = {"FOLDER": folder, "SAMPLES": SAMPLES, "SHARDS": SHARDS}
    commands = []
    for number in range(SHARDS):
        line = command
        for name, value in {**values, "SLURM_ARRAY_TASK_ID": number}.items():
            line = line.replace(f'"${name}"', str(value))
        commands.append(shlex.split(line)[1:])
    return commands


@pytest.mark.parametrize("commands", [condor_commands, slurm_commands])
def test_array_jobs_write_disjoint_shards_that_merge_to_the_whole(tmp_path, commands):
    jobs = commands(tmp_path / "shards")
    for words in reversed(jobs):  # in any order
        simulate(words)
    assert len(list((tmp_path / "shards").glob("*.parquet"))) == SHARDS
    merged = read_dataset(tmp_path / "shards", "train")
    whole = whole_data_set(tmp_path / "whole")
    np.testing.assert_array_equal(merged.state, whole.state)
    np.testing.assert_array_equal(merged.target, whole.target)
    assert len(np.unique(merged.state, axis=0)) == SAMPLES


def test_training_jobs_parse_and_read_the_shards():
    macros, queue = read_submit_file(LAUNCH / "track_extrapolator_train.sub")
    models = queue.split("(")[1].split(")")[0].split()
    for model in models:
        words = shlex.split(expand(macros["arguments"], {**macros, "Model": model}))
        config = parse_command_line(Config, words[1:])
        assert (config.model, config.data) == (model, macros["folder"])
        assert config.workdir == macros["transfer_output_files"].replace(
            "$(Model)", model
        )


@pytest.mark.parametrize("path", sorted(LAUNCH.iterdir()), ids=lambda p: p.name)
def test_job_files_hold_no_path_of_a_site(path):
    text = path.read_text().replace("/path/to/venv", "")
    assert not re.findall(r"(?<![\w./$\"{}])/(?!usr/bin/env)\w+/", text)
