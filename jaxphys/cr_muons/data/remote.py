"""Opens files of any place fsspec knows, with copies on disk or in memory."""

import collections
import dataclasses
import importlib
import os
import pathlib
import random
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa

TRIES = 5
MISSING_PACKAGE = "needs another package: pip install 'jaxphys[remote]'"


def is_remote(path: str) -> bool:
    """Tells a URI from a path of this machine."""
    return "://" in path and not path.startswith("file://")


def wait_before(attempt: int, draw: Callable[[], float] = random.random) -> float:
    """Returns min(20, 0.8 2^attempt) s times a number within 0.7 and 1.3."""
    return min(20.0, 0.8 * 2.0**attempt) * (0.7 + 0.6 * draw())


def pelican_options(
    federation_url: str = "", token: str = ""
) -> Mapping[str, Mapping[str, Any]]:
    """Returns what `RemoteCache` passes to the file system of pelican:// URIs.

    Args:
        federation_url: Where the federation is described; empty: the URI's own host.
        token: The token itself or a file that holds it; empty: none.
    """
    options: dict[str, Any] = {}
    if federation_url:
        options["federation_discovery_url"] = federation_url
    if token:
        file = pathlib.Path(token)
        is_file = len(token) < 256 and file.is_file()
        text = file.read_text().strip() if is_file else token
        options["headers"] = {"Authorization": f"Bearer {text}"}
    return {"pelican": options, "osdf": options}


@dataclasses.dataclass
class RemoteCache:
    """Opens URIs, with retries, and keeps copies if asked to.

    Attributes:
        prefetch_dir: Folder for copies of whole files; empty: none.
        delete_after_use: Delete a copy when `release` says that it was read.
        max_files: Copies to keep at most, the longest unused goes first; 0: any number.
        ahead: Files of the announced order that are copied in the background.
        memory_cache_mb: Bytes of whole files to keep in memory, in MiB; 0: none.
        options: Protocol -> arguments of its fsspec file system.
    """

    prefetch_dir: str = ""
    delete_after_use: bool = False
    max_files: int = 0
    ahead: int = 0
    memory_cache_mb: int = 0
    options: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        for name in ("max_files", "ahead", "memory_cache_mb"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected >= 0, got {getattr(self, name)}")
        if self.ahead and not self.prefetch_dir:
            raise ValueError(
                "prefetch_ahead: expected a folder in prefetch_dir for the copies"
            )
        if self.max_files and self.max_files <= self.ahead:
            raise ValueError(
                f"prefetch_max_files: expected more than prefetch_ahead={self.ahead} "
                f"(or 0), got {self.max_files}"
            )
        self._lock = threading.Lock()
        self._bytes: collections.OrderedDict[str, bytes] = collections.OrderedDict()
        self._copies: collections.OrderedDict[str, Future] = collections.OrderedDict()
        self._order: list[str] = []
        self._workers = ThreadPoolExecutor(1, "prefetch") if self.prefetch_dir else None

    def open(self, path: str) -> Any:
        """Returns a path on this machine or an open binary file.

        Raises:
            ValueError: If there is no such file or it cannot be reached.
        """
        if not is_remote(path):
            return path.removeprefix("file://")
        if self.prefetch_dir:
            local = self._copy(path).result()
            self._look_ahead(path)
            return str(local)
        if self.memory_cache_mb:
            return pa.BufferReader(self._whole(path))
        return self._try(path, lambda files, name: files.open(name, "rb"))

    def announce(self, order: Sequence[str]) -> None:
        """Says in which order the files will be read."""
        self._order = list(order)

    def release(self, path: str) -> None:
        """Says that a file was read to its end; its copy may go."""
        if self.delete_after_use and is_remote(path):
            self._forget(path)

    def expand(self, pattern: str) -> list[str]:
        """Returns the URIs that match a pattern with *, ? or [."""
        found, name = self._try(pattern, lambda files, name: (files.glob(name), name))
        # file systems drop the protocol, some the host too: it is put back
        name = name.lstrip("/")
        before = pattern[: len(pattern) - len(name)]
        return sorted(before + match.lstrip("/") for match in found)

    def _try(self, uri, action):
        """Runs an action on (file system, name), again after what may pass."""
        errors = []
        for attempt in range(TRIES):
            try:
                return action(*self._file_system(uri))
            except FileNotFoundError as error:
                raise ValueError(f"{uri}: no such file") from error
            except (OSError, TimeoutError, RuntimeError) as error:
                errors.append(error)
                if attempt + 1 < TRIES:
                    self.sleep(wait_before(attempt))
        raise ValueError(
            f"{uri}: cannot be reached, {TRIES} tries: "
            f"{type(errors[-1]).__name__}: {errors[-1]}"
        ) from errors[-1]

    def _file_system(self, uri):
        core = importlib.import_module("fsspec.core")
        protocol = uri.split("://", 1)[0]
        if protocol in ("pelican", "osdf"):
            try:
                importlib.import_module("pelicanfs.core")  # registers the protocol
            except ImportError as error:
                raise ValueError(f"{uri}: {MISSING_PACKAGE}") from error
        try:
            return core.url_to_fs(uri, **self.options.get(protocol, {}))
        except ImportError as error:
            raise ValueError(f"{uri}: {MISSING_PACKAGE} ({error})") from error
        except ValueError as error:
            raise ValueError(f"{uri}: unknown kind of URI: {error}") from error

    def _whole(self, uri):
        with self._lock:
            if uri in self._bytes:
                self._bytes.move_to_end(uri)
                return self._bytes[uri]
        content = self._try(uri, lambda files, name: files.cat_file(name))
        with self._lock:
            self._bytes[uri] = content
            most = self.memory_cache_mb * 2**20
            while sum(map(len, self._bytes.values())) > most and self._bytes:
                self._bytes.popitem(last=False)
        return content

    def local_path(self, uri: str) -> pathlib.Path:
        """Returns where the copy of a URI lies: prefetch_dir/host/path."""
        parts = urllib.parse.urlsplit(uri)
        pieces = [
            p for p in (parts.netloc + parts.path).split("/") if p not in ("", ".")
        ]
        if ".." in pieces or not pieces:
            raise ValueError(f"{uri}: expected a path without '..'")
        if parts.query:
            pieces[-1] += "_" + re.sub(r"[^\w.-]", "_", parts.query)
        return pathlib.Path(self.prefetch_dir, *pieces)

    def _copy(self, uri):
        """Returns the copy of a URI as a future, started if there is none."""
        target = self.local_path(uri)
        workers = self._workers
        if workers is None:
            raise ValueError("prefetch_dir: expected a folder, got none")
        with self._lock:
            held = self._copies.get(uri)
            failed = held is not None and held.done() and held.exception() is not None
            if held is None or failed or (held.done() and not target.is_file()):
                held = workers.submit(self._download, uri, target)
                self._copies[uri] = held
            self._copies.move_to_end(uri)
            others = list(self._copies)[: -self.max_files] if self.max_files else []
        for other in others:
            self._forget(other)
        return held

    def _download(self, uri, target):
        if target.is_file():  # of an earlier run; it was renamed when whole
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
        try:
            self._try(uri, lambda files, name: files.get_file(name, str(temporary)))
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        return target

    def _look_ahead(self, uri):
        if self.ahead and uri in self._order:
            place = self._order.index(uri)
            for following in self._order[place + 1 : place + 1 + self.ahead]:
                if is_remote(following):
                    self._copy(following)

    def _forget(self, uri):
        with self._lock:
            held = self._copies.pop(uri, None)
        if held is not None and not held.cancel() and held.exception() is None:
            held.result().unlink(missing_ok=True)
