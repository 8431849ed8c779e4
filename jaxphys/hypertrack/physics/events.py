"""The event in memory: detector hits, and the particles that left them.

Every reader makes an `Event` and everything downstream takes one. Hits are rows; a
hit names its particle by the row of `particles` (`label`), so that a track is the set
of hits of one label. Ragged lists of hits are kept as (rows, offsets), never as a
table padded to the longest track.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Particles:
    """The particles of an event that left at least one hit, in particle-file order.

    Attributes:
        particle_id: 64-bit identifiers, `[P]` int64.
        vertex: where each particle starts, `[P, 3]` float32, mm.
        momentum: momentum at the vertex, `[P, 3]` float32, GeV.
        charge: electric charge, `[P]` int32, in units of e.
        num_hits: hits of each particle in this event, `[P]` int32.
        particle_type: PDG codes, `[P]` int32, or None where they are not known.
    """

    particle_id: np.ndarray
    vertex: np.ndarray
    momentum: np.ndarray
    charge: np.ndarray
    num_hits: np.ndarray
    particle_type: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.particle_id)

    @property
    def pt(self) -> np.ndarray:
        """Transverse momenta, `[P]` float32, GeV."""
        return np.hypot(self.momentum[:, 0], self.momentum[:, 1])

    @property
    def eta(self) -> np.ndarray:
        """Pseudorapidities, `[P]` float32; infinite along the beam."""
        pt = self.pt
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.arcsinh(self.momentum[:, 2] / pt)
        return np.where(np.isnan(slope), np.float32(0), slope)

    @property
    def phi(self) -> np.ndarray:
        """Azimuths of the momenta, `[P]` float32, in (-pi, pi]."""
        return np.arctan2(self.momentum[:, 1], self.momentum[:, 0])

    @property
    def vertex_radius(self) -> np.ndarray:
        """Distances of the vertices from the beam line, `[P]` float32, mm."""
        return np.hypot(self.vertex[:, 0], self.vertex[:, 1])

    def objects(self) -> np.ndarray:
        """Returns vx, vy, vz, px, py, pz, q, nhits of every particle, `[P, 8]` f32."""
        return np.column_stack(
            [self.vertex, self.momentum, self.charge, self.num_hits]
        ).astype(np.float32)

    def take(self, rows: np.ndarray) -> "Particles":
        """Returns the particles of `rows` `[n]`, in that order."""
        types = self.particle_type
        return Particles(
            particle_id=self.particle_id[rows],
            vertex=self.vertex[rows],
            momentum=self.momentum[rows],
            charge=self.charge[rows],
            num_hits=self.num_hits[rows],
            particle_type=None if types is None else types[rows],
        )

    @classmethod
    def none(cls) -> "Particles":
        """Returns a list of no particles."""
        return cls(
            particle_id=np.zeros(0, np.int64),
            vertex=np.zeros((0, 3), np.float32),
            momentum=np.zeros((0, 3), np.float32),
            charge=np.zeros(0, np.int32),
            num_hits=np.zeros(0, np.int32),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Event:
    """One event: N hits and, where the truth is known, the tracks they belong to.

    Attributes:
        event_id: number of the event in its data set.
        position: hit positions, `[N, 3]` float32, mm.
        hit_id: identifiers of the hits in the file, `[N]` int64; unique, any order.
        label: row of `particles` that made the hit, `[N]` int32; -1 is noise.
        weight: official hit weights, `[N]` float32; 0 without truth.
        particles: the particles with at least one hit.
        volume_id: detector volume of each hit, `[N]` int32.
        layer_id: layer within the volume, `[N]` int32.
        module_id: module within the layer, `[N]` int32.
        truth_order: place of each hit in the truth file, `[N]` int64; the hits of a
            track are listed in this order.
        has_truth: false where no truth was read; then every label is -1.
    """

    event_id: int
    position: np.ndarray
    hit_id: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    particles: Particles
    volume_id: np.ndarray
    layer_id: np.ndarray
    module_id: np.ndarray
    truth_order: np.ndarray
    has_truth: bool = True

    @property
    def num_hits(self) -> int:
        """Number of hits N, noise included."""
        return len(self.position)

    @property
    def num_tracks(self) -> int:
        """Number of particles with at least one hit, P."""
        return len(self.particles)

    @property
    def noise_fraction(self) -> float:
        """Fraction of the hits that belong to no particle; 0 without hits."""
        return float(np.mean(self.label < 0)) if self.num_hits else 0.0

    def track_hits(self) -> tuple[np.ndarray, np.ndarray]:
        """Lists the hits of every track.

        Returns:
            Hit rows sorted by track, and within a track in truth-file order,
            `[num_signal]` int64; offsets `[P + 1]` int64, so that track t owns
            `rows[offsets[t]:offsets[t + 1]]`. Noise is in no track.
        """
        order = np.lexsort((self.truth_order, self.label))
        num_noise = int(np.count_nonzero(self.label < 0))
        counts = np.bincount(self.label[self.label >= 0], minlength=self.num_tracks)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return order[num_noise:], offsets

    def x_ind(self, width: int = 0) -> np.ndarray:
        """Returns the hit rows of every track as a table padded with -1.

        It is the format of the reference numbers; code of the library uses
        `track_hits`.

        Args:
            width: columns K; 0 takes the longest track.

        Returns:
            `[P, K]` int64.

        Raises:
            ValueError: a track has more than `width` hits.
        """
        rows, offsets = self.track_hits()
        counts = np.diff(offsets)
        longest = int(counts.max(initial=0))
        if width and longest > width:
            raise ValueError(
                f"event {self.event_id}: a track has {longest} hits, expected at most "
                f"{width} columns"
            )
        table = np.full((self.num_tracks, width or longest), -1, np.int64)
        track = np.repeat(np.arange(self.num_tracks), counts)
        table[track, np.arange(len(rows)) - offsets[track]] = rows
        return table

    def take(self, hits: np.ndarray) -> "Event":
        """Returns the hits of `hits` `[n]` in that order, with all the particles."""
        per_hit = (
            "position",
            "hit_id",
            "label",
            "weight",
            "volume_id",
            "layer_id",
            "module_id",
            "truth_order",
        )
        return dataclasses.replace(
            self, **{name: getattr(self, name)[hits] for name in per_hit}
        )
