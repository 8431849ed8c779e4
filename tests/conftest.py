"""Strict settings and shared fixtures of the test suite."""

import os
import pathlib

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest
from absl import flags

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

TESTS = pathlib.Path(__file__).parent
GOLDEN = TESTS / "equivalence" / "golden"


def pytest_configure(config):
    # grain reads absl flags as soon as it starts a thread
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    # one cache a process: an entry that another one is writing would be read half
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    cache = config.cache.mkdir(f"jax_{worker}")
    jax.config.update("jax_compilation_cache_dir", str(cache))


@pytest.fixture
def golden_dir():
    """Returns the folder of recorded files of a system."""
    return lambda system: GOLDEN / system


@pytest.fixture
def data_dir():
    """Returns the folder of real data of a system, or skips the test."""

    def find(system):
        root = os.environ.get("JAXPHYS_DATA", TESTS.parents[1] / "shared" / "data")
        folder = pathlib.Path(root) / system
        if not folder.is_dir():
            pytest.skip(f"no data folder for {system}: set JAXPHYS_DATA")
        return folder

    return find
