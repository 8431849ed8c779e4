"""Recorded truth graphs, cells and candidate edges are reproduced."""

import json
import pathlib

import numpy as np
import pytest

from jaxphys.equivalence.golden import read
from jaxphys.equivalence.replay import replay
from jaxphys.hypertrack.replay.graphs import CASES

FOLDER = pathlib.Path(__file__).parents[2] / "equivalence/golden/hypertrack"
FILES = sorted(p for case in CASES for p in FOLDER.glob(f"{case}__*.npz"))


def replayed(path):
    return replay(read(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recorded_file_replays_exactly(path):
    rows = replayed(path)
    assert len(rows) >= 8
    assert [row for row in rows if not row.ok] == []


def test_files_are_there():
    assert len(FILES) == 6


def rewritten(name, tmp_path, change):
    with np.load(FOLDER / name) as found:
        arrays = {key: found[key] for key in found.files}
    meta = json.loads(str(arrays["meta"]))
    change(arrays)
    np.savez(tmp_path / name, **{**arrays, "meta": np.array(json.dumps(meta))})
    return tmp_path / name


def test_better_kmeans_than_recorded_passes_and_worse_does_not(tmp_path):
    for factor, misses in ((3.0, []), (0.5, ["faiss_mean_sq_dist"])):

        def change(arrays, factor=factor):
            arrays["output/faiss_mean_sq_dist"] = (
                arrays["output/faiss_mean_sq_dist"] * factor
            )

        rows = replayed(rewritten("voxdyn__hyper_64.npz", tmp_path, change))
        assert [row.name for row in rows if not row.ok] == misses


def test_another_order_of_edges_is_a_miss(tmp_path):
    def change(arrays):
        arrays["output/edge_index_sorted"] = arrays["output/edge_index_hat"]

    rows = replayed(rewritten("voxdyn__hyper_64.npz", tmp_path, change))
    assert [row.name for row in rows if not row.ok] == ["edge_index_sorted"]
