"""The report of a GDyNet run holds the numbers of a chain that is known exactly."""

import csv
import functools
import json
import re

import numpy as np
import pytest

from jaxphys.gdynet.analysis.analysis import AnalysisSettings
from jaxphys.gdynet.data.dataset import from_arrays
from jaxphys.gdynet.report.page import match_populations, write_report
from jaxphys.gdynet.report.report_numbers import history_columns, metrics_of
from jaxphys.gdynet.report.sections import STATIC_IDENTITY
from jaxphys.gdynet.simulation.simulation import (
    dipole_arrays,
    distance_arrays,
    perovskite,
)
from jaxphys.report import RunPage, figures
from tests.gdynet.chains import TRANSITION, one_hot, sample

UNIT = 0.5
EXACT = -UNIT / np.log(np.sort(np.linalg.eigvals(TRANSITION).real)[-2::-1])
SHARES = np.linalg.matrix_power(TRANSITION, 10_000)[0]
FAST = AnalysisSettings(n_bootstrap=10)
RENDER = figures.png
STATES = {
    "chapman_kolmogorov", "populations", "transition_matrix", "transition_graph",
    "along_target", "populations_in_time", "autocorrelation", "singular_values",
}  # fmt: skip
HISTORY = [
    {
        "round": r,
        "phase": "vamp1" if 2 < r < 5 else "vamp2",
        "train_loss": -0.1 * r,
        "val_loss_avg": -0.09 * r,
        "train_vamp1": 0.15 * r,
        "train_vamp2": 0.1 * r,
        "val_vamp1_full": 0.14 * r,
        "val_vamp2_full": 0.09 * r,
        "val_vamp2_static": 0.01,
        "val_vamp2_centred": 0.08 * r,
    }
    for r in range(1, 7)
]


@pytest.fixture(autouse=True, scope="module")
def _unrendered():
    """Saves time: that every kind of picture renders is tested with the figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "png", lambda figure: b"\x89PNG")
        yield


def _write(folder, **changes):
    settings = {
        "tau": 1,
        "model": "gdynet_vanilla",
        "settings": FAST,
        "time_unit": UNIT,
        "time_unit_name": "ps",
    }
    given = settings | changes
    about = {
        n: given.pop(n)
        for n in ("history", "flags", "command", "timings", "weights")
        if n in given
    }
    return write_report(RunPage(folder, **about), **given)


def _page(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    return " ".join(re.sub(r'src="[^"]*"', "", text).split())


def _figures(folder, ending="png"):
    return {p.stem for p in (folder / "figures").glob(f"*.{ending}")}


@pytest.fixture(scope="module")
def chain():
    """States 0, 1, 2 of an atom whose neighbour lies at 2, 3 and 4 A."""
    rng = np.random.default_rng(0)
    states = sample(rng, TRANSITION, 2000, 10).T
    data = from_arrays(distance_arrays(0.5 * states - 0.5), "chain.npz")
    return data, [one_hot(s)[:, None].astype(np.float32) for s in states]


@pytest.fixture(scope="module")
def written(tmp_path_factory, chain):
    folder = tmp_path_factory.mktemp("report")
    data, predictions = chain
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "png", functools.partial(RENDER, dpi=30))
        numbers = _write(
            folder,
            predictions=predictions,
            trajectories=data,
            exact={"timescales": EXACT.tolist(), "populations": sorted(SHARES)},
            history=HISTORY,
            scores={"val_vamp2_full": 1.37, "val_vamp2_static": 0.3},
            warnings={"static_identity": "targets have 2 species"},
            flags="--tau=1\n",
            command="python -m experiments.gdynet",
            timings={"data": 1.0},
            source="a chain",
        )
    return folder, numbers


def test_all_figures_are_drawn_embedded_and_saved_with_their_numbers(written):
    folder, _ = written
    names = STATES | {"timescales", "radial", "training"}
    assert _figures(folder) == names
    assert _figures(folder, "csv") == names
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(names)
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert not re.search(r"\bnan\b", _page(folder).lower())


def test_report_json_holds_the_numbers_that_are_returned(written):
    folder, numbers = written
    saved = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert saved["numbers"] == numbers
    assert saved["not_finite"] == {}


def test_known_chain_is_found(written, chain):
    _, numbers = written
    np.testing.assert_allclose(numbers["timescales"], EXACT, rtol=0.06)
    np.testing.assert_allclose(numbers["timescales_exact"], EXACT)
    np.testing.assert_allclose(numbers["koopman"], TRANSITION, atol=0.015)
    np.testing.assert_allclose(numbers["transition_matrix"], TRANSITION, atol=0.015)
    np.testing.assert_allclose(numbers["populations"]["hard"], SHARES, atol=0.03)
    # handed over in order of size, and put to the states they belong to
    np.testing.assert_allclose(numbers["populations_exact"], SHARES)
    ck = numbers["chapman_kolmogorov"]
    assert ck["deviation"] < 0.03
    assert ck["z_value"] < 5
    stay = UNIT / (1 - np.diag(TRANSITION))
    np.testing.assert_allclose(numbers["lifetimes"], stay, rtol=0.1)
    summary = numbers["summary"]
    assert summary["slowest"] == numbers["timescales"][0]
    assert summary["slowest_low"] < summary["slowest"] < summary["slowest_high"]
    assert (summary["resolved"], summary["processes"]) == (2, 2)
    assert summary["val_vamp2_full"] == 1.37
    np.testing.assert_allclose(
        numbers["structure"]["distances"], [[2], [3], [4]], rtol=1e-5
    )
    assert len(numbers["examples"]) == 12
    state, place, frame, time, atom, element, p = numbers["examples"][-1]
    assert (state, atom, element, p) == ("2", "0", "H", 1.0)
    data, predictions = chain
    assert predictions[data.names.index(place)][frame, 0, 2] == 1
    assert time == frame * UNIT


def test_csv_beside_the_figure_has_the_timescales(written):
    folder, numbers = written
    with (folder / "figures" / "timescales.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = [r for r in rows if r["process"] == "1" and r["lag_frames"] == "1"]
    assert np.isclose(float(first[0]["timescale"]), numbers["timescales"][0])
    assert np.isclose(float(first[0]["lag_time"]), UNIT)
    blank = [r for r in rows if r["resolved"] == "0"]
    assert blank  # the fast process at long lags


def test_metrics_follow_the_names_of_the_original(written):
    metrics = written[1]["metrics"]
    assert metrics["epochs"] == [1, 2, 3, 4, 5, 6]
    assert metrics["loss_types"][2] == "vamp1"
    np.testing.assert_allclose(
        metrics["train_losses_avg"], [-0.1 * r for r in range(1, 7)]
    )
    for name in (
        "val_losses_avg", "train_vamp1_scores_avg", "train_vamp2_scores_avg",
        "val_vamp1_full", "val_vamp2_full", "val_vamp2_static", "val_vamp2_centred",
    ):  # fmt: skip
        assert len(metrics[name]) == 6


def test_history_may_count_from_0_and_lack_entries():
    rows = [{"round": 0, "train_loss": 1.0}, {"round": 1, "note": "text"}]
    columns, phases = history_columns(rows)
    assert columns["epoch"].tolist() == [1, 2]
    assert np.isnan(columns["train_loss"][1])
    assert "note" not in columns
    assert phases == []
    assert history_columns([]) == ({}, [])
    both = {"val_vamp2_avg": np.ones(1), "val_vamp2_last": np.ones(1)}
    assert set(metrics_of(both, [])) == {
        "val_vamp2_scores_avg", "val_vamp2_scores_last",
    }  # fmt: skip


def test_static_identity_has_its_plain_sentence(written):
    page = _page(written[0])
    assert STATIC_IDENTITY in page.replace("&#34;", '"')
    assert "Targets have 2 species." in page
    assert page.index("Read this first") < page.index("Implied timescales")


def test_unresolved_process_is_a_word_and_never_a_number(tmp_path, chain):
    """The fast process of the chain is below a lag of eight frames."""
    _, predictions = chain
    exact = {"name": "D", "timescales": [EXACT[0]]}
    numbers = _write(tmp_path, predictions=predictions, tau=8, exact=exact)
    slow, fast = numbers["timescales"]
    assert np.isclose(slow, EXACT[0], rtol=0.1)
    assert fast == "unresolved"
    at = numbers["implied_timescales"]["lags"].index(8)
    assert numbers["implied_timescales"]["mean"][1][at] is None
    page = _page(tmp_path)
    assert ">unresolved<" in page
    assert "faster than the lag" in page
    assert "best known analysis" in page
    assert numbers["macrostates"]["labels"] in ([0, 0, 1], [1, 1, 0])


def test_label_of_the_targets_is_no_timescale(tmp_path):
    """What a network that knows the target atom, and nothing else, would give."""
    rng = np.random.default_rng(3)
    label = 0.9 * np.eye(2)[[0, 1]] + 0.05
    p = np.broadcast_to(label, (500, 2, 2)) + 0.01 * rng.random((500, 2, 1)) * [1, -1]
    warnings = {"static_identity": "targets have 2 species"}
    exact = {"timescales": EXACT.tolist()}
    numbers = _write(tmp_path, predictions=p, tau=2, warnings=warnings, exact=exact)
    assert numbers["timescales"] == ["unresolved"]
    assert numbers["summary"]["slowest"] is None
    assert numbers["summary"]["slowest_exact"] is None
    page = _page(tmp_path)
    assert STATIC_IDENTITY in page
    assert "a label of the targets that does not change" in page


def test_equal_outputs_leave_out_all_that_is_said_of_states(tmp_path):
    p = np.full((300, 2, 3), 1 / 3)
    p += 1e-8 * np.random.default_rng(0).standard_normal(p.shape)
    numbers = _write(tmp_path, predictions=p, tau=3, history=HISTORY)
    assert numbers["collapsed"] is True
    assert numbers["timescales"] == ["unresolved"] * 2
    assert numbers["summary"]["slowest"] is None
    page = _page(tmp_path)
    assert "All outputs are equal" in page
    assert _figures(tmp_path) == {"training"}
    assert "Populations and transitions" not in page


def test_many_states_are_shown_as_their_macrostates(tmp_path, chain):
    """Six states, two of which behave like each state of the chain."""
    _, predictions = chain
    rng = np.random.default_rng(1)
    wide = []
    for p in predictions:
        state = 2 * np.argmax(p, axis=2) + rng.integers(0, 2, p.shape[:2])
        wide.append(one_hot(state, 6))
    numbers = _write(tmp_path, predictions=wide)
    labels = np.array(numbers["macrostates"]["labels"])
    assert np.all(labels[::2] == labels[1::2])
    assert len(set(labels)) == 3
    with (tmp_path / "figures" / "chapman_kolmogorov.csv").open(newline="") as file:
        assert {row["from"] for row in csv.DictReader(file)} == {"A", "B", "C"}
    share = np.zeros(3)
    np.add.at(share, labels[::2], SHARES)
    found = numbers["macrostates"]["populations"]["hard"]
    np.testing.assert_allclose(found, share, atol=0.03)
    assert "among all 6 states" in _page(tmp_path)


def test_directions_and_static_distances_of_a_ferro_run(tmp_path):
    _, types = perovskite()
    rng = np.random.default_rng(2)
    flips = np.array([[0.95, 0.05], [0.05, 0.95]])
    state = np.stack([sample(rng, flips, 400, 8) for _ in range(3)])
    dipole = 2.0 * state - 1 + 0.1 * rng.standard_normal(state.shape)
    lists = np.tile(np.arange(12), (40, 1))
    arrays = dipole_arrays(dipole, types, lists, np.full((40, 12), 2.0))
    data = from_arrays(arrays, "ferro", directions=True)
    numbers = _write(
        tmp_path,
        predictions=[one_hot(s, 2) for s in state],
        trajectories=data,
        model="gdynet_ferro",
        tau=2,
        structure_frames=100,
    )
    mean = np.array(numbers["structure"]["direction_mean"])
    np.testing.assert_allclose(mean[:, 2], [-1, 1], atol=0.05)
    assert numbers["structure"]["coordination"] is None
    exact = -UNIT / np.log(0.9)
    np.testing.assert_allclose(numbers["timescales"], exact, rtol=0.15)
    assert _figures(tmp_path) == STATES | {"timescales", "directions"}
    page = _page(tmp_path)
    assert "distances are the same in every frame" in page
    assert ">Ti<" in page


def test_test_blocks_name_the_frames_of_their_trajectories(tmp_path, chain):
    data, predictions = chain
    blocks = np.array([[1900, 2000], [4500, 6000]])
    some = [predictions[0][1900:], predictions[2][500:]]
    numbers = _write(
        tmp_path, predictions=some, trajectories=data, blocks=blocks, n_examples=50
    )
    places = {row[1] for row in numbers["examples"]}
    assert places == {data.names[0], data.names[2]}
    for state, place, frame, *_ in numbers["examples"]:
        r = data.names.index(place)
        assert frame >= (1900 if r == 0 else 500)
        assert predictions[r][frame, 0, int(state)] == 1
    distances = numbers["structure"]["distances"]
    np.testing.assert_allclose(distances, [[2], [3], [4]], rtol=1e-5)


@pytest.mark.parametrize(("frames", "states", "tau"), [(4, 1, 2), (6, 3, 5), (2, 2, 1)])
def test_tiny_data_have_a_report(tmp_path, frames, states, tau):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(states), (frames, 1))
    numbers = _write(tmp_path, predictions=p, tau=tau)
    assert len(numbers["timescales"]) == states - 1
    assert "The timescales have no error" in _page(tmp_path)
    assert not re.search(r"\bnan\b", _page(tmp_path).lower())


def test_predictions_of_other_trajectories_are_refused(tmp_path, chain):
    data, predictions = chain
    with pytest.raises(ValueError, match="expected 10 trajectories or blocks, got 9"):
        _write(tmp_path, predictions=predictions[:9], trajectories=data)
    assert not (tmp_path / "report.html").exists()


def test_exact_populations_go_to_the_nearest_states():
    found = match_populations(np.array([0.5, 0.1, 0.4]), [0.12, 0.38, 0.5])
    assert found == [0.5, 0.12, 0.38]
    assert match_populations(np.array([0.5, 0.5]), [1.0]) == []
