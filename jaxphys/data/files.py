"""Files that are whole or not there."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def replace_file(path: str | os.PathLike, mode: str = "wb") -> Iterator[Any]:
    """Opens a temporary file that becomes `path` when the block ends without error."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    """Writes a dictionary as an indented JSON file."""
    with replace_file(path, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """Reads what `write_json` wrote.

    Raises:
      ValueError: it is no JSON, naming the file.
    """
    try:
        return json.loads(pathlib.Path(path).read_text())
    except ValueError as error:
        raise ValueError(f"{path}: damaged: {error}") from error
