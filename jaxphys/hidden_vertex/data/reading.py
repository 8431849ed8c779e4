"""How a run reads events from particles, whatever its network sees of them."""

import dataclasses
from collections.abc import Collection
from typing import Any

from jaxphys.hidden_vertex.data.prepare import Recipe
from jaxphys.hidden_vertex.physics.observables import (
    antikt_observables,
    cone_observables,
)

_OBSERVABLES = {"cones": cone_observables, "fastjet": antikt_observables}


@dataclasses.dataclass(frozen=True)
class Reading:
    """How events are read from particles.

    Attributes:
      k: neighbours of a particle.
      periodic_phi: neighbours across phi = pi.
      radius: of the radius graph.
      jets: "cones" or "fastjet".
    """

    k: int = 6
    periodic_phi: bool = False
    radius: float = 0.4
    jets: str = "cones"

    def recipe(self, contents: Collection[str], **settings: Any) -> Recipe:
        """Returns what `prepare` has to compute.

        Args:
          contents: any of "knn", "radius", "jets", "event" (see `Network.sees`).
          **settings: of `Recipe`.
        """
        return Recipe(
            k=self.k if "knn" in contents else 0,
            periodic_phi=self.periodic_phi,
            radius=self.radius if "radius" in contents else 0.0,
            with_ax="knn" in contents,
            views=tuple(sorted({"jets", "event"} & set(contents))),
            jets=self.jets,
            observables=_OBSERVABLES[self.jets],
            **settings,
        )
