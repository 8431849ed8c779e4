"""Events with one particle made harder: does the score see a known change?"""

import dataclasses
from typing import Any

import numpy as np

from jaxphys.hidden_vertex.data.store import Store
from jaxphys.hidden_vertex.physics.events import Events


@dataclasses.dataclass(frozen=True, eq=False)
class Injected:
    """A source of a store's events in which one random particle each is harder.

    Attributes:
        store: The events.
        positions: [E] which of them; row r of this source is event positions[r].
        strength: Added to the log pT of the particle.
        seed: Of the choice of the particle.
    """

    store: Store
    positions: np.ndarray
    strength: float = 3.0
    seed: int = 0

    @property
    def num_rows(self) -> int:
        """Returns E."""
        return len(self.positions)

    @property
    def labelled(self) -> bool:
        """Returns whether the store has labels."""
        return self.store.label is not None

    def read(self, start: int, stop: int) -> Events:
        """Reads the rows start <= row < stop; independent of how they are grouped."""
        events = self.store.events(self.positions[start:stop])
        draws = np.random.Generator(np.random.Philox(key=self.seed)).random(stop)
        sizes = np.diff(events.offset)
        chosen = events.offset[:-1] + (draws[start:] * sizes).astype(np.int64)
        particles = events.particles.copy()
        particles[chosen, 0] *= np.float32(np.exp(self.strength))
        # numbers of this source: those of the file need not ascend in this order
        rows = np.arange(start, start + len(events))
        return dataclasses.replace(events, particles=particles, event_id=rows)

    def describe(self) -> dict[str, Any]:
        """Returns what tells this source from another."""
        return {
            "kind": "Injected",
            "of": self.store.fingerprint,
            "rows": self.num_rows,
            "strength": self.strength,
            "seed": self.seed,
        }
