"""The detector: its table of modules, the nearest module, and resolutions."""

import numpy as np
import pytest

from jaxphys.hypertrack.simulation import detector
from jaxphys.hypertrack.simulation.detector import (
    BARREL_RADII,
    ENDCAP_RADII,
    ENDCAP_Z,
    Modules,
    is_barrel,
    modules,
    noise_profile,
    read_detectors,
    resolution,
)


def layers(volume, found):
    return np.unique(found.layer[found.volume == volume])


def test_modules_lie_on_the_layers_of_the_detector():
    found = modules()
    assert len(found) == 18728
    radius = np.hypot(found.centre[:, 0], found.centre[:, 1])
    for volume, radii in BARREL_RADII.items():
        for layer, expected in zip(layers(volume, found), radii, strict=True):
            own = (found.volume == volume) & (found.layer == layer)
            assert radius[own].mean() == pytest.approx(expected, abs=2)
            limit = detector.BARREL_HALF_LENGTH[volume]
            assert np.abs(found.centre[own, 2]).max() < limit
    for volume, places in ENDCAP_Z.items():
        sign = -1 if volume in (7, 12, 16) else 1
        # layers are numbered along z: towards the centre on the negative side
        for layer, place in zip(layers(volume, found), places[::sign], strict=True):
            own = (found.volume == volume) & (found.layer == layer)
            assert found.centre[own, 2].mean() == pytest.approx(sign * place, abs=10)
            low, high = ENDCAP_RADII[volume]
            assert low < radius[own].min() <= radius[own].max() < high


def test_table_of_the_package_is_the_official_one(data_dir):
    official = read_detectors(data_dir("hypertrack") / "detectors.csv.gz")
    found = modules()

    def rows(table):
        order = np.lexsort((table.module, table.layer, table.volume))
        ids = np.column_stack([table.volume, table.layer, table.module])
        return ids[order], table.centre[order]

    for own, other in zip(rows(found), rows(official), strict=True):
        np.testing.assert_array_equal(own, other)


def test_nearest_module_is_found_within_the_layer():
    found, rng = modules(), np.random.default_rng(0)
    row = rng.integers(len(found), size=200)
    position = found.centre[row] + rng.normal(0, 30, (200, 3))
    near = found.nearest(found.volume[row], found.layer[row], position)
    for i in range(200):
        same = found.volume == found.volume[row[i]]
        same &= found.layer == found.layer[row[i]]
        away = np.linalg.norm(found.centre - position[i], axis=1)
        assert near[i] == np.where(same, away, np.inf).argmin()
    assert len(found.nearest(row[:0], row[:0], position[:0])) == 0


def test_supplied_hits_have_the_nearest_modules(data_dir):
    from jaxphys.hypertrack.data.compact_parquet import CompactEvents

    event = CompactEvents(data_dir("hypertrack") / "train_mu20").read(30001)
    row = modules().nearest(event.volume_id, event.layer_id, event.position)
    np.testing.assert_array_equal(modules().module[row], event.module_id)


def test_layers_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"hit 1: expected a layer .* 8, layer 3"):
        modules().nearest(np.array([8, 8]), np.array([2, 3]), np.zeros((2, 3)))


def test_layers_of_other_tables_are_kept_apart():
    one = np.ones(1, np.int32)
    table = Modules(
        np.array([7, 8]),
        np.array([2, 2]),
        np.array([4, 5]),
        np.array([[0, 0, 100], [0, 0, 0]], np.float32),
    )
    assert table.nearest(one * 7, one * 2, np.zeros((1, 3))).tolist() == [0]


def test_barrels_and_resolutions_are_those_of_their_volume():
    volume = np.array([8, 7, 17, 18, 13])
    assert is_barrel(volume).tolist() == [True, False, True, False, True]
    expected = [[0.01, 0.013], [0.01, 0.013], [0.03, 3.06], [0.03, 2.7], [0.02, 0.26]]
    np.testing.assert_allclose(resolution(volume), expected)
    assert np.isfinite(resolution(np.array(detector.VOLUMES))).all()


def test_noise_profile_is_that_of_the_real_event(data_dir):
    from jaxphys.hypertrack.data.csv_files import CsvEvents

    event = CsvEvents(data_dir("hypertrack") / "trackml_real_5pct").read(1)
    noise, profile = event.label < 0, noise_profile()
    np.testing.assert_array_equal(profile["volume"], event.volume_id[noise])
    np.testing.assert_array_equal(profile["layer"], event.layer_id[noise])
    np.testing.assert_array_equal(profile["z"], event.position[noise, 2])
    radius = np.hypot(*event.position[noise, :2].T)
    np.testing.assert_allclose(profile["r"], radius, rtol=1e-6)
