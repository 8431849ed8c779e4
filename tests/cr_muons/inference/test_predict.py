"""A run is loaded and generates what is asked for, row by row."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest

import jaxphys
from jaxphys.cr_muons.data.primaries_table import read_primaries
from jaxphys.cr_muons.data.writers import write_events, write_predictions
from jaxphys.cr_muons.inference import predict
from jaxphys.cr_muons.model.generator import initial_params
from jaxphys.cr_muons.model.settings import GanSettings
from jaxphys.cr_muons.physics.normalise import FeatureNorm, fit_feature_norm
from jaxphys.training.checkpoint import Checkpointer
from jaxphys.training.task import Progress, TrainState
from tests.cr_muons.samples import assert_same, draw_events

SMALL = GanSettings(
    latent_dim_global=3,
    latent_dim_local=2,
    hidden_dim=8,
    multiplicity="negative_binomial",
)


@pytest.fixture(scope="module")
def events():
    return draw_events(40)


@functools.cache
def params_of(settings):
    return jax.jit(initial_params, static_argnums=1)(jax.random.key(0), settings)


def generator_of(settings=SMALL, **more):
    return predict.Generator(settings, params_of(settings), **more)


@pytest.fixture(scope="module")
def generator():
    return generator_of()


def test_every_primary_gets_one_event_in_order(generator, events):
    found = generator.sample(events.primaries, seed=3)
    np.testing.assert_array_equal(found.primaries, events.primaries)
    assert found.num_muons.sum() == len(found.muons) > 0
    assert found.showers[:, 1].tolist() == list(range(40))
    assert_same(generator.sample(events.primaries, seed=3), found)
    other = generator.sample(events.primaries, seed=4)
    assert not np.array_equal(other.num_muons, found.num_muons)


def test_numbers_that_are_given_are_kept_and_capped(generator, events):
    found = generator.sample(events.primaries, num_muons=events.num_muons)
    np.testing.assert_array_equal(found.num_muons, events.num_muons)
    capped = generator.sample(
        events.primaries, num_muons=events.num_muons, max_muons_per_event=2
    )
    np.testing.assert_array_equal(capped.num_muons, np.minimum(events.num_muons, 2))
    free = generator.sample(events.primaries, seed=5)
    capped = generator.sample(events.primaries, seed=5, max_muons_per_event=1)
    np.testing.assert_array_equal(capped.num_muons, np.minimum(free.num_muons, 1))


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_table_of_a_file_and_its_rows_are_the_same(tmp_path, generator, events, ending):
    import pyarrow as pa
    import pyarrow.csv

    path = tmp_path / f"table.{ending}"
    names = ("energy", "zenith", "mass", "depth")
    table = pa.table(dict(zip(names, events.primaries.T, strict=True)))
    writer = pyarrow.csv.write_csv if ending == "csv" else pq.write_table
    writer(table, path)
    primaries = read_primaries(path).primaries
    wanted = generator.sample(primaries, seed=1)
    assert_same(generator.predict(path, seed=1), wanted)
    assert_same(generator.predict(primaries, seed=1), wanted)


def test_numbers_come_from_a_column_or_are_constant(tmp_path, generator, events):
    path = write_events(tmp_path / "events.parquet", events)
    found = generator.predict(path, "column", counts_column="muons")
    np.testing.assert_array_equal(found.num_muons, events.num_muons)
    np.testing.assert_array_equal(found.showers, events.showers)
    found = generator.predict(path, "constant", count_constant=3)
    assert set(found.num_muons) == {3}
    with pytest.raises(ValueError, match="--counts_mode=column: expected"):
        generator.predict(path, "column")
    with pytest.raises(ValueError, match="--counts_mode=some: expected one of"):
        generator.predict(path, "some")
    with pytest.raises(ValueError, match="--count_constant=-1"):
        generator.predict(path, "constant", count_constant=-1)


def test_prediction_can_be_written_and_trained_on(tmp_path, generator, events):
    found = generator.predict(events.primaries)
    path = write_predictions(tmp_path / "p.parquet", found, "training")
    again = generator.predict(path, "column", counts_column="muons")
    np.testing.assert_array_equal(again.num_muons, found.num_muons)
    table = pq.read_table(write_predictions(tmp_path / "flat.parquet", found))
    assert table.column_names == ["event_index", "E_GeV", "X_m", "Y_m"]
    np.testing.assert_array_equal(
        np.bincount(table["event_index"], minlength=40), found.num_muons
    )


def test_features_without_a_direction_get_a_uniform_one(events):
    norm = fit_feature_norm(events.muons, "log_radius")
    settings = SMALL.replace(feat_dim=2)
    generator = generator_of(settings, norm=norm)
    counts = np.full(40, 50)
    found = generator.sample(events.primaries, num_muons=counts)
    assert found.muons.shape == (2000, 3)
    angle = np.arctan2(found.muons[:, 2], found.muons[:, 1])
    quarters = np.histogram(angle, np.linspace(-np.pi, np.pi, 5))[0]
    assert quarters.min() > 400
    assert_same(generator.sample(events.primaries, num_muons=counts), found)


def write_run(folder, settings=SMALL, averaged=True):
    params = {"generator": params_of(settings), "critic": {"w": jnp.ones(2)}}
    shift = lambda tree, by: jax.tree.map(lambda x: x + by, tree)  # noqa: E731
    best, extra = shift(params["generator"], 0.01), {}
    if averaged:
        extra["generator_ema"] = shift(params["generator"], 0.02)
    state = TrainState(
        jnp.asarray(7, jnp.int32),
        params,
        {"count": jnp.zeros(())},
        extra,
        {"params": best},
    )
    (folder / "config.flags").write_text("# experiment: cr_muons\n")
    norm = FeatureNorm("standardized", (-4.0, 0.0, 0.0), (0.5, 0.02, 0.02))
    predict.save_network(folder, settings, norm, "slant", seed=5)
    keeper = Checkpointer(folder / "checkpoints")
    progress = Progress(step=7, history=({"val_w1_sum": 0.5},))
    progress = progress.with_extra(best_step=6.0)
    keeper.save(state, progress, {})
    keeper.wait()
    keeper.close()
    return params, best, extra, norm


@pytest.mark.parametrize("averaged", [True, False])
def test_run_is_loaded_with_the_weights_that_are_asked_for(tmp_path, averaged, events):
    params, kept, extra, norm = write_run(tmp_path, averaged=averaged)
    best = jaxphys.load_run(tmp_path)
    last = jaxphys.load_run(tmp_path, weights="last")
    assert (best.settings, best.norm, best.depth_kind) == (SMALL, norm, "slant")
    assert best.metadata["seed"] == 5
    assert best.metadata["step"] == 7
    assert best.metadata["history"][0]["val_w1_sum"] == 0.5
    wanted = extra["generator_ema"] if averaged else params["generator"]
    jax.tree.map(np.testing.assert_array_equal, best.params, kept)
    assert (best.weights, best.weights_step) == ("best", 6)
    assert (last.weights, last.weights_step) == ("last", 7)
    jax.tree.map(np.testing.assert_array_equal, last.params, wanted)
    jax.tree.map(np.testing.assert_array_equal, predict.load_params(tmp_path), params)
    assert len(best.predict(events.primaries)) == 40


def test_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(ValueError, match="not a run, or not begun"):
        predict.load(tmp_path)
    (tmp_path / predict.NETWORK_FILE).write_text('{"settings": {"unknown": 1}}')
    with pytest.raises(ValueError, match=r"network\.json: damaged"):
        predict.load(tmp_path)
