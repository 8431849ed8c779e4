"""The closure test: one table that says where a generator differs from the truth."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxphys.cr_muons.analysis import metrics
from jaxphys.cr_muons.analysis.fano import (
    RegressionFano,
    Replicas,
    fano_ratios,
    regression_fano,
    repeat_primaries,
    replicas_of,
)
from jaxphys.cr_muons.analysis.metrics import YieldRatios
from jaxphys.cr_muons.physics.conditions import (
    DEFAULT,
    Conditions,
    SimulationSettings,
    draw_conditions,
)
from jaxphys.cr_muons.physics.events import Events
from jaxphys.cr_muons.simulation import (
    expected_muons,
    simulate,
    simulate_conditions,
    threshold,
)

# primaries [N, 4] and a seed -> one generated event for each row, in order
Sampler = Callable[[np.ndarray, int], Events]

FANO_CONDITIONS, FANO_REPLICAS, FANO_MEANS = 200, 200, (2.0, 100.0)
GOOD, MUST, MISSED, NOT_APPLICABLE = "good", "must", "missed", "n/a"


@dataclasses.dataclass(frozen=True)
class Criterion:
    """What a figure of the table has to be.

    Attributes:
        name: Key of the figure.
        label: For readers.
        must: Lowest and highest value that is accepted.
        good: The same, narrower; None where there is no such.
    """

    name: str
    label: str
    must: tuple[float, float]
    good: tuple[float, float] | None = None

    def verdict(self, value: float) -> str:
        """Returns "good", "must", "missed", or "n/a" of a value that is not finite."""
        if not np.isfinite(value):
            return NOT_APPLICABLE
        if self.good and self.good[0] <= value <= self.good[1]:
            return GOOD
        return MUST if self.must[0] <= value <= self.must[1] else MISSED


CRITERIA = (
    Criterion("w1_n", "W1 of log10(1 + N)", (0, 0.02), (0, 0.004)),
    Criterion("w1_logE", "W1 of log10 E", (0, 0.05), (0, 0.01)),
    Criterion("w1_logr", "W1 of log10 r, r > 0.1 m", (0, 0.05), (0, 0.012)),
    Criterion("p0_difference", "|difference of P(N = 0)|", (0, 0.02), (0, 0.004)),
    Criterion("yield_median", "<N> in bins, median deviation", (0, 0.06), (0, 0.035)),
    Criterion("yield_max", "<N> in bins, largest deviation", (0, 0.35), (0, 0.22)),
    Criterion("fano_pooled", "Fano factor, model / truth", (0.75, 1.3), (0.9, 1.1)),
    Criterion(
        "fano_median", "Fano factor, median of mu > 10", (0.75, 1.3), (0.9, 1.12)
    ),
    Criterion(
        "correlation_difference",
        "|difference of corr(lg E, lg r)|",
        (0, 0.05),
        (0, 0.015),
    ),
    Criterion("classifier_auc", "classifier AUC", (0, 0.65), (0, 0.55)),
    Criterion("isotropy_p", "isotropy of the angle, p-value", (1e-3, 1)),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the closure table.

    Attributes:
        criterion: What is asked.
        value: Of the model; NaN where the test does not apply.
        floor: Lowest and highest value of truth against truth; None if not measured.
    """

    criterion: Criterion
    value: float
    floor: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """Key of the figure."""
        return self.criterion.name

    @property
    def verdict(self) -> str:
        """One of "good", "must", "missed", "n/a"."""
        return self.criterion.verdict(self.value)


@dataclasses.dataclass(frozen=True, eq=False)
class Closure:
    """Result of a closure test.

    Attributes:
        rows: Lines of the table in the order of `CRITERIA`.
        yields: Mean numbers in bins of the condition.
        fano: Numbers in replicas of model and truth, or factors about a regression.
    """

    rows: tuple[Row, ...]
    yields: YieldRatios
    fano: tuple[Replicas, Replicas] | RegressionFano

    @property
    def values(self) -> dict[str, float]:
        """The figures by name, and w1_sum."""
        found = {row.name: row.value for row in self.rows}
        return found | {
            "w1_sum": found["w1_n"] + found["w1_logE"] + found["w1_logr"],
        }

    @property
    def missed(self) -> list[str]:
        """Names of the figures that are not what they must be."""
        return [row.name for row in self.rows if row.verdict == MISSED]

    @property
    def good(self) -> list[str]:
        """Names of the figures that are good."""
        return [row.name for row in self.rows if row.verdict == GOOD]

    def describe(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return {
            row.name: {
                "value": row.value if np.isfinite(row.value) else None,
                "floor": row.floor,
                "must": row.criterion.must,
                "good": row.criterion.good,
                "verdict": row.verdict,
            }
            for row in self.rows
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """Simulated truth that models are compared with.

    Attributes:
        truth: N events.
        replicas: True numbers of muons of the conditions of the Fano test.
        floor: name -> lowest and highest value of truth against truth.
    """

    truth: Events
    replicas: Replicas
    floor: Mapping[str, tuple[float, float]]


def make_reference(
    num_events: int = 100_000,
    seed: int = 100,
    settings: SimulationSettings = DEFAULT,
    floors: int = 2,
) -> Reference:
    """Simulates what a closure test needs.

    Args:
        num_events: One shower and depth each.
        seed: Of primaries and depths.
        settings: Population; the number of depths is taken as 1.
        floors: New showers of the same conditions that give the floor; 0 leaves it out.
    """
    settings = dataclasses.replace(settings, num_depths=1)
    truth = simulate(settings, num_events, seed, shower_seed=1)
    conditions = _fano_conditions(settings, num_events, seed)
    first = _true_replicas(conditions, settings, seed, 1)
    found = []
    for shower_seed in range(2, 2 + floors):
        again = simulate(settings, num_events, seed, shower_seed)
        replicas = _true_replicas(conditions, settings, seed, shower_seed)
        found.append(_figures(truth, again) | fano_ratios(first, replicas))
    names = [c.name for c in CRITERIA] if found else []
    floor = {n: (min(f[n] for f in found), max(f[n] for f in found)) for n in names}
    return Reference(truth, first, floor)


def _fano_conditions(settings, num_events, seed) -> Conditions:
    conditions = draw_conditions(settings, num_events, seed)
    mean, _ = expected_muons(conditions, threshold(conditions), settings)
    fitting = np.flatnonzero((mean >= FANO_MEANS[0]) & (mean <= FANO_MEANS[1]))
    return conditions.rows(fitting[:FANO_CONDITIONS])


def _true_replicas(conditions, settings, seed, shower_seed) -> Replicas:
    repeated = conditions.rows(np.repeat(np.arange(len(conditions)), FANO_REPLICAS))
    random = np.random.default_rng([seed, 2, shower_seed])
    parts = list(simulate_conditions(repeated, random, settings))
    return replicas_of(Events.concatenate(parts), FANO_REPLICAS)


def _figures(truth: Events, model: Events, seed: int = 0) -> dict[str, float]:
    deviations = metrics.yield_ratios(truth, model).deviations
    correlations = [metrics.energy_radius_correlation(e) for e in (truth, model)]
    empty = [metrics.empty_fraction(e) for e in (truth, model)]
    return metrics.summed_wasserstein(truth, model) | {
        "p0_difference": abs(empty[1] - empty[0]),
        "yield_median": float(np.median(deviations)) if len(deviations) else np.nan,
        "yield_max": float(deviations.max()) if len(deviations) else np.nan,
        "correlation_difference": abs(correlations[1] - correlations[0]),
        "classifier_auc": metrics.classifier_auc(truth, model, seed),
        "isotropy_p": metrics.isotropy_p_value(model),
    }


def compare(reference: Reference, sampler: Sampler, seed: int = 0) -> Closure:
    """Compares a generator with simulated truth.

    Args:
        reference: The truth.
        sampler: The generator.
        seed: Of the generator.
    """
    truth, replicas = reference.truth, reference.replicas
    model = sampler(truth.primaries, seed)
    count = replicas.num_muons.shape[1]
    repeated = repeat_primaries(replicas.primaries, count)
    generated = replicas_of(sampler(repeated, seed + 1), count)
    figures = _figures(truth, model) | fano_ratios(replicas, generated)
    return _closure(figures, reference.floor, truth, model, (generated, replicas))


def compare_events(
    truth: Events, model: Events, further: Events | None = None
) -> Closure:
    """Compares generated with true events that are one of a kind.

    Args:
        truth: True events.
        model: Generated events, of the same conditions.
        further: True events of other showers. Fluctuations are those about a
            regression of the mean, which these give, or else one half of `truth`.
    """
    fano = regression_fano(truth, model, further)
    figures = _figures(truth, model) | fano.ratios()
    return _closure(figures, {}, truth, model, fano)


def _closure(figures, floor, truth, model, fano) -> Closure:
    rows = tuple(Row(c, figures[c.name], floor.get(c.name)) for c in CRITERIA)
    return Closure(rows, metrics.yield_ratios(truth, model), fano)


def truth_of(reference: Reference | Events) -> Events:
    """Returns the true events of a reference."""
    return reference if isinstance(reference, Events) else reference.truth


def generate_and_compare(
    reference: Reference | Events, sampler: Sampler, seed: int
) -> tuple[Events, Closure]:
    """Returns the generated events and how they compare.

    Args:
      reference: fresh events of the simulation, or held-out ones of the user.
      sampler: primaries [N, 4] and a seed -> events.
      seed: of the generated events.
    """
    model = sampler(truth_of(reference).primaries, seed)
    if isinstance(reference, Events):
        return model, compare_events(reference, model)
    return model, compare(reference, sampler, seed)
