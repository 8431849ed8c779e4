"""Every rule of the data, with its exception or warning and what the message names."""

import json
import os
import warnings

import numpy as np
import pytest

from jaxphys.gdynet.data import validation
from jaxphys.gdynet.data.dataset import from_arrays, open_trajectories
from tests.gdynet.oracles import arrays_of, write_arrays


def changed(name, change, **options):
    arrays = arrays_of(directions=True, **options)
    array = arrays[name].copy()
    result = change(array)
    return {**arrays, name: array if result is None else result}


def put(place, value):
    def change(array):
        array[place] = value

    return change


RULES = [
    ("target_index", put(1, 5), r"target_index.npy: .* 0 to 4, got 5 at index 1"),
    ("target_index", put(0, -1), r"target_index.npy: .* got -1 at index 0"),
    ("target_index", lambda a: a[:0], "expected targets, got none"),
    ("target_index", lambda a: a.astype(float), "expected integers, got type float64"),
    ("target_index", lambda a: a[None], "expected one row, got shape"),
    ("atom_types", put(4, 100), r"atom_types.npy: .* 0 to 99, got 100 at index 4"),
    ("atom_types", put(2, -3), r"got -3 at index 2"),
    ("atom_types", lambda a: np.append(a, 1), r"atom_types.npy: 6 atoms, expected 5"),
    ("nbr_lists", put((7, 2, 1), 5), r"nbr_lists.npy: .* got 5 at index \(7, 2, 1\)"),
    ("nbr_lists", put((0, 0, 0), -1), r"got -1 at index \(0, 0, 0\)"),
    ("nbr_lists", lambda a: a.astype(np.float32), "expected integers, got type float"),
    ("nbr_lists", lambda a: a[..., 0], "shape"),
    (
        "nbr_dists",
        put((8, 4, 2), np.nan),
        r"nbr_dists.npy: .* got nan at .*\(8, 4, 2\)",
    ),
    ("nbr_dists", put((1, 1, 1), -0.5), r"got -0.5 at index \(1, 1, 1\)"),
    ("nbr_dists", put((1, 1, 1), np.inf), r"got inf at index \(1, 1, 1\)"),
    ("nbr_dists", lambda a: a[:, :, :2], r"shape \(9, 5, 2\), expected"),
    ("nbr_dists", lambda a: a[:8], r"nbr_dists.npy: 8 frames, expected 9"),
    ("nbr_dists", lambda a: a.astype(str), "expected numbers"),
    ("atom_directions", lambda a: a[:, :4], r"\(9, 5, 3\), got \(9, 4, 3\)"),
    ("atom_directions", lambda a: a[..., :2], r"\(9, 5, 3\), got \(9, 5, 2\)"),
    ("atom_directions", put((3, 0, 2), np.inf), r"got inf at index \(3, 0, 2\)"),
]


@pytest.mark.parametrize(("name", "change", "message"), RULES)
def test_rule_is_checked_and_names_file_place_and_value(
    tmp_path, name, change, message
):
    write_arrays(tmp_path, changed(name, change))
    with pytest.raises(ValueError, match=message):
        open_trajectories(tmp_path, directions=True)


def test_sound_data_pass_without_a_word(tmp_path):
    write_arrays(tmp_path, arrays_of(directions=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_trajectories(tmp_path, directions=True, cutoff=6.0)


def test_frames_are_scanned_in_pieces_and_counted_through(tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "_SCAN_BYTES", 2 * 5 * 3 * 4)
    write_arrays(tmp_path, changed("nbr_lists", put((6, 3, 1), 17)))
    with pytest.raises(ValueError, match=r"got 17 at index \(6, 3, 1\)"):
        open_trajectories(tmp_path)


def test_questionable_data_warn():
    arrays = arrays_of(targets=(2, 2))
    with pytest.warns(UserWarning, match=r"atom 2 is named 2 times"):
        from_arrays(arrays)
    arrays = arrays_of()
    for cutoff, message in ((2.0, "every distance is above cutoff=2"), (12.0, "half")):
        with pytest.warns(UserWarning, match=message):
            validation.check_source(from_arrays(arrays).sources[0], cutoff=cutoff)


def test_trajectories_must_hold_the_same_atoms(tmp_path):
    arrays = arrays_of()
    write_arrays(tmp_path / "a", arrays)
    for name, change, message in (
        ("atom_types", put(3, 50), rf"50 for {arrays['atom_types'][3]} at index 3"),
        ("target_index", lambda a: a[:1], "1 entries for 2"),
    ):
        write_arrays(tmp_path / "b", changed(name, change))
        with pytest.raises(
            ValueError, match=rf"b/{name}.npy: .*a/{name}.npy.*{message}"
        ):
            open_trajectories([tmp_path / "a", tmp_path / "b"])
    fewer = arrays_of(n_nbrs=2)
    fewer["atom_types"] = arrays["atom_types"]
    write_arrays(tmp_path / "b", fewer)
    with pytest.raises(ValueError, match="2 neighbours per atom, expected 3"):
        open_trajectories([tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize("lengths", [[4, 4], [10, -1], [4.5, 4.5]])
def test_lengths_of_trajectories_must_add_up(lengths):
    arrays = {**arrays_of(), "trajectory_lengths": np.array(lengths)}
    with pytest.raises(ValueError, match="trajectory_lengths"):
        from_arrays(arrays)


def test_note_saves_the_second_scan_until_a_file_changes(tmp_path, monkeypatch):
    scans = []
    scan = validation._scan
    monkeypatch.setattr(
        validation, "_scan", lambda s, p: scans.append(s.name) or scan(s, p)
    )
    paths = write_arrays(tmp_path, arrays_of())
    open_trajectories(tmp_path)
    open_trajectories(tmp_path)
    assert len(scans) == 1
    note = json.loads((tmp_path / ".validated.json").read_text())
    assert note["state"]["files"]["nbr_dists"][1] == os.path.getsize(paths[3])
    bad = changed("nbr_dists", put((2, 2, 2), -1.0))
    np.save(paths[3], bad["nbr_dists"])
    os.utime(paths[3], ns=(1, 1))  # clocks may be coarse
    with pytest.raises(ValueError, match="got -1"):
        open_trajectories(tmp_path)
    open_trajectories(tmp_path, scan=False)
    assert len(scans) == 2


def test_warnings_do_not_depend_on_the_note(tmp_path):
    write_arrays(tmp_path, arrays_of())
    for _ in range(2):
        with pytest.warns(UserWarning, match="above cutoff"):
            open_trajectories(tmp_path, cutoff=1.0)


def test_folder_that_cannot_be_written_to_is_scanned_every_time(tmp_path, monkeypatch):
    def refuse(path, content):
        raise PermissionError(path)

    monkeypatch.setattr(validation, "write_json", refuse)
    write_arrays(tmp_path, arrays_of())
    open_trajectories(tmp_path)
    assert not (tmp_path / ".validated.json").exists()
    (tmp_path / ".validated.json").write_text("{not json")
    open_trajectories(tmp_path)


def test_description_tells_shapes_counts_and_species():
    arrays = arrays_of(frames=30)
    arrays["atom_types"][:] = [3, 8, 8, 16, 8]
    lines = "\n".join(validation.describe(from_arrays(arrays), 4, 8))
    assert "26 pairs at tau=4: 3 full batches of 8" in lines
    assert "2 pairs left over" in lines
    assert "{8: 1, 16: 1}" in lines
    assert "static_identity" in lines
    arrays["atom_types"][:] = 3
    assert "static_identity" not in "\n".join(
        validation.describe(from_arrays(arrays), 4, 8)
    )
