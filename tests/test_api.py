"""`jaxphys.load_run` finds the system of a run, or says what is wrong."""

import sys
import types

import pytest

import jaxphys


def write(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.flags").write_text(text)
    return folder


def test_run_is_loaded_by_the_system_that_it_names(tmp_path, monkeypatch):
    fake = types.ModuleType("jaxphys.track_extrapolator.inference")
    load = lambda workdir, **settings: (workdir, settings)  # noqa: E731
    monkeypatch.setattr(fake, "load", load, raising=False)
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    run = write(tmp_path, "# experiment: track_extrapolator\n--seed=1\n")
    found = jaxphys.load_run(run, weights="last")
    assert found.model == (run, {"weights": "last"})
    assert (found.system, found.workdir) == ("track_extrapolator", run)
    assert jaxphys.load_run(str(run)).model == (str(run), {})
    assert found.count(run) == 1  # what a run lacks is that of its model


@pytest.mark.parametrize("text", ["", "--seed=1\n", "experiment: gdynet\n"])
def test_folder_without_a_run_is_refused_by_name(tmp_path, text):
    with pytest.raises(ValueError, match=r"none: no run there \(expected .*config"):
        jaxphys.load_run(tmp_path / "none")
    with pytest.raises(ValueError, match="no run there"):
        jaxphys.load_run(write(tmp_path, text))


@pytest.mark.parametrize("name", ["os", "training", "", "../jaxphys/training"])
def test_unknown_experiment_is_refused_and_not_imported(tmp_path, name):
    run = write(tmp_path, f"# experiment: {name}\n")
    with pytest.raises(ValueError, match="unknown experiment"):
        jaxphys.load_run(run)


def test_run_that_has_not_begun_is_refused(tmp_path):
    run = write(tmp_path, "# experiment: track_extrapolator\n")
    with pytest.raises(ValueError, match="not a run, or not begun"):
        jaxphys.load_run(run)
