"""Starting Pythia: settings, missing packages and tables."""

import sys
import sysconfig

import pytest

from jaxphys.data.pythia import initialise_pythia, require_packages, xml_folder

QUIET = ("Print:quiet = on", "Random:setSeed = on", "Random:seed = 4")


def test_missing_packages_are_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    message = r"the work needs json, pythia8mc: .*jaxphys\[events\].*missing: pythia8mc"
    with pytest.raises(ImportError, match=message):
        require_packages(("json", "pythia8mc"), "the work")
    with pytest.raises(ImportError, match=r"simulation of collisions needs pythia8mc"):
        initialise_pythia(QUIET, "nothing")
    require_packages(("json",), "the work")


def test_tables_lie_beside_a_parent_of_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "other"))
    module = tmp_path / "lib/pythia8mc/__init__.py"
    tables = tmp_path / "share/Pythia8/xmldoc"
    tables.mkdir(parents=True)
    assert xml_folder(str(module)) is None
    (tables / "Index.xml").touch()
    assert xml_folder(str(module)) == tables


def test_settings_that_pythia_does_not_know_are_refused():
    pytest.importorskip("pythia8mc", reason="needs pip install 'jaxphys[events]'")
    with pytest.raises(ValueError, match="Pythia refused the setting 'No:such = on'"):
        initialise_pythia([*QUIET, "No:such = on"], "nothing")


def test_a_process_that_cannot_start_is_refused():
    pytest.importorskip("pythia8mc", reason="needs pip install 'jaxphys[events]'")
    with pytest.raises(ValueError, match="could not be initialised for no process"):
        initialise_pythia([*QUIET, "Beams:eCM = 1."], "no process")
