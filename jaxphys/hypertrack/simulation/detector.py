"""The TrackML detector: layers, modules, and the resolution of its sensors.

Nine volumes in three groups (pixels 7-9, short strips 12-14, long strips 16-18); the
middle one of each is a barrel around the beam, the others are endcaps of discs. The
solenoid gives about 2 T along z. The table of modules and the pattern of real noise
come with the package (data of the TrackML challenge, CERN).
"""

import dataclasses
import functools
import importlib.resources

import numpy as np
from scipy.spatial import KDTree

from jaxphys.hypertrack.data.csv_files import read_columns

BARRELS = (8, 13, 17)
VOLUMES = (7, 8, 9, 12, 13, 14, 16, 17, 18)
# barrels: radii of the layers 2, 4, ...; mm
BARREL_RADII = {
    8: (32.0, 72.0, 116.0, 172.0),
    13: (260.0, 360.0, 500.0, 660.0),
    17: (820.0, 1020.0),
}
BARREL_HALF_LENGTH = {8: 500.0, 13: 1080.0, 17: 1080.0}
# endcaps: |z| of the discs from the centre outwards, and their radii; mm
_INNER = (600.0, 700.0, 820.0, 960.0, 1100.0, 1300.0, 1500.0)
_OUTER = (1220.0, 1500.0, 1800.0, 2150.0, 2550.0, 2950.0)
ENDCAP_Z = {7: _INNER, 9: _INNER, **dict.fromkeys((12, 14, 16, 18), _OUTER)}
ENDCAP_RADII = {
    7: (30.0, 176.0),
    9: (30.0, 176.0),
    12: (240.0, 700.0),
    14: (240.0, 700.0),
    16: (755.0, 1025.0),
    18: (755.0, 1025.0),
}
# mm along the circle, and along z in barrels or r in endcaps
RESOLUTION = {
    **dict.fromkeys((7, 8, 9), (0.010, 0.013)),
    13: (0.020, 0.26),
    12: (0.020, 0.30),
    14: (0.020, 0.30),
    17: (0.03, 3.06),
    16: (0.03, 2.9),
    18: (0.03, 2.7),
}
_LAYER_STEP = 1e5  # mm, farther apart than any two modules
_COLUMNS = ("volume_id", "layer_id", "module_id", "cx", "cy", "cz")


@dataclasses.dataclass(frozen=True, eq=False)
class Modules:
    """The modules of the detector.

    Attributes:
        volume: `[M]` int32.
        layer: `[M]` int32, within the volume.
        module: `[M]` int32, within the layer.
        centre: `[M, 3]` float32, mm.
    """

    volume: np.ndarray
    layer: np.ndarray
    module: np.ndarray
    centre: np.ndarray

    def __len__(self) -> int:
        return len(self.volume)

    @functools.cached_property
    def _tree(self):
        return KDTree(self._apart(self.volume, self.layer, self.centre))

    @staticmethod
    def _apart(volume, layer, position):
        """Moves layers apart in a fourth direction, so that none is near another."""
        step = (np.asarray(volume, np.int64) * 64 + layer) * _LAYER_STEP
        return np.column_stack([position, step])

    def nearest(self, volume, layer, position) -> np.ndarray:
        """Returns the rows of the modules with the nearest centres in their layer.

        Args:
            volume: `[N]`.
            layer: `[N]`.
            position: `[N, 3]` mm.

        Raises:
            ValueError: a layer does not exist.
        """
        if not len(position):
            return np.zeros(0, np.int64)
        row = np.asarray(self._tree.query(self._apart(volume, layer, position))[1])
        wrong = (self.volume[row] != volume) | (self.layer[row] != layer)
        if wrong.any():
            first = int(np.argmax(wrong))
            raise ValueError(
                f"hit {first}: expected a layer of the detector, got volume "
                f"{np.asarray(volume)[first]}, layer {np.asarray(layer)[first]}"
            )
        return row


def read_detectors(path) -> Modules:
    """Reads the modules of a detectors.csv of the TrackML challenge.

    Raises:
        ValueError: the file is damaged or has not the columns.
    """
    columns = read_columns(path, _COLUMNS)
    volume, layer, module = (columns[name].astype(np.int32) for name in _COLUMNS[:3])
    centre = np.column_stack([columns[name] for name in _COLUMNS[3:]])
    return Modules(volume, layer, module, centre.astype(np.float32))


@functools.cache
def modules() -> Modules:
    """Returns the modules of the TrackML detector, by volume, layer and module."""
    table = _table("modules")
    volume, layer, module = (
        table[name].astype(np.int32) for name in ("volume", "layer", "module")
    )
    return Modules(volume, layer, module, table["centre"])


@functools.cache
def noise_profile() -> dict[str, np.ndarray]:
    """Returns where noise lies in a real event.

    Returns:
        "volume" and "layer" `[829]` int32, "r" and "z" `[829]` float32, mm.
    """
    return _table("noise")


def _table(name):
    file = importlib.resources.files("jaxphys.hypertrack.simulation") / "detector.npz"
    with file.open("rb") as opened, np.load(opened) as arrays:
        found = {k: arrays[k] for k in arrays.files if k.startswith(f"{name}_")}
    return {k.removeprefix(f"{name}_"): v for k, v in found.items()}


def is_barrel(volume: np.ndarray) -> np.ndarray:
    """Returns whether volumes are barrels, `[N]` bool."""
    return np.isin(volume, BARRELS)


def resolution(volume: np.ndarray) -> np.ndarray:
    """Returns the resolution of sensors, `[N, 2]` float64, mm.

    Args:
        volume: volumes of the hits, `[N]`.

    Returns:
        Standard deviations along the circle, and along z (barrels) or r (endcaps).
    """
    table = np.full((max(VOLUMES) + 1, 2), np.nan)
    for number, widths in RESOLUTION.items():
        table[number] = widths
    return table[volume]
