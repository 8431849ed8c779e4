"""What every model says that was loaded from a run."""

from collections.abc import Mapping
from typing import Any


class Loaded:
    """A model with the metadata of its run.

    Attributes:
      metadata: with `jaxphys.training.best.Weights.facts`, if it comes from a run.
    """

    metadata: Mapping[str, Any]

    @property
    def weights(self) -> str:
        """Which weights these are: "best" or "last"; empty: not of a run."""
        return self.metadata.get("weights", "")

    @property
    def weights_step(self) -> int | None:
        """The training step that they are of."""
        return self.metadata.get("weights_step")
