"""Generation: the rows are a pure function of the seed, whatever the shards."""

import dataclasses
import json

import numpy as np
import pytest

from jaxphys.track_extrapolator import simulation
from jaxphys.track_extrapolator.data.dataset_files import read_dataset, write_legacy
from jaxphys.track_extrapolator.physics.field import GaussFit, GaussSeed, field_hash
from jaxphys.track_extrapolator.physics.propagate import propagate
from jaxphys.track_extrapolator.simulation import (
    BLOCK,
    Sampling,
    generate,
    generate_shards,
    online_tracks,
    sample_legacy,
    sample_states,
)

SEED = GaussSeed()
COARSE = 500.0  # mm, for tests that do not look at the physics


def test_rows_of_the_original_follow_from_its_seeds(golden_dir):
    golden = np.load(golden_dir("track_extrapolator") / "generate_sample__seed.npz")
    tolerance = json.loads(str(golden["meta"]))["tolerance"]
    found = sample_legacy(golden["input/seed"])
    for name, array in zip("XYP", found, strict=True):
        np.testing.assert_allclose(array, golden[f"output/{name}"], **tolerance[name])


def test_legacy_files_follow_from_their_seeds(data_dir):
    files = read_dataset(data_dir("track_extrapolator"), "legacy_small")
    x, y, p = sample_legacy(np.arange(5_000_000, 5_000_050))
    np.testing.assert_allclose(files.state[:50], x[:, :5], rtol=1e-6)
    np.testing.assert_allclose(files.target[:50], y, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(files.p_gev[:50], p, rtol=1e-6)


def test_a_row_does_not_depend_on_the_part_that_is_asked_for():
    whole = sample_states(3, 0, 3 * BLOCK)
    for start, count in ((0, 5), (BLOCK - 2, 4), (17, 2 * BLOCK), (BLOCK, 0)):
        part = sample_states(3, start, count)
        for a, b in zip(part, whole, strict=True):
            np.testing.assert_array_equal(a, b[start : start + count])


def test_the_generator_never_changes():
    state, p_gev, _, _ = sample_states(0, 0, 1)
    expected = simulation._uniforms(0, 0, 1, "dataset")[0]
    words = np.random.Philox(key=[0, 0]).random_raw(8)
    np.testing.assert_array_equal(expected, (words >> np.uint64(11)) * 2.0**-53)
    assert state[0, 0] == 900.0 * (2.0 * expected[0] - 1.0)
    assert p_gev[0] == pytest.approx(2.0 * 50.0 ** expected[4], rel=1e-14)


def test_rows_seeds_and_streams_share_no_track():
    parts = [
        sample_states(seed, 0, 50_000, stream=stream)[0]
        for seed in (0, 1)
        for stream in ("dataset", "online")
    ]
    momenta = np.concatenate(parts)[:, 4]
    assert len(np.unique(np.abs(momenta))) == 200_000
    np.testing.assert_array_equal(parts[0], sample_states(0, 0, 50_000)[0])


def test_samples_fill_the_stated_ranges_uniformly():
    s = Sampling()
    state, p_gev, z_in, z_out = sample_states(1, 0, 100_000)
    limits = np.array([s.x_max, s.y_max, s.tx_max, s.ty_max])
    scaled = state[:, :4] / limits
    log_p = (np.log(p_gev) - np.log(2.0)) / np.log(50.0)
    for column in (*scaled.T, 2.0 * log_p - 1.0):
        counts = np.histogram(column, 10, (-1.0, 1.0))[0]
        assert counts.sum() == 100_000
        assert np.sum((counts - 1e4) ** 2 / 1e4) < 40.0  # chi2 of 9 degrees: 1e-5
    np.testing.assert_allclose(np.abs(state[:, 4]) * 1e3 * p_gev, 1.0, rtol=1e-14)
    assert abs(np.mean(np.sign(state[:, 4]))) < 0.015
    assert abs(np.corrcoef(scaled.T) - np.eye(4)).max() < 0.015
    assert np.all(z_in == 3000.0)
    assert np.all(z_out == 7000.0)


def test_targets_are_the_propagated_states():
    data = generate(SEED, 100, seed=5)
    expected = propagate(SEED, data.state, 3000.0, 7000.0)[:, :4]
    np.testing.assert_allclose(data.target, expected, rtol=1e-13)
    assert data.ok.all()
    assert data.metadata["field_hash"] == field_hash(SEED)
    assert data.metadata["seed"] == 5


def test_planes_are_drawn_per_track_when_dz_is_uniform():
    sampling = Sampling(dz_mode="uniform")
    data = generate(SEED, 200, sampling=sampling, step=50.0)
    z_in, dz = np.asarray(data.z_in), np.asarray(data.z_out) - data.z_in
    assert 2500.0 <= z_in.min() < 2600.0 < 3400.0 < z_in.max() <= 3500.0
    assert 3000.0 <= dz.min() < 3100.0 < 4900.0 < dz.max() <= 5000.0
    one = propagate(SEED, data.state[9:10], z_in[9], z_in[9] + dz[9], 50.0)
    np.testing.assert_allclose(data.target[9], one[0, :4], rtol=1e-12)
    # the same tracks in front of the magnet as with fixed planes
    np.testing.assert_array_equal(data.state, sample_states(0, 0, 200)[0])
    assert data.metadata["z_in"] is None


@pytest.mark.parametrize("shards", [2, 3])
def test_data_do_not_depend_on_the_number_of_shards(tmp_path, shards):
    for folder, count in (("one", 1), ("many", shards)):
        generate_shards(tmp_path / folder, "train", SEED, 1000, count, step=COARSE)
    one, many = (read_dataset(tmp_path / folder, "train") for folder in ("one", "many"))
    np.testing.assert_array_equal(one.state, many.state)
    np.testing.assert_array_equal(one.target, many.target)
    np.testing.assert_array_equal(one.p_gev, many.p_gev)
    assert one.metadata == many.metadata


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        generate_shards(tmp_path / folder, "train", SEED, 100, 2, step=COARSE)
        data = generate(SEED, 100, step=COARSE)
        write_legacy(tmp_path / folder, "old", data)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_complete_shards_are_kept_and_the_rest_is_made(tmp_path):
    paths = generate_shards(tmp_path, "train", SEED, 300, 3, step=COARSE)
    before = [path.stat().st_mtime_ns for path in paths]
    content = paths[1].read_bytes()
    paths[1].unlink()
    generate_shards(tmp_path, "train", SEED, 300, 3, step=COARSE, progress=False)
    after = [path.stat().st_mtime_ns for path in paths]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
    assert paths[1].read_bytes() == content


def test_jobs_that_write_one_shard_each_make_the_whole(tmp_path):
    for k in (2, 0, 1):
        written = generate_shards(
            tmp_path / "jobs", "train", SEED, 100, 3, shard=k, step=COARSE
        )
        assert len(written) == 1
    whole = generate(SEED, 100, step=COARSE)
    found = read_dataset(tmp_path / "jobs", "train")
    np.testing.assert_array_equal(found.target, whole.target)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed: expected 1, got 0"),
        ({"step": 250.0}, "step_mm: expected 250.0, got 500.0"),
        ({"field": GaussFit()}, "field: expected 'GaussFit', got 'GaussSeed'"),
        ({"sampling": Sampling(p_min=3.0)}, "sampling: expected .*'p_min': 3.0"),
        ({"samples": 60}, "samples: expected 60, got 50"),
    ],
)
def test_shards_that_were_made_differently_are_refused(tmp_path, change, message):
    arguments = {"field": SEED, "samples": 50, "shards": 2, "step": COARSE}
    generate_shards(tmp_path, "train", **arguments)
    with pytest.raises(ValueError, match=f"00000-of-00002.parquet: exists .*{message}"):
        generate_shards(tmp_path, "train", **{**arguments, **change})


def test_an_interrupted_generation_resumes(tmp_path, monkeypatch):
    whole = generate_shards(tmp_path / "whole", "train", SEED, 90, 3, step=COARSE)
    write, done = simulation.write_shard, []

    def interrupted(path, *rest):
        if done:
            raise KeyboardInterrupt
        done.append(write(path, *rest))

    monkeypatch.setattr(simulation, "write_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate_shards(tmp_path / "part", "train", SEED, 90, 3, step=COARSE)
    assert len(list((tmp_path / "part").iterdir())) == 1
    monkeypatch.setattr(simulation, "write_shard", write)
    resumed = generate_shards(tmp_path / "part", "train", SEED, 90, 3, step=COARSE)
    for a, b in zip(whole, resumed, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_online_tracks_are_fresh_every_epoch_and_nearly_exact():
    first, again, second = (online_tracks(SEED, 500, epoch) for epoch in (0, 0, 1))
    np.testing.assert_array_equal(first.state, again.state)
    assert not np.isin(first.state[:, 4], second.state[:, 4]).any()
    assert not np.isin(first.state[:, 4], sample_states(0, 0, 500)[0][:, 4]).any()
    exact = propagate(SEED, first.state, 3000.0, 7000.0)
    assert np.abs(first.target - exact[:, :4])[:, :2].mean() < 1e-6


def test_failed_tracks_are_flagged_not_dropped():
    data = generate(SEED, 200, sampling=Sampling(p_min=0.02, p_max=0.03))
    assert len(data) == 200
    assert not data.ok.all()


def test_metadata_is_plain_json():
    data = generate(SEED, 3, step=COARSE, sampling=Sampling(dz_mode="uniform"))
    assert json.loads(json.dumps(data.metadata)) == data.metadata
    assert data.metadata["sampling"] == dataclasses.asdict(Sampling(dz_mode="uniform"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_states(-1, 0, 1), "seed, start, count: expected 0 <= seed"),
        (lambda: Sampling(dz_mode="random"), "dz_mode: expected 'fixed' or 'uniform'"),
        (lambda: Sampling(p_min=0.0), "p_min, p_max: expected 0 < p_min <= p_max"),
        (lambda: Sampling(dz_min=9e3), "dz_min, dz_max: expected a range, got 9000"),
        (
            lambda: generate_shards("x", "t", SEED, 1, 2, shard=2),
            "shard, shards: expected 0 <= shard < shards, got 2 of 2",
        ),
    ],
)
def test_wrong_settings_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_integrator_of_the_truth_is_the_one_asked_for():
    pytest.importorskip("diffrax")
    coarse = simulation.generate(GaussSeed(), 20, step=4000.0)
    exact = simulation.generate(GaussSeed(), 20, step=10.0)
    adaptive = simulation.generate(GaussSeed(), 20, step=10.0, method="dopri5")
    assert adaptive.metadata["integrator"] == "dopri5"
    assert np.abs(coarse.target - exact.target).max() > 1e-2
    difference = np.abs(adaptive.target - exact.target).max()
    assert 0 < difference < 1e-5
