"""URIs are read, copied and kept as asked; what cannot be reached is named."""

import importlib.util
import pathlib
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from jaxphys.cr_muons.batches.batches import MuonBatches
from jaxphys.cr_muons.data.event_files import find_files, open_events, read_events
from jaxphys.cr_muons.data.index import scan
from jaxphys.cr_muons.data.remote import (
    RemoteCache,
    is_remote,
    pelican_options,
    wait_before,
)
from jaxphys.cr_muons.physics.events import Events
from tests.cr_muons.samples import assert_same, write_files


class Flaky(MemoryFileSystem):
    """A file system whose first calls fail, and which counts what is fetched."""

    protocol = "flaky"
    cachable = False
    store: ClassVar = {}
    pseudo_dirs: ClassVar = ["", "/far"]
    failures = 0
    fetched: ClassVar = []

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.removeprefix("flaky://").strip("/")

    def _fail(self, path):
        Flaky.fetched.append(path.rsplit("/", 1)[-1])
        if Flaky.failures:
            Flaky.failures -= 1
            raise ConnectionError("no route")

    def open(self, path, *args, **kwargs):
        self._fail(path)
        return super().open(path, *args, **kwargs)

    def cat_file(self, path, *args, **kwargs):
        self._fail(path)
        if path not in self.store:
            raise FileNotFoundError(path)
        return bytes(self.store[path].getvalue())

    def get_file(self, rpath, lpath, *args, **kwargs):
        pathlib.Path(lpath).write_bytes(self.cat_file(rpath))


fsspec.register_implementation("flaky", Flaky, clobber=True)


@pytest.fixture
def uris(tmp_path):
    """Returns (URIs, events) of three remote files."""
    paths, events = write_files(tmp_path / "source", 30, 20, 10)
    Flaky.store.clear()
    for path in paths:
        name = f"/far/{pathlib.Path(path).name}"
        MemoryFileSystem.pipe_file(Flaky(), name, pathlib.Path(path).read_bytes())
    Flaky.failures, Flaky.fetched = 0, []
    return [f"flaky://far/{pathlib.Path(path).name}" for path in paths], events


def quiet(**settings):
    """Returns a cache that does not wait, and its waits."""
    waits = []
    return RemoteCache(sleep=waits.append, **settings), waits


def test_addresses_are_told_from_paths():
    assert is_remote("pelican://a/b")
    assert is_remote("https://a/b")
    assert not is_remote("file:///a/b")
    assert not is_remote("/a/b")


@pytest.mark.parametrize("kind", ["plain", "memory", "copies"])
def test_remote_files_are_read_in_every_way(uris, tmp_path, kind):
    settings = {
        "plain": {},
        "memory": {"memory_cache_mb": 1},
        "copies": {"prefetch_dir": str(tmp_path / "copies"), "ahead": 1},
    }[kind]
    cache, _ = quiet(**settings)
    assert find_files("flaky://far/events_*.parquet", cache) == uris[0]
    assert_same(read_events(uris[0], cache), Events.concatenate(uris[1]))


def test_what_passes_is_tried_again(uris):
    cache, waits = quiet()
    Flaky.failures = 4
    assert_same(read_events(uris[0][:1], cache), uris[1][0])
    assert len(waits) == 4
    bounds = [(0.56, 1.04), (1.12, 2.08), (2.24, 4.16), (4.48, 8.32)]
    for wait, (low, high) in zip(waits, bounds, strict=True):
        assert low <= wait <= high


def test_waiting_grows_to_20_seconds():
    assert [round(wait_before(i, lambda: 0.5), 6) for i in range(6)] == [
        0.8,
        1.6,
        3.2,
        6.4,
        12.8,
        20.0,
    ]
    assert wait_before(9, lambda: 0.0) == pytest.approx(14)
    assert wait_before(9, lambda: 1.0) == pytest.approx(26)


@pytest.mark.parametrize(
    "settings", [{}, {"memory_cache_mb": 1}, {"prefetch_dir": "x"}]
)
def test_what_cannot_be_reached_is_named(uris, tmp_path, monkeypatch, settings):
    monkeypatch.chdir(tmp_path)
    cache, waits = quiet(**settings)
    Flaky.failures = 5
    with pytest.raises(
        ValueError,
        match=r"flaky://far/events_0.parquet: cannot be reached, 5 tries: .*route",
    ):
        open_events(uris[0][0], cache)
    assert len(waits) == 4
    assert not list(tmp_path.rglob("*.tmp"))
    assert_same(read_events(uris[0][:1], cache), uris[1][0])  # it may come back


@pytest.mark.parametrize(
    "settings", [{}, {"memory_cache_mb": 1}, {"prefetch_dir": "x"}]
)
def test_a_missing_file_is_not_tried_again(uris, tmp_path, monkeypatch, settings):
    monkeypatch.chdir(tmp_path)
    cache, waits = quiet(**settings)
    with pytest.raises(ValueError, match=r"flaky://far/none.parquet: no such file"):
        open_events("flaky://far/none.parquet", cache)
    assert not waits


def test_an_unknown_protocol_is_named():
    with pytest.raises(ValueError, match=r"nosuch://a/b: unknown kind of URI"):
        RemoteCache().open("nosuch://a/b")


def test_whole_files_are_kept_in_memory_up_to_a_size(uris):
    cache, _ = quiet(memory_cache_mb=1)
    for _ in range(3):
        cache.open(uris[0][0])
    assert Flaky.fetched == ["events_0.parquet"]
    cache._bytes["big"] = bytes(2**20)
    cache.open(uris[0][1])  # the longest unused go
    assert list(cache._bytes) == [uris[0][1]]


def test_copies_are_made_once_and_outlive_the_process(uris, tmp_path):
    cache, _ = quiet(prefetch_dir=str(tmp_path / "c"))
    path = cache.open(uris[0][0])
    assert path == str(tmp_path / "c" / "far" / "events_0.parquet")
    assert cache.open(uris[0][0]) == path
    assert quiet(prefetch_dir=str(tmp_path / "c"))[0].open(uris[0][0]) == path
    assert Flaky.fetched == ["events_0.parquet"]


def test_the_next_files_are_copied_ahead(uris, tmp_path):
    cache, _ = quiet(prefetch_dir=str(tmp_path / "c"), ahead=1)
    cache.announce(uris[0])
    cache.open(uris[0][0])
    cache._copies[uris[0][1]].result()
    assert Flaky.fetched == ["events_0.parquet", "events_1.parquet"]


def test_copies_go_when_they_are_read_or_too_many(uris, tmp_path):
    cache, _ = quiet(prefetch_dir=str(tmp_path / "c"), max_files=1)
    first = pathlib.Path(cache.open(uris[0][0]))
    second = pathlib.Path(cache.open(uris[0][1]))
    assert not first.exists()
    assert second.exists()
    cache.release(uris[0][1])
    assert second.exists()  # not asked for
    cache, _ = quiet(prefetch_dir=str(tmp_path / "d"), delete_after_use=True)
    path = pathlib.Path(cache.open(uris[0][0]))
    cache.release(uris[0][0])
    assert not path.exists()
    assert pathlib.Path(cache.open(uris[0][0])).exists()  # and comes back


def test_a_run_deletes_the_copies_it_has_read(uris, tmp_path):
    folder = tmp_path / "c"
    cache, _ = quiet(prefetch_dir=str(folder), delete_after_use=True)
    batches = MuonBatches(scan(uris[0], cache), 7, shuffle=True, prefetch=0)
    assert not list(folder.rglob("*.parquet"))
    for epoch in range(2):
        for i in range(batches.num_batches(epoch)):
            batches.batch(epoch, i, slice(None))
            assert len(list(folder.rglob("*.parquet"))) <= 1
        assert not list(folder.rglob("*.parquet"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ahead": 1}, "prefetch_dir"),
        ({"memory_cache_mb": -1}, "memory_cache_mb"),
        ({"prefetch_dir": "x", "ahead": 2, "max_files": 2}, "prefetch_max_files"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RemoteCache(**settings)


def test_a_path_cannot_leave_the_folder_of_copies():
    cache = RemoteCache(prefetch_dir="x")
    with pytest.raises(ValueError, match=r"without '\.\.'"):
        cache.local_path("flaky://far/../../etc/passwd")
    assert str(cache.local_path("https://h/a.parquet?v=1&x")) == "x/h/a.parquet_v_1_x"


def test_the_token_of_pelican_may_be_a_file(tmp_path):
    (tmp_path / "token").write_text("secret\n")
    options = pelican_options("pelican://osg-htc.org", str(tmp_path / "token"))
    assert options["pelican"]["headers"] == {"Authorization": "Bearer secret"}
    assert options["pelican"]["federation_discovery_url"] == "pelican://osg-htc.org"
    given = pelican_options(token="abc")["osdf"]
    assert given == {"headers": {"Authorization": "Bearer abc"}}
    assert pelican_options()["pelican"] == {}


def test_pelican_without_its_package_names_the_extra():
    if importlib.util.find_spec("pelicanfs") is not None:
        pytest.skip("pelicanfs is installed")
    with pytest.raises(ValueError, match=r"pip install 'jaxphys\[remote\]'"):
        RemoteCache().open("pelican://host/file")
