"""What the report of a run is made of."""

import dataclasses
from collections.abc import Mapping, Sequence

from jaxphys.hypertrack.analysis.evaluation import Clustered, EventEdges
from jaxphys.hypertrack.inference.stage_meter import StageMeter


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """What a run makes of some events.

    Attributes:
      found: the events with their edges.
      clusterings: method -> its tracks.
      edges: of `jaxphys.hypertrack.analysis.evaluation.edge_summary`.
      main: the method of the run; empty if there is none.
      best: the simple method that was best on the events of the tuning; may be empty.
    """

    found: Sequence[EventEdges]
    clusterings: Mapping[str, Clustered]
    edges: Mapping[str, float]
    main: str
    best: str

    @property
    def shown(self) -> list[str]:
        """The methods that figures show: main, best simple one, components."""
        names = (self.main, self.best, "cut")
        return [n for n in dict.fromkeys(names) if n in self.clusterings]


@dataclasses.dataclass(frozen=True, eq=False)
class Cost:
    """Time and memory of one event.

    Attributes:
      fraction: of its tracks that were kept.
      hits: of the event.
      edges: candidate edges.
      meter: all stages.
    """

    fraction: float
    hits: int
    edges: int
    meter: StageMeter
