"""The report of a Hidden Vertex run: scores, bars to clear, pictures of events."""

import csv
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxphys.hidden_vertex.analysis import evaluation, scores
from jaxphys.hidden_vertex.analysis.sculpting import Sculpting, mass_sculpting
from jaxphys.hidden_vertex.data.store import Store
from jaxphys.hidden_vertex.inference.scored import Scored
from jaxphys.hidden_vertex.report import sections, sections_events, sections_training
from jaxphys.hidden_vertex.training.network import Network
from jaxphys.report import RunPage, figures

CSV_NAME = "top_anomalies.csv"


def write_report(
    run: RunPage,
    *,
    scored: Scored,
    displays: Callable[[int], np.ndarray],
    validation: Mapping[str, float | None],
    filters: Mapping[str, int],
    splits: Mapping[str, str],
    feature_statistics: Mapping[str, ArrayLike],
    model: str,
    baselines: Mapping[str, tuple[ArrayLike, bool]] | None = None,
    top_k: int = 100,
    histogram_bins: int = 50,
    injection: Mapping[str, Any] | None = None,
    throughput: Mapping[str, float] | None = None,
    extra_samples: Mapping[str, Scored] | None = None,
    source: str = "",
    k: int = 6,
    periodic_phi: bool = False,
    resamples: int = evaluation.RESAMPLES,
) -> dict[str, Any]:
    """Writes report.html, report.json, figures/*.png and top_anomalies.csv.

    Without labels of both kinds the report holds spectra, displays and the table of
    the most anomalous events, and sentences in place of the rest.

    Args:
        run: what the page says of the run, and where it is written.
        scored: the test events.
        displays: position among them -> particles [n, 3] pT in GeV, eta, phi.
        validation: val_loss; floor, the smallest loss of a model that emits one vector
            per event (None for other models or losses); gap = (val_loss - floor) /
            floor.
        filters: number of rows read, of empty events dropped and so on, by name.
        splits: a line per part, as `jaxphys.hidden_vertex.data.splits.check_split`.
        feature_statistics: as `jaxphys.hidden_vertex.data.store.feature_statistics`;
            may be empty.
        model: "seed", "node" or "conditional", maybe with more words behind.
        baselines: name -> (values [E], whether it knows the mass of the signal).
        top_k: events in the table and in the precision.
        histogram_bins: bins of the score's spectra.
        injection: clean and injected, the scores of the same background events before
            and after one particle was made harder ([E], or name -> [E]); strength, what
            was added to its log pT, may be there.
        throughput: train_events, train_events_per_s, val_events_per_s, epoch_s,
            total_s; other names are listed as they are.
        extra_samples: other test events, by name.
        source: the data in words; "LHCO-like" in it marks simulated events.
        k: neighbours of a particle in the displays.
        periodic_phi: whether the graph wraps around phi.
        resamples: draws behind the error of an AUC.

    Returns:
        The numbers of report.json: events, headline, auc (of the headline), scores,
        baselines, sculpting, validation, filters, splits, features, throughput,
        injection, extra_samples, history, top_events (rows of the file).

    Raises:
        ValueError: there is no test event, or an array does not fit.
    """
    if not len(scored):
        raise ValueError("write_report, scored: expected at least one event, got none")
    extra = dict(extra_samples or {})
    found = evaluation.evaluate(scored, top_k, resamples)
    bars = evaluation.compare_baselines(scored, baselines or {}, resamples)
    masses = _sculpting(scored)
    injected = _injection(injection, scored.headline, resamples)
    others = {
        name: {
            "events": sample.counts,
            "scores": evaluation.evaluate(sample, top_k, resamples),
        }
        for name, sample in extra.items()
    }
    top = scores.top_events(scored.score, top_k)[::-1]
    columns = figures.history_by_epoch(run.history)
    numbers: dict[str, Any] = {
        "model": model,
        "source": source,
        "events": scored.counts,
        "headline": scored.headline,
        "auc": found[scored.headline].get("auc"),
        "scores": found,
        "top_k": len(top),
        "baselines": {row["name"]: row for row in bars},
        "sculpting": _sculpting_numbers(masses),
        "validation": dict(validation),
        "filters": dict(filters),
        "splits": dict(splits),
        "features": dict(feature_statistics),
        "throughput": dict(throughput or {}),
        "injection": injected,
        "extra_samples": others,
        "history": columns,
        "top_events": scored.event_id[top],
    }
    report = run.open(
        f"Hidden Vertex: {model}",
        sections.subtitle(scored, model, source),
    )
    report.add_numbers(numbers)
    own = found[scored.headline]
    sections.add_highlights(report, own, validation, len(top), len(scored))
    sections_training.add_events(report, filters, splits, feature_statistics)
    sections_training.add_training(report, columns, validation, found, model)
    sections.add_scores(
        report, scored, found, bars, baselines or {}, len(top), histogram_bins
    )
    sections.add_baselines(report, scored, bars)
    sections_events.add_mass(report, scored, masses, own)
    sections_events.add_latent(report, scored)
    if injected:
        sections_events.add_injection(report, injected, scored.headline)
    if others:
        sections_events.add_samples(report, others)
    sections_training.add_speed(report, throughput or {}, run.timings)
    sections_events.add_displays(report, scored, top, displays, (k, periodic_phi))
    sections_events.add_top(report, scored, top)
    limits = sections_training.limits(scored, model, source)
    report.add_section("Known limits", limits)
    directory = pathlib.Path(run.folder)
    content = report.write(directory)
    _write_csv(directory / CSV_NAME, scored, top)
    return content["numbers"]


def _sculpting(scored: Scored) -> Sculpting | None:
    mjj = scored.observables.get("mjj")
    if mjj is None:
        return None
    some = scored.background
    return mass_sculpting(np.asarray(mjj)[some], scored.score[some])


def _sculpting_numbers(found: Sculpting | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "edges_gev": found.edges,
        "before": found.before,
        "total": found.total,
        "mean_gev": found.mean[1.0],
        "cuts": {
            f"{100 * cut:g}%": {
                "kept": kept,
                "after": found.after[cut],
                "mean_gev": found.mean[cut],
            }
            for cut, kept in found.kept.items()
        },
    }


def _injection(injection, headline: str, resamples: int) -> dict[str, Any]:
    """Returns the comparison by name of the score."""
    if not injection:
        return {}
    clean, changed = (
        values if isinstance(values, Mapping) else {headline: values}
        for values in (injection["clean"], injection["injected"])
    )
    if set(clean) != set(changed):
        raise ValueError(
            f"injection: expected the same scores before and after, got {sorted(clean)}"
            f" and {sorted(changed)}"
        )
    return {
        "strength": injection.get("strength"),
        "events": len(next(iter(clean.values()))),
        "scores": {
            name: evaluation.compare_injection(clean[name], changed[name], resamples)
            for name in clean
        },
    }


def _write_csv(path: pathlib.Path, scored: Scored, top: np.ndarray) -> None:
    """Writes everything that is known of the most anomalous events, highest first."""
    names = [scored.headline, *(n for n in scored.scores if n != scored.headline)]
    # n, if there, is the number of particles that has a column already
    known = [name for name in scored.observables if name != "n"]
    label = [] if scored.label is None else ["label"]
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        heads = ["rank", "event_id", *(f"score_{n}" for n in names)]
        rows.writerow([*heads, *label, "n", *known])
        for rank, at in enumerate(top.tolist(), 1):
            row: list[Any] = [rank, int(scored.event_id[at])]
            row += [float(scored.scores[name][at]) for name in names]
            row += [] if scored.label is None else [int(scored.label[at])]
            row.append(int(scored.size[at]))
            rows.writerow(row + [f"{scored.observables[n][at]:.7g}" for n in known])


def filters_of(network: Network, store: Store) -> dict[str, int]:
    """Returns how many events every filter took out."""
    few = int((store.sizes < network.least_particles).sum())
    found = {
        "rows read": int(store.meta["request"]["rows"]),
        "rows without particles (left out)": int(store.meta["empty_events"]),
        "events in the store": len(store),
    }
    if network.least_particles > 1:
        found[f"events below {network.least_particles} particles (left out)"] = few
    if store.jets is not None:
        empty = np.asarray(store.jets[:, 1, :, 0]).max(axis=1) <= 0
        found["events with one jet only (kept)"] = int(empty.sum())
    return found


def throughput_of(
    history: Sequence[Mapping[str, Any]],
    batch_size: int,
    train_events: int,
    total_seconds: float,
) -> dict[str, float]:
    """Returns the speed of the epochs, each with its validation, but the first.

    Args:
        history: of `jaxphys.training.writer.read_metrics`.
        batch_size: events of a step.
        train_events: events of an epoch.
        total_seconds: of the run.
    """
    speeds = [e["steps_per_second"] for e in history if "steps_per_second" in e]
    if not speeds:
        return {}
    events = float(np.median(speeds[1:] or speeds)) * batch_size
    return {
        "train_events": train_events,
        "train_events_per_s": events,
        "epoch_s": train_events / events,
        "total_s": total_seconds,
        "epochs": len(speeds),
    }
