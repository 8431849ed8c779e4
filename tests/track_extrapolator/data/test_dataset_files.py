"""Files of track sets: round trips, completeness, and errors that name file and row."""

import itertools

import numpy as np
import pytest

from jaxphys.data import files
from jaxphys.track_extrapolator.data.dataset_files import (
    COLUMNS,
    TrackSet,
    read_dataset,
    read_pairs,
    shard_path,
    write_legacy,
    write_shard,
)


def tracks(count=10, seed=0, planes=False):
    rng = np.random.default_rng(seed)
    z_in = rng.uniform(2500.0, 3500.0, count) if planes else 3000.0
    z_out = z_in + rng.uniform(3000.0, 5000.0, count) if planes else 7000.0
    return TrackSet(
        rng.normal(size=(count, 5)),
        rng.normal(size=(count, 4)),
        rng.uniform(2.0, 100.0, count),
        z_in,
        z_out,
        np.ones(count, bool),
        {"z_in": None if planes else 3000.0, "seed": seed},
    )


def write_shards(folder, data, edges, **changes):
    count = len(edges) - 1
    for k, (start, stop) in enumerate(itertools.pairwise(edges)):
        metadata = {
            **data.metadata,
            "samples": len(data),
            "shard": k,
            "start": start,
            "stop": stop,
            **changes.get(f"shard{k}", {}),
        }
        path = shard_path(folder, "train", k, count)
        write_shard(path, data.rows(slice(start, stop)), metadata)


def assert_same(found, expected, rtol=0.0):
    np.testing.assert_allclose(found.state, expected.state, rtol=rtol)
    np.testing.assert_allclose(found.target, expected.target, rtol=rtol)
    np.testing.assert_allclose(found.p_gev, expected.p_gev, rtol=rtol)
    np.testing.assert_allclose(found.z_in, expected.z_in, rtol=rtol)
    np.testing.assert_allclose(found.z_out, expected.z_out, rtol=max(rtol, 1e-15))
    np.testing.assert_array_equal(found.ok, expected.ok)


def test_legacy_files_round_trip_in_float32(tmp_path):
    data = tracks()
    write_legacy(tmp_path, "train", data)
    names = ["P_train.npy", "X_train.npy", "Y_train.npy", "train.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    x = np.load(tmp_path / "X_train.npy")
    assert x.shape == (10, 6)
    assert x.dtype == np.float32
    assert np.all(x[:, 5] == 4000.0)
    found = read_dataset(tmp_path, "train")
    assert_same(found, data, rtol=1e-7)
    assert found.metadata == data.metadata


def test_legacy_files_of_the_original_are_read(data_dir):
    found = read_dataset(data_dir("track_extrapolator"), "legacy_small")
    assert found.state.shape == (1500, 5)
    assert (found.z_in, found.z_out) == (3000.0, 7000.0)
    np.testing.assert_allclose(
        np.abs(found.state[:, 4]) * 1e3, 1.0 / found.p_gev, rtol=1e-6
    )


@pytest.mark.parametrize("planes", [False, True])
def test_shards_round_trip_exactly_and_merge(tmp_path, planes):
    data = tracks(planes=planes)
    write_shards(tmp_path, data, [0, 3, 3, 10])
    found = read_dataset(tmp_path, "train")
    assert_same(found, data)
    assert found.metadata == {**data.metadata, "samples": 10}


def test_shards_have_the_documented_columns(tmp_path):
    import pyarrow.parquet as pq

    write_shards(tmp_path, tracks(planes=True), [0, 10])
    schema = pq.read_schema(shard_path(tmp_path, "train", 0, 1))
    assert tuple(schema.names) == COLUMNS
    assert {str(kind) for kind in schema.types} == {"double"}


def test_shards_win_over_legacy_files(tmp_path):
    write_legacy(tmp_path, "train", tracks(seed=1))
    write_shards(tmp_path, tracks(), [0, 10])
    assert_same(read_dataset(tmp_path, "train"), tracks())


def test_failed_tracks_keep_their_row(tmp_path):
    data = tracks()
    data.target[4] = np.nan
    data.ok[4] = False
    write_legacy(tmp_path / "legacy", "train", data)
    write_shards(tmp_path / "shards", data, [0, 5, 10])
    for folder in ("legacy", "shards"):
        found = read_dataset(tmp_path / folder, "train")
        np.testing.assert_array_equal(found.ok, data.ok)
        assert len(found) == 10


def test_missing_and_inconsistent_shards_are_named(tmp_path):
    data = tracks()
    write_shards(tmp_path, data, [0, 3, 10], shard1={"seed": 5})
    with pytest.raises(ValueError, match=r"00001-of-00002.*seed: expected 0, got 5"):
        read_dataset(tmp_path, "train")
    write_shards(tmp_path, data, [0, 3, 10], shard1={"start": 0})
    with pytest.raises(ValueError, match=r"expected rows 3 to 10.*says 0 to 10"):
        read_dataset(tmp_path, "train")
    shard_path(tmp_path, "train", 0, 2).unlink()
    with pytest.raises(ValueError, match=r"missing: train-00000-of-00002.parquet"):
        read_dataset(tmp_path, "train")
    write_shards(tmp_path, data, [0, 10])
    with pytest.raises(ValueError, match=r"different splits: of \[1, 2\]"):
        read_dataset(tmp_path, "train")


def test_shards_that_end_early_are_refused(tmp_path):
    short = {"shard0": {"samples": 12}}
    write_shards(tmp_path, tracks(), [0, 10], **short)
    with pytest.raises(ValueError, match="shards end at row 10, expected 12"):
        read_dataset(tmp_path, "train")


def test_a_foreign_or_broken_parquet_file_is_named(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = shard_path(tmp_path, "train", 0, 1)
    pq.write_table(pa.table({"x": [1.0]}), path)
    with pytest.raises(ValueError, match=r"00000-of-00001.parquet: columns missing: y"):
        read_dataset(tmp_path, "train")
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"parquet: not a readable Parquet file"):
        read_dataset(tmp_path, "train")


def test_legacy_errors_name_file_and_row(tmp_path):
    def attempt(message):
        with pytest.raises(ValueError, match=message):
            read_dataset(tmp_path, "train")

    attempt("X_train.npy: no such file")
    data = tracks()
    write_legacy(tmp_path, "train", data)
    x = tmp_path / "X_train.npy"
    whole = x.read_bytes()
    x.write_bytes(whole[:-30])
    attempt(r"X_train.npy: row 8: the file ends here, expected 10 rows")
    x.write_bytes(b"nothing")
    attempt("X_train.npy: not an .npy file")
    x.write_bytes(whole)
    broken = np.load(tmp_path / "Y_train.npy")
    broken[7, 1] = np.nan
    np.save(tmp_path / "Y_train.npy", broken)
    attempt(r"Y_train.npy: row 7: expected finite numbers.*1 such rows")
    np.save(tmp_path / "Y_train.npy", broken[:5])
    attempt("Y_train.npy: expected 10 rows as in X_train.npy, got 5")
    np.save(tmp_path / "Y_train.npy", broken[:, :3])
    attempt(r"Y_train.npy: expected \[N, 4\], got \(10, 3\)")
    (tmp_path / "train.json").write_text("{")
    attempt("train.json: not JSON")


def test_legacy_files_cannot_hold_planes_that_vary(tmp_path):
    write_legacy(tmp_path, "train", tracks(planes=True))
    with pytest.raises(ValueError, match=r"train.json: z_in varies.*read the shards"):
        read_dataset(tmp_path, "train")


def test_pairs_of_the_real_map_are_converted_to_inverse_mev(data_dir):
    found = read_pairs(data_dir("track_extrapolator") / "plane_ref_v8r1.npz")
    assert found.state.shape == (7947, 5)
    assert found.target.shape == (7947, 4)
    assert (found.z_in, found.z_out) == (2665.0, 7826.0)
    assert 1.9 < found.p_gev.min() < found.p_gev.max() < 101.0


def test_generated_pairs_are_read_and_checked(tmp_path):
    data = tracks()
    content = {
        "X": data.state,
        "Y": data.target,
        "p_gev": data.p_gev,
        "z0": 3000.0,
        "z1": 7000.0,
    }
    path = tmp_path / "pairs.npz"
    np.savez(path, **content)
    assert_same(read_pairs(path), data)
    cases = [
        ({"Y": data.target[:5]}, r"targets \[N, 4\], got \(10, 5\) and \(5, 4\)"),
        ({"X": np.where(np.arange(50).reshape(10, 5) == 32, np.nan, 1.0)}, "row 6"),
    ]
    for change, message in cases:
        np.savez(path, **{**content, **change})
        with pytest.raises(ValueError, match=f"pairs.npz: .*{message}"):
            read_pairs(path)
    np.savez(path, a=1)
    with pytest.raises(ValueError, match=r"pairs.npz: expected X, Y.*got a"):
        read_pairs(path)
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"pairs.npz: not a readable npz file"):
        read_pairs(path)


def test_a_failing_shard_leaves_no_file(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_shards(tmp_path, tracks(), [0, 10])
    assert list(tmp_path.iterdir()) == []


def test_rows_select_planes_with_their_tracks():
    data = tracks(planes=True)
    part = data.rows([2, 5])
    np.testing.assert_array_equal(part.z_in, np.asarray(data.z_in)[[2, 5]])
    assert len(part) == 2
    assert tracks().rows(slice(0, 4)).z_in == 3000.0
