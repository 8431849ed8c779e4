"""The sections of a Hidden Vertex report on data, training, speed and limits."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxphys.hidden_vertex.inference.scored import Scored
from jaxphys.hidden_vertex.report import plots
from jaxphys.hidden_vertex.report.sections import with_error
from jaxphys.report import Column, Report, Table, format_number

# what the guide of the original expects of the seed model
EXPECTED = {
    "validation loss": "0.0765",
    "score of background": "0.08 ± 0.02",
    "score of signal": "0.45 ± 0.15",
    "mean signal / mean background": "5 to 6",
}
# program and hardware, training events, minutes of training and validation per epoch
PUBLISHED_TIMES = (
    ("original, Tesla T4 (Colab)", 100_000, 30.0, 10.0),
    ("original, RTX 3080, local SSD", 700_000, 10.0, 3.0),
)
SECONDS_PER_BATCH, BATCH = 143.0, 32  # of the original from network storage
_THROUGHPUT = {
    "train_events": ("training events", "events"),
    "train_events_per_s": ("training", "events/s"),
    "val_events_per_s": ("validation", "events/s"),
    "epoch_s": ("one epoch", "s"),
    "total_s": ("whole run", "s"),
}
_FEATURES = ("log(pT / GeV)", "η", "φ")


def add_events(
    report: Report,
    filters: Mapping[str, int],
    splits: Mapping[str, str],
    features: Mapping[str, ArrayLike],
) -> None:
    """Adds sizes, the search for signal in the training events, and the features."""
    rows, notes = [], []
    if features:
        columns = [np.asarray(features[key]) for key in ("mean", "std", "max")]
        rows = [(name, *(c[i] for c in columns)) for i, name in enumerate(_FEATURES)]
        if "mean_square" in features:
            square = format_number(float(np.asarray(features["mean_square"])))
            notes.append(
                f"Mean square over particles and features: {square} (2 to 3 for log "
                "pT; raw pT in its place would make over 1,000)."
            )
    of = " of the training events" if splits else ""
    text = (
        "Every label of the training and validation events was looked at when the run "
        "began; clean means that none of them is signal."
    )
    report.add_section(
        "Events and features",
        text if splits else "These events are not those of the training run.",
        tables=[
            Table(
                "The parts of the data.",
                ["part", "events"],
                list(splits.items()),
                empty="All events were scored; there are no parts.",
            ),
            Table(
                "What was read, and what was left out.",
                ["events", "number"],
                list(filters.items()),
                empty="Nothing was counted.",
            ),
            Table(
                f"Features of the particles{of}.",
                ["feature", "mean", "std", "max"],
                rows,
                notes=notes,
                empty="No statistics of the features were taken.",
            ),
        ],
    )


def add_training(
    report: Report,
    columns: Mapping[str, np.ndarray],
    validation: Mapping[str, float | None],
    found: Mapping[str, Mapping[str, Any]],
    model: str,
) -> None:
    """Adds the losses by epoch and, for the seed model, what bounds them."""
    floor, loss = validation.get("floor"), validation.get("val_loss")
    low = _floor_in_training(columns, floor)
    gap = plots.floor_gap(columns, low)
    pictures = [plots.training(columns, low), *([gap] if gap else [])]
    tables, text = [], ""
    if model.split()[0] == "seed":
        text = floor_sentence(validation)
        tables.append(_beside_the_guide(loss, found))
    elif model.split()[0] == "node":
        text = (
            "The original's notebook, on 40,000 background events, reports losses of "
            "0.6438, 0.5585, 0.5453, 0.5306, 0.5262 in 5 epochs and an AUC of 0.4615 "
            "on 5,000 + 5,000 test events, as a negative result."
        )
    if floor is not None and loss is not None and loss < floor * (1 - 1e-6):
        text += (
            " The loss above lies below the floor, which no model of this kind can "
            "reach: loss and floor are not of the same events."
        )
    report.add_section("Training", text, pictures, tables)


def _floor_in_training(columns, floor: float | None) -> float | None:
    """Returns the floor of the events that the history is of.

    Where other events are evaluated later, theirs is another one.
    """
    gap, loss = (columns.get(name, np.zeros(0)) for name in ("floor_gap", "val_loss"))
    known = np.flatnonzero(np.isfinite(gap)) if len(gap) == len(loss) else []
    return float(loss[known[-1]] / (1 + gap[known[-1]])) if len(known) else floor


def floor_sentence(validation: Mapping[str, float | None]) -> str:
    """Says what the seed model can reach at best, with the numbers of this run."""
    floor, loss = validation.get("floor"), validation.get("val_loss")
    here = ""
    if floor is not None and loss is not None:
        gap = 100 * (loss - floor) / floor
        here = (
            f" (here {floor:.4f}, and the loss of the same events {loss:.4f}, "
            f"{gap:+.2f}% from it)".replace("-", "−")
        )
    return (
        "The decoder of the model seed emits one vector per event for all its "
        "particles, so the best it can emit is the mean of the event and the variance "
        f"of the particles within an event is the floor of its squared error{here}; "
        "it cannot reach the published validation loss of "
        f"{EXPECTED['validation loss']}, nor background at "
        f"{EXPECTED['score of background']} against signal at "
        f"{EXPECTED['score of signal']} (see the README of the experiment)."
    )


def _beside_the_guide(loss: float | None, found) -> Table:
    name = "mse" if "mse" in found else next(iter(found))
    row = found[name]

    def spread(kind):
        if f"{kind}_mean" not in row:
            return None
        return with_error(row[f"{kind}_mean"], row[f"{kind}_std"])

    ours = {
        "validation loss": None if loss is None else format_number(loss, 5),
        "score of background": spread("background"),
        "score of signal": spread("signal"),
        "mean signal / mean background": row.get("separation"),
    }
    return Table(
        f"What the guide of the original expects, and this run (score {name}).",
        ["quantity", "expected by the guide", "this run"],
        [(what, text, ours[what]) for what, text in EXPECTED.items()],
    )


def add_speed(
    report: Report, throughput: Mapping[str, float], timings: Mapping[str, float]
) -> None:
    """Adds events per second beside the times that the original gives."""
    rows: list[tuple[Any, ...]] = [
        (name, events, train, val, events / (60 * train))
        for name, events, train, val in PUBLISHED_TIMES
    ]
    slow = BATCH / SECONDS_PER_BATCH
    rows.append(("original, network storage", None, None, None, slow))
    speed, events = (throughput.get(k) for k in ("train_events_per_s", "train_events"))
    minutes = events / speed / 60 if speed and events else None
    rows.append(("this run", events, minutes, None, speed))
    known = [
        (_THROUGHPUT.get(name, (name.replace("_", " "), ""))[0],
         value, _THROUGHPUT.get(name, ("", ""))[1])
        for name, value in throughput.items()
    ]  # fmt: skip
    report.add_section(
        "Speed",
        "Times of the original are quoted from its guide, on other hardware than this "
        "run (named at the end of the page) and for its own model; they are no "
        "measurement side by side.",
        tables=[
            Table(
                "Training beside the times that the original gives.",
                ["program", "training events", Column("training", "min/epoch"),
                 Column("validation", "min/epoch"), Column("training", "events/s")],
                rows,
                notes=[f"Network storage: {SECONDS_PER_BATCH:g} s for {BATCH} events."],
                emphasis=[len(rows) - 1],
            ),
            Table(
                "What this run measured.",
                ["quantity", "value", "unit"],
                known,
                empty="The speed of this run was not measured.",
            ),
        ],
    )  # fmt: skip


def limits(scored: Scored, model: str, source: str) -> str:
    """Returns what a user must know before relying on a score, as a list."""
    found = [
        "The data holds momenta at the detector only, no vertices; the signal of the "
        "LHC Olympics R&D set decays promptly. Displaced decays, which the original's "
        "texts speak of, cannot be seen.",
        "Anomalous means unlike the training background to this network; a detector "
        "effect is as anomalous as new physics.",
        "Errors of the AUC are statistical, of the test events: about 0.024 on 1,000 "
        "rows of the real set with 93 signal events, 0.006 on 4,050 + 3,000 generated "
        "events. Trainings differ by about 0.008 between seeds.",
        "Three signal points of one decay topology were tried so far. A fixed signed "
        "cut can beat a score that knows nothing on its own signal: min(m1, m2) has an "
        "AUC of 0.89 for a pair of 300 GeV resonances.",
    ]
    if model.split()[0] == "conditional":
        found.append(
            "Four scores (nll, the larger of two jets, latent, combined) were compared "
            "on the same test sets; the sum was fixed before looking."
        )
    if "lhco-like" in source.lower().replace("_", "-"):
        found.append(
            "The events are LHCO-like: our generator with a simplified detector, not "
            "the official sample. A known gap: 20% of the particles lie below 1 GeV, "
            "16% in the real set. Results on them are no results on the real set."
        )
    if "tau21_1" not in scored.observables:
        found.append(
            "Jets are cones of R = 1.0 around the hardest particle; anti-kT jets may "
            "differ, and how much was not measured."
        )
    return "\n".join(f"- {limit}" for limit in found)
