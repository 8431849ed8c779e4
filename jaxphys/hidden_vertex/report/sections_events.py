"""The sections of a Hidden Vertex report on masses, codes and single events."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxphys.hidden_vertex.analysis import evaluation
from jaxphys.hidden_vertex.analysis.sculpting import Sculpting
from jaxphys.hidden_vertex.inference.scored import Scored
from jaxphys.hidden_vertex.report import plots, plots_events, plots_latent
from jaxphys.hidden_vertex.report.sections import percent, with_error
from jaxphys.report import Column, Report, Table, format_number

_SHOWN = 9  # of the most anomalous events
_JET_COLUMNS = (
    ("pt1", Column("pT jet 1", "GeV", 4)),
    ("m1", Column("m jet 1", "GeV")),
    ("pt2", Column("pT jet 2", "GeV", 4)),
    ("m2", Column("m jet 2", "GeV")),
    ("mjj", Column("mjj", "GeV", 4)),
)


def add_mass(
    report: Report, scored: Scored, masses: Sculpting | None, own: Mapping[str, Any]
) -> None:
    """Adds the dijet mass before and after cuts; own are those of the leading score."""
    labelled = scored.label is not None
    of = "the background" if labelled else "all events"
    text = (
        "A bump hunt after a cut on the score needs a mass spectrum that the cut does "
        "not shape."
    )
    tables = []
    if own.get("rank_correlation_mjj") is not None:
        text += (
            f" The rank correlation (Spearman) of score and mjj over {of} is "
            f"{format_number(own['rank_correlation_mjj'], 2)}; it is 0 where the score "
            "does not know the mass."
        )
    if masses is not None:
        rows = [("no cut", masses.total, masses.mean[1.0], 1.0)]
        rows += [
            (f"highest {100 * cut:g}%", kept, masses.mean[cut],
             masses.mean[cut] / masses.mean[1.0])
            for cut, kept in masses.kept.items()
        ]  # fmt: skip
        columns = ["cut", "events", Column("mean mjj", "GeV", 4), "ratio to no cut"]
        tables.append(Table(f"Mean dijet mass of {of} by cut.", columns, rows))
    if not labelled:
        text += (
            " Without labels a signal, if there is one, is among these events and "
            "shapes the mass as well."
        )
    picture = plots.mass_sculpting(masses, labelled)
    report.add_section("Dijet mass", text, [picture], tables)


def add_latent(report: Report, scored: Scored) -> None:
    """Adds pictures of the codes."""
    text = ""
    if scored.code is not None and scored.code.size:
        spread = scored.code.std(axis=0)
        text = (
            f"{scored.code.shape[1]} × {scored.code.shape[2]} numbers per event; their "
            f"standard deviations lie between {format_number(spread.min())} and "
            f"{format_number(spread.max())} (a collapsed code has 0)."
        )
    pictures = [plots_latent.latent_pca(scored), plots_latent.latent_pairs(scored)]
    report.add_section("Latent space", text, pictures)


def add_injection(report: Report, found: Mapping[str, Any], headline: str) -> None:
    """Adds the comparison of background events with and without a hard particle."""
    strength = found["strength"]
    what = "" if strength is None else f" by {strength:g}"
    report.add_section(
        "Injection test",
        f"{found['events']:,} background test events, in each of which log pT of one "
        f"particle, drawn at random, was raised{what}, against the same events as they "
        "were: does a score notice a change that is put in by hand? This needs no "
        "signal.",
        tables=[
            Table(
                "Changed against unchanged events.",
                ["score", "AUC", Column("mean before", digits=4),
                 Column("mean after", digits=4), Column("score went up", "%")],
                [
                    (name, with_error(row["auc"], row["auc_error"]), row["clean_mean"],
                     row["injected_mean"], percent(row["raised"]))
                    for name, row in found["scores"].items()
                ],
                emphasis=[list(found["scores"]).index(headline)]
                if headline in found["scores"] else [],
            )
        ],
    )  # fmt: skip


def add_samples(report: Report, others: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds the results on other test events, a line per sample and score."""
    rows = []
    for name, sample in others.items():
        counts = sample["events"]
        for score, row in sample["scores"].items():
            area = with_error(row["auc"], row["auc_error"]) if "auc" in row else None
            rows.append(
                (name, counts.get("background"), counts.get("signal"), score, area,
                 percent(row.get("tpr_at_fpr_1")), row.get("max_sic"),
                 percent(row.get("max_sic_background_efficiency")),
                 row.get("rank_correlation_mjj"))
            )  # fmt: skip
    report.add_section(
        "Other samples",
        "The same network, without any change, on other events.",
        tables=[
            Table(
                "Results on other test events.",
                ["sample", "background", "signal", "score", "AUC",
                 Column("εS at εB = 1%", "%"), "max SIC", Column("at εB", "%"),
                 Column("rank corr. with mjj", digits=2)],
                rows,
            )
        ],
    )  # fmt: skip


def add_displays(
    report: Report,
    scored: Scored,
    top: np.ndarray,
    particles_of: Callable[[int], np.ndarray],
    graph: tuple[int, bool],
) -> None:
    """Adds pictures of the most anomalous and of typical events.

    Args:
        report: the report.
        scored: the events.
        top: positions, the most anomalous first.
        particles_of: position -> particles [n, 3].
        graph: neighbours of a particle, and whether they wrap around phi.
    """
    first = top[:_SHOWN]
    ranks = range(1, len(first) + 1)
    high = plots_events.displays_of(scored, first, particles_of, ranks)
    typical = evaluation.typical_events(scored)
    of = "background events" if scored.background.any() else "events"
    middle = plots_events.displays_of(scored, typical, particles_of)
    colors = " Blue: background, red: signal." if scored.label is not None else ""
    report.add_section(
        "Event displays",
        "Particles in the plane of pseudorapidity η and azimuth φ. Numbers of events "
        f"are rows of the source file, counted from 0.{colors}",
        [
            plots_events.event_displays(
                high, "events_top", f"The {len(high)} most anomalous events.", *graph
            ),
            plots_events.event_displays(
                middle,
                "events_typical",
                f"For comparison {len(middle)} {of} next to the median score.",
                *graph,
            ),
        ],
    )


def add_top(report: Report, scored: Scored, top: np.ndarray) -> None:
    """Adds the table of the most anomalous events, positions `top`."""
    known = [pair for pair in _JET_COLUMNS if pair[0] in scored.observables]
    columns = ["rank", "event (row of the file)", Column(f"score {scored.headline}")]
    columns += [] if scored.label is None else ["label"]
    columns += ["particles", *(column for _, column in known)]
    rows = []
    for rank, at in enumerate(top.tolist(), 1):
        # an event number is a name: no thousands separators
        row: list[Any] = [rank, str(scored.event_id[at]), float(scored.score[at])]
        if scored.label is not None:
            row.append("signal" if scored.label[at] > 0 else "background")
        row.append(int(scored.size[at]))
        rows.append(row + [float(scored.observables[name][at]) for name, _ in known])
    report.add_section(
        "Most anomalous events",
        "The same events with all observables and scores: top_anomalies.csv.",
        tables=[Table(f"The {len(top)} events of highest score.", columns, rows)],
    )
