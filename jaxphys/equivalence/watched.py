"""Mappings that remember which of their entries were read."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any


class Watched(Mapping[str, Any]):
    """The entries of one kind in a golden file, with a note of what was read.

    Asking for a name that is not there is an error that names the file and the entry.
    Asking whether a name is there does not count as reading it.

    Attributes:
      kind: what the entries are: param, input, output or config.
      path: of the file.
      read: names that were read so far.
    """

    def __init__(self, kind: str, path: pathlib.Path, entries: Mapping[str, Any]):
        """Watches the entries of one kind."""
        self.kind, self.path, self.read = kind, path, set[str]()
        self._entries = entries

    def __getitem__(self, name: str) -> Any:
        """Returns an entry and notes that it was read."""
        if name not in self._entries:
            raise ValueError(
                f"{self.path}: no {self.kind}/{name}, which the case needs"
            )
        self.read.add(name)
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """Yields the names."""
        return iter(self._entries)

    def __len__(self) -> int:
        """Returns the number of entries."""
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        """Returns whether there is such an entry."""
        return name in self._entries

    def get(self, name: str, default: Any = None) -> Any:
        """Returns an entry, or the default where there is none."""
        if name in self._entries:
            self.read.add(name)
        return self._entries.get(name, default)

    @property
    def unread(self) -> list[str]:
        """Names that were not read so far, in order."""
        return sorted(set(self._entries) - self.read)


class Under(Mapping[str, Any]):
    """The entries of a mapping below a path, under the rest of their names.

    `Under(inputs, "batch/0")["x"]` is `inputs["batch/0/x"]`: only what is asked for is
    read.
    """

    def __init__(self, entries: Mapping[str, Any], path: str):
        """Looks at the entries whose names begin with the path and a slash."""
        self._entries, self._prefix = entries, f"{path}/"

    def __getitem__(self, name: str) -> Any:
        """Returns an entry."""
        return self._entries[self._prefix + name]

    def __iter__(self) -> Iterator[str]:
        """Yields the rest of the names."""
        for name in self._entries:
            if name.startswith(self._prefix):
                yield name.removeprefix(self._prefix)

    def __len__(self) -> int:
        """Returns the number of entries."""
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        """Returns whether there is such an entry."""
        return f"{self._prefix}{name}" in self._entries

    def get(self, name: str, default: Any = None) -> Any:
        """Returns an entry, or the default where there is none."""
        return self._entries.get(self._prefix + name, default)

    @property
    def numbers(self) -> list[int]:
        """The numbers that the first parts of the names are, in order."""
        return sorted({int(name.partition("/")[0]) for name in self})
