"""The report of a run of the track finder."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.hypertrack.analysis.results import Cost, Result
from jaxphys.hypertrack.model.voxels import VoxelModel
from jaxphys.hypertrack.report import sections, sections_run
from jaxphys.report import RunPage, figures

_TRACK_NUMBERS = {
    "efficiency": "efficiency_accepted",
    "efficiency_lhc": "lhc_accepted",
    "efficiency_perfect": "perfect_accepted",
    "efficiency_all": "efficiency",
    "purity": "purity",
    "fake_rate": "fake_rate",
    "duplicate_rate": "duplicate_rate",
    "dms": "dms",
    "trackml_score": "trackml_score",
}


def write_report(
    run: RunPage,
    *,
    result: Result,
    further: Mapping[str, Result] | None = None,
    compared: Mapping[str, Result] | None = None,
    costs: Sequence[Cost] = (),
    voxels: VoxelModel | None = None,
    joint_step: float | None = None,
    speed: Mapping[str, float] | None = None,
    threshold: float = 0.55,
    hits_max: int = 23,
    source: str = "",
    net: str = "",
) -> dict[str, Any]:
    """Writes report.html, report.json and figures/*.png.

    Args:
        run: what the page says of the run, and where it is written.
        result: the validation events, reconstructed.
        further: the same of other data, by name.
        compared: the same events by other runs, by name.
        costs: time and memory against the size of the event.
        voxels: that made the candidate edges.
        joint_step: iteration at which the joint phase began; None: it did not.
        speed: phase -> training iterations per second.
        threshold: probability above which an edge counts as kept.
        hits_max: most hits of a track that figures show.
        source: the data in words.
        net: the net in words.

    Returns:
        The numbers of report.json: headline, edges, clusterings, further, compared,
        costs, speed, joint_step, history.

    Raises:
        ValueError: there is no event.
    """
    if not result.found:
        raise ValueError("write_report, result: expected at least one event, got none")
    further, compared = further or {}, compared or {}
    report = run.open(
        f"HyperTrack: {net or 'tracks'}",
        sections.subtitle(result, source),
    )
    report.add_numbers({
        "headline": headline(result),
        **numbers_of(result),
        "further": {name: numbers_of(r) for name, r in further.items()},
        "compared": {name: numbers_of(r) for name, r in compared.items()},
        "costs": [sections_run.describe_cost(cost) for cost in costs],
        "speed": dict(speed or {}),
        "joint_step": joint_step,
        "history": figures.history_columns(run.history),
    })  # fmt: skip
    sections.add_highlights(report, result)
    sections.add_tracks(report, result, further, compared)
    sections.add_efficiency(report, result, hits_max)
    sections.add_edges(report, result, threshold)
    sections_run.add_displays(report, result, threshold)
    if voxels is not None:
        sections_run.add_voxels(report, result, voxels)
    sections_run.add_costs(report, result, costs)
    sections_run.add_training(report, run.history, joint_step, speed or {})
    report.add_section("Known limits", sections_run.limits(result, joint_step))
    return report.write(pathlib.Path(run.folder))["numbers"]


def headline(result: Result) -> dict[str, Any]:
    """Returns the few numbers that runs are compared by.

    Efficiencies are of tracks with at least 4 hits, pT > 0.9 GeV and |eta| < 2.5,
    except for efficiency_all.
    """
    found: dict[str, Any] = {
        "auc": result.edges["auc"],
        "auc_without_self": result.edges["auc_without_self"],
        "clustering": result.main,
        "best_simple": result.best,
    }
    if result.main:
        scores = result.clusterings[result.main].scores
        found |= {name: scores[key] for name, key in _TRACK_NUMBERS.items()}
    if result.best:
        scores = result.clusterings[result.best].scores
        for name in ("efficiency", "efficiency_all", "purity", "fake_rate"):
            found[f"best_simple_{name}"] = scores[_TRACK_NUMBERS[name]]
    return found


def numbers_of(result: Result) -> dict[str, Any]:
    """Returns edges and clusterings of a result as plain numbers."""
    return {
        "events": [
            {"event_id": one.event.event_id, "hits": one.event.num_hits,
             "edges": len(one.edges.prob)}
            for one in result.found
        ],
        "edges": dict(result.edges),
        "clusterings": {
            method: {
                "options": dict(own.options),
                **own.scores,
                "seconds": [sum(m.seconds.values()) for m in own.meters],
            }
            for method, own in result.clusterings.items()
        },
    }  # fmt: skip


def speed_of(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the rate of the training by phase, medians over the evaluations."""
    found = {}
    for phase in ("edges", "joint"):
        rates = [
            entry["steps_per_second"]
            for entry in history
            if entry["phase"] == phase and "steps_per_second" in entry
        ]
        if rates:
            found[phase] = float(np.median(rates))
    return found


def in_words(headline: Mapping[str, Any]) -> str:
    """Returns the headline of a report in one line; what is undefined is n/a."""
    digits = {"auc": 4, "auc_without_self": 4}
    shown = {
        name: "n/a" if value is None else f"{value:.{digits.get(name, 3)}f}"
        for name, value in headline.items()
        if not isinstance(value, str)
    }
    words = "edges: AUC {auc}, without self edges {auc_without_self}".format(**shown)
    if headline.get("clustering"):
        words += f"; tracks by {headline['clustering']}: "
        words += (
            "efficiency {efficiency} (pT > 0.9 GeV, |eta| < 2.5), all "
            "{efficiency_all}, purity {purity}, fakes {fake_rate}"
        ).format(**shown)
    return words
