"""A run is loaded and says the same of frames however they are given."""

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from jaxphys.gdynet.data.dataset import from_arrays
from jaxphys.gdynet.inference import predict
from jaxphys.gdynet.model.model import GDyNet
from jaxphys.gdynet.physics.neighbours import neighbours
from jaxphys.gdynet.training import step
from jaxphys.training.checkpoint import Checkpointer
from jaxphys.training.optimizers import make_optimizer
from jaxphys.training.task import Progress

TYPES, TARGETS = np.array([3, 16, 16, 8, 8, 3]), np.array([0, 5])


def model_of(variant="vanilla"):
    return GDyNet(8, 1, 3, 12, variant=variant)


@pytest.fixture(scope="module")
def positions():
    return np.random.default_rng(0).uniform(0, 6, (7, 6, 3))


def predictor_of(variant="vanilla", seed=0):
    lobes = step.Lobes(model_of(variant), TYPES, TARGETS)
    variables = step.initial_variables(jax.random.key(seed), lobes)
    return predict.Predictor(lobes.model, variables["lobe_0"], TYPES, TARGETS, 4)


def arrays_of(positions, **more):
    found = neighbours(positions, 6 * np.eye(3), 4, "auto")
    return {
        "atom_types": TYPES,
        "target_index": TARGETS,
        "nbr_lists": found.lists,
        "nbr_dists": found.dists,
        **more,
    }


def test_positions_arrays_and_trajectories_agree(positions, monkeypatch):
    predictor = predictor_of()
    arrays = arrays_of(positions)
    want = predictor.probabilities(arrays["nbr_lists"], arrays["nbr_dists"])
    assert want.shape == (7, 2, 3)
    np.testing.assert_allclose(want.sum(axis=2), 1, rtol=1e-5)
    found = predictor.from_positions(positions, 6 * np.eye(3))
    np.testing.assert_allclose(found, want, rtol=1e-6)
    data = from_arrays({**arrays, "trajectory_lengths": np.array([4, 3])})
    parts = predictor.predict(data)
    assert [len(p) for p in parts] == [4, 3]
    np.testing.assert_allclose(np.concatenate(parts), want, rtol=1e-6)
    # chunks of two frames, the last of them filled up
    monkeypatch.setattr(predict, "_CHUNK_BYTES", 2 * 4 * 6 * 4 * 8)
    np.testing.assert_allclose(np.concatenate(predictor.predict(data)), want, rtol=1e-5)


def test_other_atoms_and_targets_than_in_training_are_taken(positions):
    predictor = predictor_of()
    more = np.concatenate([positions, positions[:, :2] + 0.7], axis=1)
    types = np.append(TYPES, [8, 3])
    found = predictor.from_positions(more, 6 * np.eye(3), types, np.array([7]))
    assert found.shape == (7, 1, 3)


def test_static_geometry_needs_one_frame_only():
    predictor = predictor_of("ferro")
    rng = np.random.default_rng(1)
    lists, dists = rng.integers(0, 6, (1, 6, 4)), rng.uniform(1, 5, (1, 6, 4))
    directions = rng.normal(size=(5, 6, 3)).astype(np.float32)
    once = predictor.probabilities(lists, dists.astype(np.float32), directions)
    lists, dists = (np.repeat(a, 5, axis=0) for a in (lists, dists))
    every = predictor.probabilities(lists, dists.astype(np.float32), directions)
    np.testing.assert_allclose(once, every, rtol=1e-5)
    with pytest.raises(ValueError, match="directions"):
        predictor.probabilities(lists, dists)


@pytest.mark.parametrize("lobes", ["separate", "shared"])
def test_run_is_loaded_from_its_checkpoint(tmp_path, positions, lobes):
    made = step.Lobes(model_of(), TYPES, TARGETS, lobes)
    first = step.initial_variables(jax.random.key(1), made)
    best = step.initial_variables(jax.random.key(2), made)
    state = step.initial_state(
        first, objective=made, optimizer=make_optimizer("adam", 1e-3)
    )
    kept = {
        part: {name: best[name][part] for name in made.names}
        for part in ("params", "batch_stats")
    }
    progress = Progress(step=4, round=2, extra={"best_step": 2.0}, best_phase="VAMP2")
    keeper = Checkpointer(tmp_path / "checkpoints")
    keeper.save(state.replace(best=kept), progress, {})
    keeper.close()
    predict.save_network(tmp_path, made, 4, tau=7)
    arrays = arrays_of(positions)
    for weights, variables, own_step in (("last", first, 4), ("best", best, 2)):
        found = predict.load(tmp_path, weights)
        assert (found.weights, found.weights_step) == (weights, own_step)
        assert found.metadata["tau"] == 7
        assert found.metadata["epochs"] == 2
        own = predict.Predictor(made.model, variables["lobe_0"], TYPES, TARGETS, 4)
        np.testing.assert_array_equal(
            found.probabilities(arrays["nbr_lists"], arrays["nbr_dists"]),
            own.probabilities(arrays["nbr_lists"], arrays["nbr_dists"]),
        )
    assert predict.load(tmp_path).weights == "best"
    jax.tree.map(np.testing.assert_array_equal, predict.load_variables(tmp_path), best)
    with pytest.raises(ValueError, match="weights"):
        predict.load(tmp_path, "ema")
    if lobes == "shared":
        with pytest.raises(ValueError, match="lobe_t"):
            predict.load(tmp_path, lobe="lobe_t")


def test_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not a run"):
        predict.load(tmp_path)


def test_tables_hold_a_row_per_frame_and_target(tmp_path, positions):
    arrays = arrays_of(positions)
    p = predictor_of().probabilities(arrays["nbr_lists"], arrays["nbr_dists"])
    predict.write_prediction(tmp_path / "p.parquet", [p[:4], p[4:]], TARGETS)
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.num_rows == 14
    assert table["trajectory"].to_pylist() == [0] * 8 + [1] * 6
    assert table["frame"].to_pylist()[-2:] == [2, 2]
    assert table["atom"].to_pylist()[:2] == [0, 5]
    np.testing.assert_array_equal(table["p_1"].to_numpy(), p[:, :, 1].reshape(-1))
    np.testing.assert_array_equal(table["state"].to_numpy(), p.argmax(2).reshape(-1))
    predict.write_prediction(tmp_path / "p.npy", [p[:4], p[4:]], TARGETS)
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), p)
    with pytest.raises(ValueError, match=r"p\.csv"):
        predict.write_prediction(tmp_path / "p.csv", [p], TARGETS)
