"""From a trained network to its report: errors on tracks, times, comparisons."""

import pathlib

from experiments.track_extrapolator.config import Config
from experiments.track_extrapolator.data import truth_field
from jaxphys.config import to_flagfile
from jaxphys.track_extrapolator.analysis.comparison import PUBLISHED
from jaxphys.track_extrapolator.data.dataset_files import TrackSet
from jaxphys.track_extrapolator.model.surrogate import Surrogate
from jaxphys.track_extrapolator.report.page import write_report
from jaxphys.training import app
from jaxphys.training.loop import FitResult


def report_run(
    config: Config,
    session: app.Session,
    surrogate: Surrogate,
    test: TrackSet,
    result: FitResult | None,
    training: dict,
    history: list | None = None,
) -> None:
    """Measures the network on test tracks and writes the report.

    Args:
      config: the flags.
      session: of this call.
      surrogate: the network.
      test: tracks.
      result: of the training in this call.
      training: facts about it.
      history: of a run that was trained before.
    """
    found = result.progress.history if result is not None else history or []
    session.timings["start, compilation and other"] = max(
        session.seconds() - sum(session.timings.values()), 0.0
    )
    entries = [
        {k: v for k, v in entry.items() if isinstance(v, (int, float))}
        for entry in found
    ]
    seed_field = config.field == "gauss_seed" and not config.train_pairs
    planes = (surrogate.z_in, surrogate.z_out) == (3000.0, 7000.0)
    # the published errors belong to the distribution of the run's own tracks
    own = seed_field and planes and not session.given("data")
    folder = pathlib.Path(config.workdir) / "report"
    if session.given("output"):
        folder = pathlib.Path(config.output)
    numbers = write_report(
        folder,
        surrogate=surrogate,
        test=test,
        history=entries,
        config_text=to_flagfile(config),
        command=session.command,
        timings=session.timings,
        field=truth_field(config),
        published=PUBLISHED if own else (),
        training=training,
        name=config.name,
        jacobian_tracks=config.report_jacobians,
        batches=config.report_batches,
    )
    found = numbers["network"]
    if "pos_mean" in found:
        print(
            f"{len(test)} test tracks: mean {found['pos_mean']:.4g} mm, "
            f"95% {found['pos_p95']:.4g} mm, slopes {found['slope_mean']:.3g}"
        )
    print(f"report: {folder / 'report.html'} after {session.seconds():.0f} s")
