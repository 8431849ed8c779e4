"""A run knows its data again wherever they lie, and sees when they are others."""

import dataclasses
import os

import numpy as np
import pytest

from jaxphys.data import fingerprint
from jaxphys.data.fingerprint import of_files


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        path = tmp_path / "data" / f"part-{number}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, rng.normal(size=4000))
    return tmp_path / "data"


def test_moved_folder_is_equal_and_other_places_are_in_its_source(folder, tmp_path):
    before = of_files([folder])
    moved = folder.rename(tmp_path / "elsewhere")
    after = of_files([moved])
    assert before.same(after)
    assert after.source == str(moved)


@pytest.mark.parametrize("what", ["shuffled", "replaced", "renamed", "added", "cut"])
def test_other_contents_are_others(folder, what):
    before, path = of_files([folder]), folder / "part-1.npy"
    values = np.load(path)
    if what == "shuffled":
        np.save(path, np.random.default_rng(1).permutation(values))
    elif what == "replaced":
        np.save(path, values + 1)
    elif what == "renamed":
        path.rename(folder / "part-7.npy")
    elif what == "added":
        np.save(folder / "part-3.npy", values)
    else:
        os.truncate(path, path.stat().st_size - 8)
    assert not before.same(of_files([folder]))


def test_prefix_takes_the_files_that_begin_with_it(folder):
    assert of_files([folder / "part"]).same(of_files([folder / "part-"]))
    assert not of_files([folder / "part-0"]).same(of_files([folder / "part-1"]))
    with pytest.raises(ValueError, match="none: no such file"):
        of_files([folder / "none"])


def test_large_files_are_sampled(tmp_path, monkeypatch):
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(4 * 2**30)  # a hole, which takes no space
    read = []
    original = fingerprint._read

    def counted(path, offset, count):
        read.append(count)
        return original(path, offset, count)

    monkeypatch.setattr(fingerprint, "_read", counted)
    of_files([path])
    assert sum(read) <= 33 * 2**20


def test_training_on_one_of_several_places_is_seen(folder):
    places = [folder / f"part-{number}.npy" for number in range(3)]
    run = of_files(places[:2])
    assert run.trains_on(of_files([places[1]]))
    assert run.trains_on(of_files([places[2], places[0]]))
    assert not run.trains_on(of_files([places[2]]))
    assert not run.same(of_files(places[1::-1]))
    only = dataclasses.replace(run, trained=of_files(places[:1]).trained)
    assert not only.trains_on(of_files([places[1]]))
