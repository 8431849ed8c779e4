"""Voxel models find the nearest cell, survive their file, and refuse other settings."""

import dataclasses
import os
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from jaxphys.hypertrack.model.voxel_training import gather_tracks, train_voxels
from jaxphys.hypertrack.model.voxels import (
    OCTANTS,
    octants,
    read_original_voxels,
    read_voxels,
    require_match,
    unfold,
    write_voxels,
)
from tests.hypertrack.toy_tracks import toy_event, toy_events

TRACKS = gather_tracks(toy_events(10))
PLAIN = train_voxels(TRACKS, 64, niter=3)
FOLDED = train_voxels(TRACKS, 64, niter=3, augment=8)


@pytest.mark.parametrize("model", [PLAIN, FOLDED], ids=["plain", "folded"])
def test_cell_is_the_nearest_centre(model):
    points = np.random.default_rng(0).uniform(-1000, 1000, (500, 3)).astype(np.float32)
    squared = ((points[:, None].astype(float) - model.centroids) ** 2).sum(-1)
    np.testing.assert_array_equal(model.cells(points), squared.argmin(1))


def test_reflected_hits_lie_in_reflected_cells():
    points = toy_event().position
    assert FOLDED.folded
    assert not PLAIN.folded
    cell = FOLDED.cells(points)
    for number, signs in enumerate(OCTANTS):
        reflected = FOLDED.cells((points * signs).astype(np.float32))
        np.testing.assert_array_equal(reflected // 8, (cell // 8) ^ number)
        np.testing.assert_array_equal(reflected % 8, cell % 8)


def test_octants_name_the_signs():
    points = np.array([[1, 2, 3], [-1, 2, 3], [1, -2, 3], [-1, -2, -3], [0, -0.0, 0]])
    np.testing.assert_array_equal(octants(points), [0, 1, 2, 7, 0])
    np.testing.assert_array_equal(octants(unfold(np.ones((2, 3)))), np.arange(16) // 2)


@pytest.mark.parametrize("model", [PLAIN, FOLDED], ids=["plain", "folded"])
def test_file_holds_the_whole_model(model, tmp_path):
    write_voxels(tmp_path / "v.npz", model)
    found = read_voxels(tmp_path / "v.npz")
    for name in ("centroids", "indptr", "indices"):
        np.testing.assert_array_equal(getattr(found, name), getattr(model, name))
    assert (found.node2node, found.num_hits) == ("hyper", len(TRACKS.position))
    assert found.augment == model.augment
    assert found.fingerprint == model.fingerprint
    assert os.listdir(tmp_path) == ["v.npz"]


def test_fingerprint_tells_models_apart():
    other = dataclasses.replace(PLAIN, node2node="eom")
    moved = dataclasses.replace(PLAIN, centroids=PLAIN.centroids + 1)
    assert len({m.fingerprint for m in (PLAIN, FOLDED, other, moved)}) == 4


def test_position_that_is_not_finite_is_named():
    points = toy_event().position.copy()
    points[5, 1] = np.nan
    with pytest.raises(ValueError, match="row 5: expected finite"):
        FOLDED.cells(points)


def test_voxels_of_another_mode_or_number_of_cells_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_match(PLAIN, "hyper", 64)
        require_match(PLAIN, "hyper", 0)
    with pytest.raises(ValueError, match=r"v.npz: node2node: expected 'eom', got 'hyp"):
        require_match(PLAIN, "eom", 64, where="v.npz")
    with pytest.raises(ValueError, match="ncell: expected 128, got 64"):
        require_match(PLAIN, "hyper", 128)
    with pytest.warns(UserWarning, match="ncell: expected 128, got 64"):
        require_match(PLAIN, "hyper", 128, allow_mismatch=True)


def written(tmp_path, **changes):
    path = tmp_path / "v.npz"
    write_voxels(path, PLAIN)
    with np.load(path) as found:
        arrays = {name: found[name] for name in found.files}
    arrays.update(changes)
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def test_damaged_files_say_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="no such voxel file"):
        read_voxels(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match="cannot be read"):
        read_voxels(tmp_path / "text.npz")
    whole = written(tmp_path).read_bytes()
    (tmp_path / "short.npz").write_bytes(whole[:2000])
    with pytest.raises(ValueError, match="cannot be read"):
        read_voxels(tmp_path / "short.npz")
    for changes, message in (
        ({"indptr": None}, "misses indptr"),
        ({"version": np.int64(9)}, "version: expected 1, got 9"),
        ({"ncell": np.int64(65)}, r"expected centroids \[65, 3\]"),
        ({"indices": PLAIN.indices + 1}, "expected rows of cells below 64"),
        ({"indices": PLAIN.indices[:-1]}, "expected rows of cells"),
        ({"centroids": PLAIN.centroids * np.nan}, "centroids: expected finite"),
        ({"node2node": np.array("knn")}, "node2node: expected one of"),
    ):
        with pytest.raises(ValueError, match=message):
            read_voxels(written(tmp_path, **changes))


def original(tmp_path, **changes):
    content = {
        "ncell": 64,
        "centroids": PLAIN.centroids,
        "C": sp.csr_matrix(PLAIN.matrix),
        "node2node": "hyper",
        "nhits": 77,
    }
    path = tmp_path / "v.pkl"
    path.write_bytes(pickle.dumps({**content, **changes}))
    return path


def test_pickle_of_the_original_gives_the_same_cells_and_connections(tmp_path):
    found = read_original_voxels(original(tmp_path), trust_pickle=True)
    assert found.fingerprint == PLAIN.fingerprint
    assert found.num_hits == 77


def test_pickle_is_read_only_if_asked_for_and_runs_nothing(tmp_path):
    with pytest.raises(ValueError, match="only if that is asked for"):
        read_original_voxels(original(tmp_path))
    path = original(tmp_path, nhits=os.getcwd)
    with pytest.raises(ValueError, match=r"numpy and scipy types only, got posix"):
        read_original_voxels(path, trust_pickle=True)
    lopsided = sp.csr_matrix(([True], ([0], [1])), shape=(64, 64))
    with pytest.raises(ValueError, match="C: expected a symmetric matrix"):
        read_original_voxels(original(tmp_path, C=lopsided), trust_pickle=True)
    path.write_bytes(b"no pickle")
    with pytest.raises(ValueError, match="expected a pickled dictionary"):
        read_original_voxels(path, trust_pickle=True)
