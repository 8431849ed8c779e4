"""Events with any number of muons each, held in flat arrays.

One event is one pair of a primary particle and a depth. The muons of all events lie
one after the other, so that every operation is one over whole arrays.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

PRIMARY_COLUMNS = ("energy", "zenith", "mass", "depth")  # GeV, rad, GeV, m
MUON_COLUMNS = ("energy", "x", "y")  # GeV, m, m


@dataclasses.dataclass(frozen=True, eq=False)
class Events:
    """Muon bundles under ice.

    Attributes:
        primaries: [N, 4] float32, energy in GeV, zenith in rad, mass in GeV (proton
            0.938), vertical depth in m.
        num_muons: [N] int32, muons of an event; 0 for most.
        muons: [M, 3] float32, energy in GeV, x and y in m in the plane perpendicular
            to the shower axis and relative to it; events one after the other.
        showers: [N, 2] uint64, major and minor number of the shower; events of one
            shower at several depths share their muons.
    """

    primaries: np.ndarray
    num_muons: np.ndarray
    muons: np.ndarray
    showers: np.ndarray

    def __post_init__(self) -> None:
        events, muons = len(self.num_muons), len(self.muons)
        expected = {
            "primaries": (events, 4),
            "num_muons": (events,),
            "muons": (muons, 3),
            "showers": (events, 2),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"Events, {name}: expected shape {shape}, got "
                    f"{getattr(self, name).shape}"
                )
        if self.offsets[-1] != muons:
            raise ValueError(
                f"Events, num_muons: expected a sum of {muons} (rows of muons), got "
                f"{self.offsets[-1]}"
            )

    def __len__(self) -> int:
        return len(self.num_muons)

    @functools.cached_property
    def offsets(self) -> np.ndarray:
        """[N + 1] int64, the first muon of each event, then the number of muons."""
        offsets = np.zeros(len(self.num_muons) + 1, np.int64)
        np.cumsum(self.num_muons, out=offsets[1:])
        return offsets

    def event_of_muon(self) -> np.ndarray:
        """Returns [M] int32, the event that each muon belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.num_muons)

    def rows(self, start: int, stop: int) -> "Events":
        """Returns the events start <= i < stop as views."""
        start, stop, _ = slice(start, stop).indices(len(self))
        stop = max(start, stop)
        first, last = self.offsets[start], self.offsets[stop]
        return Events(
            self.primaries[start:stop],
            self.num_muons[start:stop],
            self.muons[first:last],
            self.showers[start:stop],
        )

    def select(self, positions: np.ndarray) -> "Events":
        """Returns events by their positions ([K] integers or [N] bool), as a copy."""
        positions = np.asarray(positions)
        if positions.dtype == bool:
            if positions.shape != (len(self),):
                raise ValueError(
                    f"Events.select: expected a mask of {len(self)} events, got shape "
                    f"{positions.shape}"
                )
            positions = np.flatnonzero(positions)
        return Events(
            self.primaries[positions],
            self.num_muons[positions],
            self.muons[ragged_rows(self.offsets, positions)],
            self.showers[positions],
        )

    @staticmethod
    def concatenate(blocks: Sequence["Events"]) -> "Events":
        """Returns the events of all blocks in order."""
        blocks = list(blocks)
        if not blocks:
            return empty_events()
        if len(blocks) == 1:
            return blocks[0]
        return Events(
            np.concatenate([b.primaries for b in blocks]),
            np.concatenate([b.num_muons for b in blocks]),
            np.concatenate([b.muons for b in blocks]),
            np.concatenate([b.showers for b in blocks]),
        )


def empty_events() -> Events:
    """Returns no events."""
    return Events(
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.int32),
        np.zeros((0, 3), np.float32),
        np.zeros((0, 2), np.uint64),
    )


def make_events(primaries, num_muons, muons, showers=None) -> Events:
    """Returns events of arrays of any number type.

    Args:
        primaries: [N, 4] energy GeV, zenith rad, mass GeV, depth m.
        num_muons: [N] muons of an event.
        muons: [M, 3] energy GeV, x m, y m.
        showers: [N, 2] major and minor number; None: 0 and the number of the event.
    """
    num_muons = np.asarray(num_muons, np.int32)
    if showers is None:
        showers = np.zeros((len(num_muons), 2), np.uint64)
        showers[:, 1] = np.arange(len(num_muons))
    return Events(
        np.asarray(primaries, np.float32).reshape(-1, 4),
        num_muons,
        np.asarray(muons, np.float32).reshape(-1, 3),
        np.asarray(showers, np.uint64),
    )


def ragged_rows(offsets: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Returns the rows of segments, one segment after the other.

    Args:
        offsets: [N + 1] first row of each segment, then the number of rows.
        positions: [K] integers, the segments to take.

    Returns:
        [sum of their lengths] int64.
    """
    first = offsets[positions]
    length = offsets[np.asarray(positions) + 1] - first
    before = np.cumsum(length) - length
    return np.repeat(first - before, length) + np.arange(length.sum())
