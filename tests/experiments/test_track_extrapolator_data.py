"""What the network is fed is what the flags say."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.track_extrapolator import data
from experiments.track_extrapolator.config import Config
from jaxphys.track_extrapolator import simulation
from jaxphys.track_extrapolator.data import field_files
from jaxphys.track_extrapolator.data.dataset_files import TrackSet
from jaxphys.track_extrapolator.model import parametrisation
from jaxphys.track_extrapolator.physics.field import GaussSeed
from jaxphys.track_extrapolator.physics.propagate import propagate


def tracks(count=200, seed=0):
    return simulation.generate(GaussSeed(), count, seed, step=100.0)


def test_split_is_85_10_5_in_order():
    found = data.split(Config(), tracks(200))
    assert [len(p) for p in (found.train, found.val, found.test)] == [170, 20, 10]
    np.testing.assert_array_equal(found.train.state, tracks(200).state[:170])


def test_failed_tracks_are_left_out_of_training_and_counted(capsys):
    made = tracks(200)
    ok = made.ok.copy()
    ok[[3, 175, 199]] = False
    found = data.split(Config(), dataclasses.replace(made, ok=ok))
    assert found.failed == 2
    assert (len(found.train), len(found.val), len(found.test)) == (169, 19, 10)
    assert "2 tracks of the training" in capsys.readouterr().err


def test_pairs_are_split_by_a_fixed_permutation():
    config = Config(train_pairs="pairs.npz")
    first, second = data.split(config, tracks(500)), data.split(config, tracks(500))
    assert [len(p) for p in (first.train, first.val, first.test)] == [360, 40, 100]
    np.testing.assert_array_equal(first.test.state, second.test.state)
    rows = np.concatenate([p.state for p in (first.train, first.val, first.test)])
    assert len(np.unique(rows, axis=0)) == 500


def test_split_follows_its_fractions_and_its_seed_alone():
    flags: dict = {"train_fraction": 0.5, "val_fraction": 0.25, "split_seed": 3}
    config = Config(**flags)
    one, other = (data.split(c, tracks(200)) for c in (config, Config(split_seed=4)))
    assert [len(p) for p in (one.train, one.val, one.test)] == [100, 50, 50]
    assert not np.array_equal(one.test.state[:10], other.test.state[:10])
    same = data.split(Config(seed=9, data_seed=9, **flags), tracks(200))
    np.testing.assert_array_equal(one.train.state, same.train.state)
    with pytest.raises(ValueError, match="leave no tracks for the test"):
        Config(train_fraction=0.9, val_fraction=0.1)


def test_too_few_tracks_are_refused():
    with pytest.raises(ValueError, match="5 tracks are too few"):
        data.split(Config(), tracks(5))


def test_statistics_of_a_constant_column_are_exact_at_140_000_rows():
    count = 140_000
    state = np.random.default_rng(0).normal(size=(count, 5))
    state[:, 4] = 1e-4
    wide = TrackSet(
        state, state[:, :4], np.ones(count), 3000.0, 7000.0, np.ones(count, bool), {}
    )
    config = Config(use_dz=True, parametrisation="straight")
    stats = data.Preparation.fit(config, wide).stats
    assert (stats["input_mean"][5], stats["input_std"][5]) == (4000.0, 1.0)
    float32 = np.full(count, 4000, np.float32)
    assert stats["input_mean"][5] == float32.astype(np.float64).mean()


@pytest.mark.parametrize("name", parametrisation.NAMES)
def test_arrays_decode_to_the_truth(name):
    config = Config(parametrisation=name)
    made = tracks(60)
    prep = data.Preparation.fit(config, made)
    arrays = prep.arrays(made, training=False)
    assert np.abs(arrays["inputs"].mean(axis=0)).max() < 1e-5
    target = arrays["target"] * prep.stats["output_std"] + prep.stats["output_mean"]
    with jax.enable_x64(True):
        found = np.asarray(
            parametrisation.decode(
                name, made.state, target, 3000.0, 7000.0, prep.field, map_step_mm=100.0
            )
        )
    np.testing.assert_allclose(found, made.target, rtol=2e-4, atol=1e-2)


def test_scale_turns_network_errors_into_mm():
    config = Config(parametrisation="kick")
    made = tracks(60)
    prep = data.Preparation.fit(config, made)
    arrays = prep.arrays(made, training=False)
    expected = 1000 * made.state[:, 4:] * prep.stats["output_std"][None]
    np.testing.assert_allclose(arrays["scale"], expected, rtol=1e-6)


def test_importance_has_mean_one_and_grows_with_qop():
    config = Config(momentum_weight=1.0)
    made = tracks(60)
    weight = data.Preparation.fit(config, made).arrays(made, training=True)
    importance = weight["importance"]
    assert importance.mean() == pytest.approx(1, rel=1e-6)
    order = np.argsort(np.abs(made.state[:, 4]))
    assert np.all(np.diff(importance[order]) >= 0)


@pytest.mark.parametrize("name", ["kick", "born"])
def test_slope_labels_are_the_derivatives_of_the_normalised_target(name):
    config = Config(parametrisation=name, jacobian_weight=1.0)
    made = simulation.generate(GaussSeed(), 20, 1)
    prep = data.Preparation.fit(config, made)
    slopes = prep.arrays(made, training=True)["slopes"]
    step = np.array([1e-2, 1e-2, 1e-6, 1e-6, 1e-10])
    for column in range(5):
        shifted = []
        for sign in (1, -1):
            state = made.state.copy()
            state[:, column] += sign * step[column]
            target = propagate(GaussSeed(), state, 3000.0, 7000.0)[:, :4]
            moved = dataclasses.replace(made, state=state, target=target)
            encoded = prep._targets(moved) / prep.stats["output_std"]
            shifted.append(encoded)
        difference = (shifted[0] - shifted[1]) / (2 * step[column])
        expected = difference * prep.stats["input_std"][column]
        np.testing.assert_allclose(
            slopes[:, :, column], expected, rtol=2e-3, atol=2e-4 * np.abs(slopes).max()
        )


def test_online_tracks_change_with_the_epoch_and_come_back():
    config = Config(samples=100, online_data=True)
    prep = data.Preparation.fit(config, tracks(100))
    first, again, other = prep.online(0), prep.online(0), prep.online(1)
    np.testing.assert_array_equal(first["inputs"], again["inputs"])
    assert first["inputs"].shape == (85, 5)
    assert not np.isin(first["inputs"], other["inputs"]).any()


def test_uniform_planes_become_inputs():
    config = Config(dz_mode="uniform")
    made = simulation.generate(GaussSeed(), 50, 0, data.sampling(config), step=100.0)
    arrays = data.Preparation.fit(config, made).arrays(made, training=True)
    assert arrays["inputs"].shape == (50, 7)
    assert arrays["inputs"][:, 5].std() == pytest.approx(1, rel=1e-5)


def write_map(path, z_last):
    axes = [np.linspace(-1000, 1000, 5)] * 2 + [np.linspace(2000, z_last, 9)]
    values = np.zeros((9, 5, 5, 3))
    values[..., 1] = 1.0
    spacing = np.array([axis[1] - axis[0] for axis in axes])
    minimum = np.array([axis[0] for axis in axes])
    found = field_files.FieldMap(values, minimum, spacing, 1 / spacing)
    field_files.write_twodip(path, found)


def test_a_map_that_ends_between_the_planes_is_refused(tmp_path):
    write_map(tmp_path / "short.txt", 6000)
    config = Config(field="grid", field_file=str(tmp_path / "short.txt"), samples=50)
    with pytest.raises(ValueError, match="from z = 2000 to 6000 mm, the tracks from"):
        data.simulate(config, tmp_path / "data")


def test_tracks_beside_the_map_are_counted(tmp_path, capsys):
    write_map(tmp_path / "narrow.txt", 8000)
    config = Config(field="grid", field_file=str(tmp_path / "narrow.txt"), samples=50)
    data.simulate(config, tmp_path / "data")
    assert "of 50 tracks begin or end beside the field map" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"name": "a/b"}, "--name='a/b'"),
        ({"polarity": 0.0}, "--polarity=0"),
        ({"seeds": (0, 0)}, "a seed is given twice"),
        ({"hidden": (3,)}, "--hidden=3 goes with --model=custom"),
        ({"loss": "raw"}, "--loss=raw goes with --parametrisation=absolute"),
        ({"p_min": 9.0, "p_max": 3.0}, "--p_min=9.0 is above --p_max=3.0"),
        ({"z_in": 5.0, "z_out": 5.0}, "--z_in and --z_out are both 5.0"),
        ({"shards": 3, "shard": 3}, "--shard=3: there are --shards=3"),
        ({"shard": 0}, "--shard=0 needs --shards"),
        ({"formats": ("pdf",)}, "--formats='pdf'"),
        ({"model": "huge"}, "--model"),
        ({"parametrisation": "born", "train_pairs": "x.npz"}, "--approximate_field"),
        ({"approximate_field": "iron"}, "--approximate_field='iron'"),
        ({"jacobian_weight": 1.0, "train_pairs": "x.npz"}, "--jacobian_weight needs"),
        ({"online_data": True, "train_pairs": "x.npz"}, "--online_data"),
        ({"betas": (0.9,)}, "--betas"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        Config(**flags)


def test_a_falling_schedule_cannot_be_extended():
    with pytest.raises(ValueError, match="cosine schedule ends"):
        Config(epochs=9).check_extension(Config(epochs=5))
    Config(epochs=9, schedule="plateau").check_extension(
        Config(epochs=5, schedule="plateau")
    )
