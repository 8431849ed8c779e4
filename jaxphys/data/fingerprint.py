"""What a run remembers of the data it was begun with."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping

_PIECES, _PIECE = 32, 2**20  # sampled of a source, bytes of each
_ENDS = 4096  # bytes at both ends of every file


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """Tells data apart; that of a moved folder is equal.

    Attributes:
      digest: of names, sizes and samples of the contents.
      source: what it was taken of, in words, for messages.
      trained: digests of the places whose data a run trains on; all unless said.
    """

    digest: str
    source: str
    trained: tuple[str, ...] = ()

    def same(self, other: "Fingerprint") -> bool:
        """Returns whether both are of the same data, wherever these lie."""
        return self.digest == other.digest

    def trains_on(self, other: "Fingerprint") -> bool:
        """Returns whether a run of these data trains on one of the other places."""
        mine = {self.digest, *self.trained}
        return not mine.isdisjoint({other.digest, *other.trained})


UNKNOWN = Fingerprint("", "unknown data")


def of_parts(source: str, *parts: str) -> Fingerprint:
    """Returns the fingerprint of data whose parts have digests of their own."""
    return Fingerprint(_hex("\n".join(parts).encode()), source)


def of_files(places: Iterable[str | os.PathLike]) -> Fingerprint:
    """Returns the fingerprint of files: names, sizes, and 32 sampled MiB of each place.

    Args:
      places: files, folders (with everything in them), or prefixes of files.

    Raises:
      ValueError: nothing lies at a place.
    """
    places = [str(place) for place in places]
    pieces = max(_PIECES // max(len(places) // 8, 1), 1)  # of many files few of each
    digests = []
    for place in places:
        found = hashlib.sha256()
        files = _files_of(pathlib.Path(place))
        sizes = {path: path.stat().st_size for path, _ in files}
        for path, name in files:
            found.update(f"{name}\0{sizes[path]}\0".encode())
            found.update(_read(path, 0, _ENDS))
            found.update(_read(path, max(sizes[path] - _ENDS, 0), _ENDS))
        for path, offset in _sampled(sizes, pieces):
            found.update(_read(path, offset, _PIECE))
        digests.append(found.hexdigest())
    whole = digests[0] if len(digests) == 1 else _hex("\n".join(digests).encode())
    return Fingerprint(whole, ",".join(places), tuple(digests))


def _files_of(place: pathlib.Path) -> list[tuple[pathlib.Path, str]]:
    """Returns files and their names within the place, which may have moved."""
    if place.is_file():
        return [(place, place.name)]
    if place.is_dir():
        inside = sorted(path for path in place.rglob("*") if path.is_file())
        return [(path, path.relative_to(place).as_posix()) for path in inside]
    prefixed = sorted(place.parent.glob(f"{place.name}*"))
    if not prefixed:
        raise ValueError(f"{place}: no such file")
    return [(path, path.name) for path in prefixed if path.is_file()]


def _sampled(
    sizes: Mapping[pathlib.Path, int], pieces: int
) -> Iterable[tuple[pathlib.Path, int]]:
    """Yields places of pieces, evenly over the files as if they were one."""
    total = sum(sizes.values())
    step = max(total // pieces, _PIECE)
    start = wanted = 0
    for path, size in sizes.items():
        while wanted < start + size:
            yield path, wanted - start
            wanted += step
        start += size


def _read(path: pathlib.Path, offset: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(count)


def _hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
