"""The sections of a GDyNet report on states: populations, transitions, structure."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxphys.gdynet.analysis.analysis import Analysis
from jaxphys.gdynet.analysis.environment import Environment
from jaxphys.gdynet.analysis.kinetics import Kinetics
from jaxphys.gdynet.analysis.structure import Example
from jaxphys.gdynet.data.dataset import Trajectories
from jaxphys.gdynet.physics.elements import SYMBOLS
from jaxphys.gdynet.report import plots_states, plots_structure
from jaxphys.gdynet.report.sections import Facts, percent, time_of
from jaxphys.report import Column, Report, Table

_MOST_TABLE = 10  # states whose passage times fit on a page


def add_macrostates(report: Report, analysis: Analysis, facts: Facts) -> None:
    """Adds which states were lumped, where some were."""
    found = analysis.macrostates
    if found is None:
        return
    rows = []
    for macro, share in enumerate(found.hard):
        members = np.flatnonzero(analysis.labels == macro)
        shares = (percent(float(found.mean[macro])), percent(float(share)))
        rows.append((macro_name(macro), ", ".join(map(str, members)), *shares))
    shown = facts.found is found
    facts.add(
        report,
        "Macrostates",
        "States between which exchange is fast are lumped into one macrostate, by the "
        "signs of the slow eigenvectors of the operator; probabilities add up. "
        + ("Figures and tables below are of the macrostates." if shown else
           "Figures and tables below are of the single states."),
        tables=[
            Table(
                "The macrostates.",
                ["macrostate", "states", Column("mean probability", "%"),
                 Column("most probable", "%")],
                rows,
            ),
            states_table(analysis.states, [str(s) for s in range(analysis.num_states)],
                         facts.unit, "All states."),
        ],
    )  # fmt: skip


def macro_name(number: int) -> str:
    """Returns A, B, ... and M26, M27, ... beyond Z."""
    return chr(65 + number) if number < 26 else f"M{number}"


def states_table(
    found: Kinetics,
    names: Sequence[str],
    unit: str,
    caption: str,
    exact: Sequence[float] = (),
) -> Table:
    """Returns populations and lifetimes of states.

    Args:
        found: kinetics of S states.
        names: of the states.
        unit: name of the unit of time.
        caption: of the table.
        exact: exact populations; empty: unknown.
    """
    head: list[Column | str] = [
        "state", Column("mean probability", "%"), Column("stationary", "%"),
        Column("most probable", "%"), *([Column("exact", "%")] if len(exact) else []),
        Column("mean stay", unit), Column("stays that ended"),
        Column("decay of the state", unit),
    ]  # fmt: skip
    rows = []
    for s, name in enumerate(names):
        shares = [found.mean[s], found.stationary[s], found.hard[s]]
        shares += [exact[s]] if len(exact) else []
        rows.append((name, *(percent(float(x)) for x in shares),
                     float(found.lifetimes[s]), int(found.exits[s]),
                     float(found.decay[s])))  # fmt: skip
    return Table(
        caption,
        head,
        rows,
        notes=[
            "Mean stay: of the most probable state, from frame to frame. Crossings of "
            "the border back and forth end a stay, so it depends on the time between "
            "frames.",
            "Decay of the state: −lag / ln of the probability to be there after the "
            "lag, which such crossings hardly touch.",
        ],
    )


def add_states(report: Report, analysis: Analysis, facts: Facts) -> None:
    """Adds populations, transition matrix, rates and passage times."""
    found, names = facts.found, facts.names
    lag = f"of {time_of(analysis.tau, analysis, facts.unit)}"
    text = (
        "The mean probability of the most probable state is "
        f"{found.crispness:.3f}; at 1 the states are hard."
    )
    pictures = [
        plots_states.populations(found, names, facts.exact_populations),
        plots_states.transition_matrix(found, names, lag),
        plots_states.transition_graph(found, names, facts.shown, facts.unit),
    ]
    tables = [
        states_table(
            found, names, facts.unit, "Populations and lifetimes.",
            facts.exact_populations,
        )
    ]  # fmt: skip
    if 1 < len(names) <= _MOST_TABLE:
        tables.append(_passage(found, names, facts.unit))
    facts.add(report, "Populations and transitions", text, pictures, tables)


def _passage(found: Kinetics, names: Sequence[str], unit: str) -> Table:
    rows = []
    for i, name in enumerate(names):
        times = ["" if i == j else float(t)
                 for j, t in enumerate(found.passage_times[i])]  # fmt: skip
        rows.append((f"from {name}", *times))
    return Table(
        "Mean time to reach a state first.",
        ["", *(Column(f"to {name}", unit) for name in names)],
        rows,
    )


def add_time(report: Report, analysis: Analysis, facts: Facts) -> None:
    """Adds populations, one target and autocorrelations in time."""
    options = (facts.names, analysis.time_unit, facts.unit)
    pictures = [
        plots_states.along_target(facts.predictions, *options),
        plots_states.populations_in_time(facts.predictions, *options),
        plots_states.autocorrelation(facts.found, *options),
    ]
    facts.add(report, "States in time", "", pictures)


def add_structure(
    report: Report,
    facts: Facts,
    found: Environment | None,
    examples: Sequence[tuple[Any, ...]],
) -> None:
    """Adds the surroundings of targets by state, and the most probable frames."""
    pictures, tables = [], []
    text = "The coordinates behind the predictions were not handed to this report."
    if found is not None:
        options = (found, facts.names, facts.shown)
        text = "Every target atom counts for each state with its probability there."
        pictures = [plots_structure.radial(*options)]
        pictures.append(plots_structure.distances(*options))
        pictures.append(plots_structure.directions(*options))
        if found.radial is None:
            pictures = [pictures[0], pictures[2]]
        if not found.directions.size:
            pictures = pictures[:-1]
        both = (_coordination(found, facts), _mean_direction(found, facts))
        tables = [table for table in both if table is not None]
    tables.append(
        Table(
            "The most probable example frames of each state.",
            ["state", "trajectory", "frame", Column("time", facts.unit, 5),
             "atom", "element", Column("probability", digits=4)],
            examples,
            notes=["Frames and atoms are counted from 0."],
        )
    )  # fmt: skip
    facts.add(report, "Structure of the states", text, pictures, tables)


def _coordination(found: Environment, facts: Facts) -> Table | None:
    if found.radial is None or np.nanmax(found.radial.coordination) < 0.5:
        return None
    kinds = [SYMBOLS[int(z)] for z in found.species]
    rows = [
        (name, *map(float, found.radial.coordination[s]))
        for s, name in enumerate(facts.names)
    ]
    return Table(
        f"Mean number of neighbours within {found.cutoff:.3g} Å.",
        ["state", *kinds],
        rows,
    )


def _mean_direction(found: Environment, facts: Facts) -> Table | None:
    if not found.direction_mean.size:
        return None
    rows = [
        (name, *map(float, found.direction_mean[s]))
        for s, name in enumerate(facts.names)
    ]
    return Table("Mean direction of the targets.", ["state", "x", "y", "z"], rows)


def example_rows(
    found: Sequence[Sequence[Example]],
    names: Sequence[str],
    trajectories: Trajectories | None,
    blocks: np.ndarray | None,
    time_unit: float,
) -> list[tuple[Any, ...]]:
    """Returns rows of the table of examples.

    Args:
        found: examples of each state.
        names: of the states.
        trajectories: for names and atoms; None: numbers stand for them.
        blocks: frames of each prediction, [K, 2], where there are trajectories.
        time_unit: duration of a frame.
    """
    rows = []
    for name, examples in zip(names, found, strict=True):
        for e in examples:
            place, atom, element = str(e.trajectory), f"target {e.target}", None
            frame = e.frame
            if trajectories is not None and blocks is not None:
                whole = int(blocks[e.trajectory, 0]) + e.frame
                r = int(trajectories.trajectory_of(whole))
                place, frame = (
                    trajectories.names[r],
                    whole - int(trajectories.starts[r]),
                )
                number = int(trajectories.target_index[e.target])
                atom = str(number)
                element = SYMBOLS[int(trajectories.atom_types[number])]
            rows.append((name, place, frame, frame * time_unit, atom, element,
                         e.probability))  # fmt: skip
    return rows
