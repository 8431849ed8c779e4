"""Field files: recorded files, round trips, and messages that name the place."""

import json

import numpy as np
import pytest

from jaxphys.track_extrapolator.data import field_files
from jaxphys.track_extrapolator.data.field_files import (
    FieldMap,
    decode_allen,
    decode_twodip,
    make_field,
    read_map,
)
from jaxphys.track_extrapolator.physics.field import (
    LHCB_GRID,
    GaussFit,
    GaussSeed,
    GridField,
    MultipoleField,
    field_hash,
)
from tests.track_extrapolator.small_fields import in_float64, multipole, toy_grid


@pytest.fixture
def small_map():
    rng = np.random.default_rng(0)
    values = rng.uniform(-1.0, 1.0, (4, 2, 3, 3))
    spacing = np.array([100.0, 50.0, 25.0])
    return FieldMap(values, np.array([-100.0, 0.0, 500.0]), spacing, 1.0 / spacing)


@pytest.mark.parametrize("variant", ["bin_tesla", "bin_gaudi"])
def test_allen_reader_reproduces_recorded_maps(golden_dir, variant):
    golden = np.load(golden_dir("track_extrapolator") / f"field_file__{variant}.npz")
    tolerance = json.loads(str(golden["meta"]))["tolerance"]
    found = decode_allen(golden["input/bytes"].tobytes())
    np.testing.assert_allclose(found.values, golden["output/B"], **tolerance["B"])
    np.testing.assert_array_equal(found.minimum, golden["output/min"])
    np.testing.assert_array_equal(found.values.shape[2::-1], golden["output/N"])
    np.testing.assert_allclose(
        found.inverse_spacing, golden["output/inv_d"], **tolerance["inv_d"]
    )
    np.testing.assert_array_equal(found.spacing, [800.0] * 3)


def test_twodip_reader_reproduces_the_recorded_map(golden_dir):
    golden = np.load(golden_dir("track_extrapolator") / "field_file__twodip.npz")
    found = decode_twodip(golden["input/bytes"].tobytes())
    np.testing.assert_allclose(found.values, golden["output/B"], rtol=1e-12, atol=0)
    for label, axis in zip("xyz", found.axes, strict=True):
        np.testing.assert_allclose(axis, golden[f"output/{label}"], rtol=0, atol=1e-9)


def test_toy_files_of_both_layouts_hold_the_same_field(data_dir):
    folder = data_dir("track_extrapolator")
    binary, text = (
        read_map(folder / "toy_field.bin"),
        read_map(folder / "toy_twodip.txt"),
    )
    np.testing.assert_allclose(binary.values, text.values, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(binary.minimum, text.minimum)


@pytest.mark.parametrize("unit", ["tesla", "gaudi"])
def test_allen_files_round_trip(tmp_path, small_map, unit):
    path = tmp_path / "map.bin"
    field_files.write_allen(path, small_map, unit)
    found = read_map(path)
    np.testing.assert_allclose(found.values, small_map.values, rtol=2e-7)
    np.testing.assert_array_equal(found.spacing, small_map.spacing)
    assert [p.name for p in tmp_path.iterdir()] == ["map.bin"]


def test_twodip_files_round_trip_exactly_in_any_order_of_rows(tmp_path, small_map):
    path = tmp_path / "map.txt"
    field_files.write_twodip(path, small_map)
    lines = path.read_text().splitlines()
    np.random.default_rng(1).shuffle(lines)
    for content in (path.read_bytes(), "\n".join(lines).encode()):
        found = decode_twodip(content)
        np.testing.assert_array_equal(found.values, small_map.values)
        assert found.sha256 == small_map.sha256
        np.testing.assert_array_equal(found.spacing, small_map.spacing)


def test_twodip_rows_have_z_slowest_then_x_then_y(tmp_path, small_map):
    field_files.write_twodip(tmp_path / "map.txt", small_map)
    rows = np.loadtxt(tmp_path / "map.txt")
    order = np.lexsort((rows[:, 1], rows[:, 0], rows[:, 2]))
    np.testing.assert_array_equal(order, np.arange(len(rows)))


def test_npz_maps_round_trip(tmp_path, small_map):
    field_files.write_npz_map(tmp_path / "map.npz", small_map)
    found = read_map(tmp_path / "map.npz")
    assert found.sha256 == small_map.sha256
    assert not field_files.is_multipole(tmp_path / "map.npz")


def test_gauss_is_converted_to_tesla(tmp_path, small_map):
    gauss = FieldMap(
        1e4 * small_map.values,
        small_map.minimum,
        small_map.spacing,
        small_map.inverse_spacing,
    )
    field_files.write_twodip(tmp_path / "map.txt", gauss)
    found = read_map(tmp_path / "map.txt")
    np.testing.assert_allclose(found.values, small_map.values, rtol=1e-14)


def text_of(tmp_path, small_map):
    field_files.write_twodip(tmp_path / "map.rtf", small_map)
    return (tmp_path / "map.rtf").read_text().splitlines()


def test_twodip_errors_name_file_and_place(tmp_path, small_map):
    lines = text_of(tmp_path, small_map)
    cases = [
        (
            lines[:7] + lines[8:],
            r"missing \(0, 50, 500\)|missing \(.*\) mm \(1 missing",
        ),
        (lines + lines[3:4], r"node \(.*\) mm occurs in rows 4 and 25"),
        (lines[:4] + ["1 2 3"] + lines[5:], "line 5: expected six numbers.*'1 2 3'"),
        (lines[:4] + ["a b c d e f"] + lines[5:], "line 5: expected six numbers"),
        (lines[:4] + ["-100 0 500 nan 0 0"] + lines[5:], "row 5: not finite"),
        ([], "expected rows x y z Bx By Bz, got none"),
        ([line for line in lines if " 525.0 " not in line], "z: expected equal dist"),
        (["{\\rtf1 x}"], "rich text"),
    ]
    for content, message in cases:
        path = tmp_path / "broken.rtf"
        path.write_text("\n".join(content))
        with pytest.raises(ValueError, match=f"broken.rtf: .*({message})"):
            read_map(path)


def test_unknown_unit_is_refused(small_map):
    weak = (small_map.values * 1e-6).astype("<f4")
    with pytest.raises(ValueError, match=r"unit: expected a peak of .By. in 0.1..10"):
        field_files._unit(weak, "map", ((field_files.TESLA_PEAK, 1.0),))


def test_allen_errors_name_file_and_place(tmp_path, small_map):
    path = tmp_path / "map.bin"
    field_files.write_allen(path, small_map)
    data = path.read_bytes()
    broken = np.frombuffer(data, "<f4").copy()
    broken[12 + 4 * 7 + 1] = np.nan  # record 7: x 1, y 0, z 1
    header = np.frombuffer(data, field_files.HEADER, 1).copy()
    header["shape"] = 0
    cases = [
        (data[:20], "expected a header of 48 bytes, got 20"),
        (data[:-16], "expected 432 bytes for N = 3, 2, 4, got 416"),
        (data + b"\0", "expected 432 bytes"),
        (broken.tobytes(), "cell x 1, y 0, z 1: By is not finite"),
        (header.tobytes() + data[48:], "header: expected two nodes"),
    ]
    for content, message in cases:
        with pytest.raises(ValueError, match=f"map.bin: {message}"):
            decode_allen(content, "map.bin")


def test_multipole_files_are_checked(tmp_path, data_dir):
    field = field_files.read_multipole(
        data_dir("track_extrapolator") / "multipole_v8r1.npz"
    )
    assert len(field.terms) == 28
    path = tmp_path / "multipole.npz"
    field_files.write_multipole(path, field)
    again = field_files.read_multipole(path)
    np.testing.assert_array_equal(again.coefficients, field.coefficients)
    assert field_files.is_multipole(path)
    content = dict(np.load(path))
    np.savez(path, **{k: v for k, v in content.items() if k != "C"})
    with pytest.raises(ValueError, match=r"multipole.npz: arrays missing: C"):
        field_files.read_multipole(path)
    np.savez(path, **{**content, "C": content["C"][:, 1:]})
    with pytest.raises(ValueError, match=r"multipole.npz: expected z \[nz\], C"):
        field_files.read_multipole(path)
    content["C"][4, 2] = np.inf
    np.savez(path, **content)
    with pytest.raises(ValueError, match=r"multipole.npz: C: row 4 is not finite"):
        field_files.read_multipole(path)


def test_truncated_npz_names_the_file(tmp_path, small_map):
    path = tmp_path / "map.npz"
    field_files.write_npz_map(path, small_map)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"map.npz: not a readable npz file"):
        read_map(path)


def test_make_field_builds_every_kind(tmp_path):
    assert make_field("gauss_seed", polarity=-1) == GaussSeed(-1.0)
    assert make_field("gauss_fit") == GaussFit()
    values, grid = toy_grid()
    field_map = FieldMap(values, grid.minimum, grid.spacing, 1.0 / grid.spacing)
    path = tmp_path / "map.npz"
    field_files.write_npz_map(path, field_map)
    assert field_hash(make_field("grid", path)) == field_hash(grid)
    field_files.write_allen(tmp_path / "map.bin", field_map)
    read = make_field("grid", str(tmp_path / "map.bin"), polarity=-1.0)
    assert isinstance(read, GridField)
    np.testing.assert_allclose(read.values, -grid.values, rtol=1e-7)
    field_files.write_multipole(tmp_path / "multipole.npz", multipole())
    expansion = make_field("multipole", tmp_path / "multipole.npz", polarity=-1.0)
    assert isinstance(expansion, MultipoleField)
    np.testing.assert_array_equal(expansion.coefficients, -multipole().coefficients)
    assert expansion.polarity == -1.0


def test_multipole_grid_is_the_expansion_at_the_nodes_of_the_lhcb_grid(tmp_path):
    field_files.write_multipole(tmp_path / "multipole.npz", multipole())
    for kind in ("multipole_grid", "grid"):
        field = make_field(kind, tmp_path / "multipole.npz")
        assert isinstance(field, GridField)
        assert field.values.shape == (*LHCB_GRID["shape"][::-1], 1)
        node = np.array([[0.0, 0.0, 200.0], [-100.0, 100.0, 0.0]])
        np.testing.assert_allclose(
            field.evaluate(node), in_float64(multipole(), node), rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dipole",), "field: expected one of gauss_seed.*got 'dipole'"),
        (("grid",), "field_file: grid needs a file"),
        (("gauss_seed", "map.bin"), "gauss_seed needs no file, got 'map.bin'"),
        (("grid", "nowhere.bin"), "nowhere.bin: cannot be read"),
    ],
)
def test_make_field_names_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_field(*arguments)
