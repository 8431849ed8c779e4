"""What a run remembers of the data it was begun with."""

import numpy as np
import pytest

from jaxphys.data.fingerprint import of_files
from jaxphys.training import runs


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data" / "events.npy"
    path.parent.mkdir()
    np.save(path, np.arange(100))
    return path


def test_run_goes_on_with_its_data_wherever_they_lie(data, tmp_path):
    runs.remember_data(tmp_path, of_files([data.parent]))
    moved = data.parent.rename(tmp_path / "moved")
    runs.check_same_data(tmp_path, of_files([moved]))


def test_other_data_are_refused_and_both_are_named(data, tmp_path):
    runs.remember_data(tmp_path, of_files([data.parent]))
    np.save(data, np.arange(100)[::-1])
    with pytest.raises(ValueError, match=r"begun with other data, .*data, now .*data"):
        runs.check_same_data(tmp_path, of_files([data.parent]))


def test_run_that_does_not_remember_its_data_says_so(data, tmp_path, capsys):
    runs.check_same_data(tmp_path, of_files([data]))
    assert "not compared" in capsys.readouterr().err
    runs.check_unseen(tmp_path, of_files([data]), allow=False)


def test_training_data_are_not_evaluated_as_unseen_ones(data, tmp_path, capsys):
    runs.remember_data(tmp_path, of_files([data]))
    with pytest.raises(ValueError, match="--allow_training_data"):
        runs.check_unseen(tmp_path, of_files([data]), allow=False)
    runs.check_unseen(tmp_path, of_files([data]), allow=True)
    assert "not an unbiased figure" in capsys.readouterr().err
    runs.remember_data(tmp_path, of_files([data, data.parent]))
    with pytest.raises(ValueError, match="was trained on these data"):
        runs.check_unseen(tmp_path, of_files([data]), allow=False)
    other = data.with_name("other.npy")
    np.save(other, np.arange(7))
    runs.check_unseen(tmp_path, of_files([other]), allow=False)


def test_damaged_memory_is_named(tmp_path):
    (tmp_path / runs.DATA_FILE).write_text("{")
    with pytest.raises(ValueError, match=r"data\.json: damaged"):
        runs.data_of(tmp_path)
