"""From trained lobes to the report: scores of each part, analysis of the frames."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from experiments.gdynet.config import Config
from experiments.gdynet.data import Part, Parts
from experiments.gdynet.recipe import batches_of, make_lobes, read_warnings, total_sums
from jaxphys.config import to_flagfile
from jaxphys.gdynet.analysis.analysis import AnalysisSettings
from jaxphys.gdynet.inference import predict as prediction
from jaxphys.gdynet.inference.predict import Predictor
from jaxphys.gdynet.report.page import write_report
from jaxphys.gdynet.training import accumulate, step
from jaxphys.training import app


def time_unit_of(config: Config, exact: Mapping[str, Any]) -> tuple[float, str]:
    """Returns the time from frame to frame and the name of its unit."""
    return (
        config.time_unit or float(exact.get("frame_time", 1.0)),
        config.time_unit_name or str(exact.get("time_unit", "frames")),
    )


def _analysed(config: Config, parts: Parts) -> Part:
    if config.analysis_data == "test":
        return parts.test
    return parts.train


def _predictions(config: Config, predictor: Predictor, part: Part) -> list[np.ndarray]:
    """Returns the probabilities of the trajectories that are analysed."""
    found = predictor.predict(part.trajectories)
    if config.analysis_data == "all":
        return found
    whole = np.concatenate(found)
    return [whole[first:stop] for first, stop in part.pairs.blocks]


def report_run(
    config: Config, session: app.Session, parts: Parts, history: list
) -> None:
    """Scores the test pairs, analyses the trajectories and writes the report."""
    part = _analysed(config, parts)
    predictor = prediction.load(config.workdir, config.weights)
    with session.stage("predictions"):
        predictions = _predictions(config, predictor, part)
        scores = _scores(config, parts)
    time_unit, name = time_unit_of(config, parts.exact)
    folder = pathlib.Path(config.output or f"{config.workdir}/report")
    if config.analysis_data == "all":
        _save_predictions(config, predictions)
    numbers = write_report(
        folder,
        predictions=predictions,
        trajectories=part.trajectories,
        blocks=None if config.analysis_data == "all" else part.pairs.blocks,
        tau=config.tau,
        time_unit=time_unit,
        time_unit_name=name,
        settings=settings_of(config),
        exact=parts.exact or None,
        history=history,
        scores=scores,
        warnings=read_warnings(config.workdir),
        config_text=to_flagfile(config),
        command=session.command,
        timings=session.timings,
        model=config.model_type,
        source=_source(config),
    )
    print(_in_words(numbers["summary"], name))
    print(f"report: {folder / 'report.html'} after {session.seconds():.0f} s")


def _source(config: Config) -> str:
    """Returns what was analysed, in words."""
    data = config.data or ",".join(config.train_fnames)
    data = data or f"case {config.case}, simulated here"
    part = "all frames, training included"
    return f"{data} ({part if config.analysis_data == 'all' else 'the test part'})"


def _in_words(found: Mapping[str, Any], unit: str) -> str:
    """Returns the summary of an analysis in one line."""
    slowest = found.get("slowest")
    words = ["slowest timescale unresolved"]
    if slowest is not None:
        low, high = found.get("slowest_low"), found.get("slowest_high")
        between = "" if low is None or high is None else f" ({low:.4g} to {high:.4g})"
        words = [f"slowest timescale {slowest:.4g}{between} {unit}"]
    if found.get("slowest_exact") is not None:
        words.append(f"exact {found['slowest_exact']:.4g}")
    words.append(f"validation VAMP-2 {found['val_vamp2']:.4f}")
    words.append(f"Chapman-Kolmogorov deviation {found['ck_deviation']:.2g}")
    return "; ".join(words)


def _save_predictions(config: Config, predictions: list[np.ndarray]) -> None:
    """Writes the original's files: one array, or one per trajectory."""
    folder = pathlib.Path(config.workdir) / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{config.model_type}_predictions"
    if len(predictions) == 1:
        np.save(folder / f"{name}.npy", predictions[0])
        return
    whole = np.concatenate(predictions)
    np.save(folder / f"{name}.npy", whole)
    np.save(folder / f"{name}_lengths.npy", [len(p) for p in predictions])


def _scores(config: Config, parts: Parts) -> dict[str, float]:
    """Returns the scores of the training, validation and test pairs as wholes."""
    lobes = make_lobes(config, parts.train)
    found = {}
    variables = prediction.load_variables(config.workdir, config.weights)
    for name in ("train", "val", "test"):
        part = getattr(parts, name)
        sums = _sums(config, lobes, variables, part)
        scored = accumulate.scores(sums, config.epsilon, config.vamp_mode)
        for key in ("vamp1", "vamp2", "vampe", "static", "centred"):
            found[f"{name}_{key}"] = float(getattr(scored, key))
    return found


def _sums(config, lobes, variables, part) -> accumulate.Sums:
    batches = batches_of(config, part, train=False)
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
    return total_sums(found)


def settings_of(config: Config) -> AnalysisSettings:
    """Returns the settings of the analysis that the flags name."""
    names = ("lags", "lag_max", "ck_steps", "koopman_epsilon", "koopman")
    names += ("n_bootstrap", "error_method", "n_splits", "split_axis", "n_macrostates")
    return AnalysisSettings(**{name: getattr(config, name) for name in names})
