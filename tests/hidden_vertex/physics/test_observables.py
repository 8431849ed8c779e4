"""Observables: equal to sums of four-vectors; cuts point at the signal."""

import itertools
import math
import sys

import numpy as np
import pytest

from jaxphys.hidden_vertex.analysis.scores import auc, max_sic
from jaxphys.hidden_vertex.data.readers import open_source
from jaxphys.hidden_vertex.data.splits import split_events
from jaxphys.hidden_vertex.physics.jets import find_jets
from jaxphys.hidden_vertex.physics.observables import (
    BASELINES,
    ORACLES,
    antikt_observables,
    baseline_scores,
    cone_observables,
    tau21,
)
from tests.hidden_vertex import slow_jets

SIZES = [1, 2, 3, 5, 40, 60, 170, 800, 1, 90, 2, 300]
NAMES = ["n", "mean_log_pt"] + [
    f"{q}{j}" for j in "12" for q in ("pt", "eta", "phi", "m")
]
NAMES += ["mjj"]


def slow_observables(event):
    """Returns the observables of one event [n, 3] by plain sums."""
    found = {"n": len(event), "mean_log_pt": np.log(event[:, 0].astype(float)).mean()}
    total = np.zeros(4)
    jets = slow_jets.cones(event)
    for j, members in enumerate(jets, 1):
        p = slow_jets.four_vector(event[members])
        pt = slow_jets.pt_of(p)
        found |= {f"pt{j}": pt, f"eta{j}": 0.0, f"phi{j}": 0.0}
        found[f"m{j}"] = slow_jets.mass_of(p)
        if pt:
            found |= {f"eta{j}": math.asinh(p[3] / pt), f"phi{j}": slow_jets.phi_of(p)}
        total += p
    found["mjj"] = slow_jets.mass_of(total) if all(jets) else 0.0
    return found


@pytest.mark.parametrize("prongs", [1, 2, 3])
def test_observables_equal_plain_sums(prongs):
    particles, offset = slow_jets.jetty_events(SIZES, prongs, prongs)
    found = cone_observables(particles, offset)
    assert list(found) == NAMES
    assert all(v.dtype == np.float32 for v in found.values())
    for e, event in enumerate(np.split(particles, offset[1:-1])):
        for name, expected in slow_observables(event).items():
            # the plain mass of a narrow jet is a small difference of large squares
            np.testing.assert_allclose(
                found[name][e], expected, rtol=3e-6, atol=1e-3, err_msg=f"{name} {e}"
            )


def test_absent_jets_have_zeros_and_no_number_is_missing():
    particles = np.array([[30, 1, 3.1], [20, -2, 1], [10, -2, 1]], np.float32)
    found = cone_observables(particles, np.array([0, 1, 3]))
    assert all(np.all(np.isfinite(values)) for values in found.values())
    for name in ("m1", "pt2", "eta2", "phi2", "m2", "mjj"):
        np.testing.assert_array_equal(found[name], 0, err_msg=name)
    np.testing.assert_allclose(found["pt1"], 30)
    np.testing.assert_allclose(found["eta1"], [1, -2], rtol=1e-6)


def test_two_lone_particles_have_the_mass_of_their_pair():
    particles = np.array([[100, 1, 3.1], [80, -1, 0]], np.float32)
    found = cone_observables(particles, np.array([0, 2]))
    expected = math.sqrt(2 * 100 * 80 * (math.cosh(2) - math.cos(3.1)))
    np.testing.assert_allclose(found["mjj"], expected, rtol=1e-6)
    np.testing.assert_array_equal([found["m1"], found["m2"]], 0)


def test_first_jet_is_the_one_of_larger_pt():
    particles, offset = slow_jets.jetty_events([80] * 50)
    found = cone_observables(particles, offset)
    assert np.all(found["pt1"] >= found["pt2"])


def test_tau21_equals_plain_clustering():
    pytest.importorskip("fastjet", reason="needs jaxphys[events]")
    particles, offset = slow_jets.jetty_events([2, 12, 30, 1, 45])
    jets = find_jets(particles, offset, "fastjet")
    found = tau21(jets)
    for e, (start, stop) in enumerate(itertools.pairwise(jets.offset)):
        for j in range(2):
            jet = jets.particles[start:stop][jets.jet[start:stop] == j]
            expected = 1.0
            if len(jet) > 1:
                expected = slow_jets.tau(jet, 2) / slow_jets.tau(jet, 1)
            np.testing.assert_allclose(found[e, j], expected, rtol=1e-6, atol=1e-9)


def test_tau21_is_0_for_two_prongs_and_1_without_any():
    pytest.importorskip("fastjet", reason="needs jaxphys[events]")
    pair, point = [[50, 0.2, 1], [40, -0.2, 1]], [[30, -1, -2]] * 3
    particles = np.array(pair + point + pair[:1], np.float32)
    found = antikt_observables(particles, np.array([0, 5, 6]))
    np.testing.assert_allclose(found["tau21_1"], [0, 1], atol=1e-6)
    np.testing.assert_allclose(found["tau21_2"], [1, 1], atol=1e-6)
    assert list(found) == [*NAMES, "tau21_1", "tau21_2"]


def test_missing_fastjet_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastjet", None)
    with pytest.raises(ImportError, match=r"jaxphys\[events\]"):
        antikt_observables(*slow_jets.jetty_events([5]))


def test_baselines_without_tau21_are_the_others():
    found = cone_observables(*slow_jets.jetty_events([30] * 4))
    expected = [name for name in BASELINES if "tau21" not in name]
    scores = baseline_scores(found)
    assert list(scores) == expected
    assert {name for name, (_, oracle) in scores.items() if oracle} == ORACLES
    tau = {"tau21_1": np.zeros(4), "tau21_2": np.ones(4)}
    scores = baseline_scores({**found, **tau})
    assert list(scores) == list(BASELINES)
    np.testing.assert_array_equal(scores["-tau21 sum"][0], -1)
    np.testing.assert_array_equal(scores["-n"][0], -30)


def test_baselines_point_at_the_signal_in_real_events(data_dir):
    path = data_dir("hidden_vertex") / "lhco_rnd_first1000_even.h5"
    events = open_source(path).read(0, 500)
    found = baseline_scores(cone_observables(events.particles, events.offset))
    label = np.asarray(events.label)
    areas = {name: auc(label, values) for name, (values, _) in found.items()}
    assert min(areas.values()) > 0.55, areas
    assert areas["mean log pT"] == pytest.approx(0.887, abs=0.03)
    assert areas["|m1 - m2|"] == pytest.approx(0.869, abs=0.04)


@pytest.mark.slow
def test_baselines_of_generated_events_are_those_of_the_study(data_dir):
    source = open_source(data_dir("hidden_vertex") / "lhco_like_30k.parquet")
    events = source.read(0, source.num_rows)
    label = np.asarray(events.label)
    test = split_events(label).test
    found = cone_observables(events.particles, events.offset)
    scores = baseline_scores({name: v[test] for name, v in found.items()})
    expected = {
        "mean log pT": (0.828, 1.70),
        "|m1 - m2|": (0.782, 1.94),
        "max(m1, m2)": (0.778, 1.93),
        "m1 + m2": (0.748, None),
        "mjj": (0.739, None),
        "-n": (0.681, None),
    }
    for name, (area, sic) in expected.items():
        values = scores[name][0]
        assert auc(label[test], values) == pytest.approx(area, abs=0.005), name
        if sic:
            assert max_sic(label[test], values).value == pytest.approx(sic, abs=0.1), (
                name
            )
