"""Files of CORSIKA become events; their muons are those of the supplied table."""

import numpy as np
import pytest

from jaxphys.cr_muons.data.corsika import (
    ATOMIC_MASS,
    MUON_MASS,
    convert,
    find_files,
    is_corsika,
    nuclear_mass,
    read_showers,
)
from jaxphys.cr_muons.data.event_files import read_events
from jaxphys.cr_muons.physics.energy_loss import energy_below, overburden

pytest.importorskip("corsikaio")
BLOCK = 273  # numbers of a block

# particle (number * 1000 + level), px, py, pz in GeV, x, y in cm, t in ns
PARTICLES = [
    (5011.0, 0.5, -0.25, 2000.0, 300.0, 400.0, 1.0),
    (6011.0, 1.0, 0.5, 3000.0, -1200.0, 500.0, 1.0),
    (75011.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0),  # where a muon came from
    (1001.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0),  # a photon
    (-5011.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0),  # a mother
]


def block(tag, **values):
    """Returns a block; values are named by their place, as in CORSIKA's guide."""
    numbers = np.zeros(BLOCK, np.float32)
    for place, value in values.items():
        numbers[int(place[1:]) - 1] = value
    content = numbers.tobytes()
    return tag + content[4:]


def write_dat(path, showers, end=True):
    """Writes a file; each shower is (number, particle, energy, zenith, azimuth)."""
    blocks = [block(b"RUNH", _2=7, _4=7.75)]
    for event, particle, energy, zenith, azimuth in showers:
        values = {"_2": event, "_3": particle, "_4": energy}
        values |= {"_11": zenith, "_12": azimuth, "_44": 7, "_46": 7.75, "_47": 1}
        blocks.append(block(b"EVTH", **values))
        data = np.zeros((39, 7), np.float32)
        data[: len(PARTICLES)] = PARTICLES
        blocks.append(data.tobytes())
        blocks.append(block(b"EVTE", _2=event))
    if end:
        blocks.append(block(b"RUNE", _2=7))
    path.write_bytes(b"".join(blocks))
    return str(path)


def test_muons_of_a_vertical_shower_are_taken_as_they_are(tmp_path):
    path = write_dat(
        tmp_path / "DAT000007", [(1, 14, 1e5, 0.0, 0.3), (2, 5626, 1e6, 0, 0)]
    )
    first, second = read_showers(path)
    momenta = np.array([p[1:4] for p in PARTICLES[:2]])
    energy = np.sqrt((momenta**2).sum(axis=1) + MUON_MASS**2)
    np.testing.assert_allclose(first.muons[:, 0], energy)
    np.testing.assert_allclose(np.hypot(*first.muons[:, 1:].T), [5.0, 13.0])
    np.testing.assert_allclose(first.primaries, [[1e5, 0.0, 0.938272]])
    np.testing.assert_allclose(second.primaries, [[1e6, 0.0, 52.0898]])
    assert [s.showers.tolist() for s in (first, second)] == [[[7, 1]], [[7, 2]]]
    np.testing.assert_allclose(second.muons[:, 1:], [[3, 4], [-12, 5]])


def test_distances_of_an_inclined_shower_are_those_from_its_axis(tmp_path):
    zenith, azimuth = 0.9, 0.4
    path = write_dat(tmp_path / "DAT000007", [(1, 14, 1e5, zenith, azimuth)])
    (shower,) = read_showers(path)
    axis = [np.sin(zenith) * np.cos(azimuth), np.sin(zenith) * np.sin(azimuth)]
    axis = np.array([*axis, -np.cos(zenith)])
    for (*_, x, y, _), got in zip(PARTICLES[:2], shower.muons, strict=True):
        place = np.array([x, y, 0]) / 100
        distance = np.linalg.norm(np.cross(place, axis))
        assert np.hypot(*got[1:]) == pytest.approx(distance, rel=1e-6)


def test_a_conversion_holds_every_depth_of_every_shower(tmp_path):
    for number in (0, 1):
        showers = [(1 + number, 14, 1e5, 0.0, 0.0), (5 + number, 402, 1e5, 0.5, 0.0)]
        write_dat(tmp_path / f"DAT00000{number}", showers)
    output = tmp_path / "out.parquet"
    assert convert([f"corsika:{tmp_path}"], output, (1000.0, 2500.0)) == 8
    events = read_events(str(output))
    assert events.showers[:, 1].tolist() == [1, 1, 5, 5, 2, 2, 6, 6]
    np.testing.assert_array_equal(events.primaries[:, 3], [1000, 2500] * 4)
    np.testing.assert_allclose(events.primaries[2, :3], [1e5, 0.5, 3.727379], rtol=1e-6)
    momenta = np.array([p[1:4] for p in PARTICLES[:2]])
    surface = np.sqrt((momenta**2).sum(axis=1) + MUON_MASS**2)
    for depth, row in ((1000.0, 0), (2500.0, 1)):
        left = energy_below(surface, overburden(depth, 1.0))
        found = events.rows(row, row + 1)
        np.testing.assert_allclose(found.muons[:, 0], left[left > 0], rtol=1e-5)


def test_masses_of_nuclei():
    for number, mass in ((14, 0.938272), (402, 3.727379), (1206, 12 * ATOMIC_MASS)):
        assert nuclear_mass(number) == pytest.approx(mass)
    for number in (1, 5, 13, 101):
        with pytest.raises(ValueError, match=r"a: expected a proton .* got particle"):
            nuclear_mass(number, "a")


def test_a_truncated_file_is_named(tmp_path):
    whole = [(n, 14, 1e5, 0.0, 0.0) for n in (1, 2, 3)]
    path = write_dat(tmp_path / "DAT000007", whole, end=False)
    with pytest.raises(ValueError, match=r"DAT000007: after event 3: .*truncated"):
        list(read_showers(path))
    with pytest.raises(ValueError, match="truncated"):
        convert([path], tmp_path / "out.parquet", (1000.0,))
    assert not (tmp_path / "out.parquet").exists()


def test_other_files_are_refused(tmp_path):
    (tmp_path / "DAT000001").write_bytes(b"something else, and long enough")
    with pytest.raises(ValueError, match=r"DAT000001: not a particle file"):
        list(read_showers(tmp_path / "DAT000001"))
    with pytest.raises(ValueError, match=r"none: no such file"):
        list(read_showers(tmp_path / "none"))
    thinned = (26_208).to_bytes(4, "little") + b"RUNH" + bytes(100)
    (tmp_path / "DAT000002").write_bytes(thinned)
    with pytest.raises(ValueError, match="thinned showers"):
        list(read_showers(tmp_path / "DAT000002"))
    with pytest.raises(ValueError, match="depths"):
        convert([str(tmp_path)], tmp_path / "out.parquet", ())


def test_files_are_known_by_their_first_bytes(tmp_path):
    path = write_dat(tmp_path / "DAT000007", [])
    (tmp_path / "DAT000007.long").write_text("x")
    assert find_files([str(tmp_path)]) == [path]
    assert is_corsika([path])
    assert is_corsika([f"corsika:{tmp_path}"])
    (tmp_path / "DAT000008").write_text("x")
    assert not is_corsika([str(tmp_path)])
    assert not is_corsika([str(tmp_path / "none")])
    with pytest.raises(ValueError, match=r"none: no file of CORSIKA"):
        find_files([str(tmp_path / "none")])
