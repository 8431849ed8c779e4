"""From trained lobes to the report: scores of each part, analysis of the frames."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.gdynet.config import Config
from experiments.gdynet.data import Part, Parts
from experiments.gdynet.recipe import batches_of, make_lobes, read_warnings
from jaxphys.config import to_flagfile
from jaxphys.gdynet.analysis.analysis import AnalysisSettings
from jaxphys.gdynet.analysis.set_scores import set_scores
from jaxphys.gdynet.inference import predict as prediction
from jaxphys.gdynet.inference.predict import Predictor
from jaxphys.gdynet.report.page import in_words, write_report
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
        scores = set_scores(
            make_lobes(config, parts.train),
            prediction.load_variables(config.workdir, config.weights),
            {
                name: batches_of(config, getattr(parts, name), train=False)
                for name in ("train", "val", "test")
            },
        )
    time_unit, name = time_unit_of(config, parts.exact)
    folder = pathlib.Path(config.output or f"{config.workdir}/report")
    if config.analysis_data == "all":
        prediction.save_arrays(
            pathlib.Path(config.workdir) / "predictions",
            f"{config.model_type}_predictions",
            predictions,
        )
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
        weights=predictor.metadata,
        model=config.model_type,
        source=_source(config),
    )
    print(in_words(numbers["summary"], name))
    print(f"report: {folder / 'report.html'} after {session.seconds():.0f} s")


def _source(config: Config) -> str:
    """Returns what was analysed, in words."""
    data = config.data or ",".join(config.train_fnames)
    data = data or f"case {config.case}, simulated here"
    part = "all frames, training included"
    return f"{data} ({part if config.analysis_data == 'all' else 'the test part'})"


def settings_of(config: Config) -> AnalysisSettings:
    """Returns the settings of the analysis that the flags name."""
    names = ("lags", "lag_max", "ck_steps", "koopman_epsilon", "koopman")
    names += ("n_bootstrap", "error_method", "n_splits", "split_axis", "n_macrostates")
    return AnalysisSettings(**{name: getattr(config, name) for name in names})
