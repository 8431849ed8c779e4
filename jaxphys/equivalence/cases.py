"""What one kind of recorded case is: its replay, and what a record of it holds."""

import dataclasses
import fnmatch
from collections.abc import Callable, Collection, Mapping
from typing import Any

from jaxphys.equivalence.golden import Golden, without_meaning

Names = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Case:
    """One kind of recorded case.

    A name with * stands for a family, such as grad/*: all of its members that the
    replay produces for the file.

    Attributes:
      replay: golden file -> outputs by name.
      outputs: names that a complete record has; a function of the file where its
        config or its inputs decide.
      unread: inputs that the replay has no use for -> why.
    """

    replay: Callable[[Golden], Mapping[str, Any]]
    outputs: Names | Callable[[Golden], Names]
    unread: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def declared(self, golden: Golden) -> Names:
        """Returns the names and families that a record like this one has."""
        return self.outputs(golden) if callable(self.outputs) else self.outputs

    def lacking(self, golden: Golden, produced: Collection[str]) -> list[str]:
        """Returns declared outputs that a record lacks.

        Args:
          golden: the record.
          produced: names of what the replay gave, which tell the members of families.
        """
        declared = self.declared(golden)
        expected = {name for name in declared if "*" not in name}
        expected |= {name for name in produced if matching(declared, name)}
        return sorted(
            name
            for name in expected - set(golden.outputs)
            if not without_meaning(golden, name)
        )


def matching(names: Names, name: str) -> str | None:
    """Returns the first of some names and families that a name belongs to."""
    return next((n for n in names if fnmatch.fnmatchcase(name, n)), None)
