"""Where events come from."""

import dataclasses
from typing import ClassVar

from jaxphys.options import option, structural


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceFlags:
    """Files of events, also remote ones, and what is simulated where there are none."""

    GROUP: ClassVar = "data"

    infiles: tuple[str, ...] = option(
        (), "files, patterns, folders or addresses of events, in place of --data"
    )
    skip_bad_rows: bool = structural(
        False,
        "write rows with impossible numbers to bad_rows.parquet in the workdir and go "
        "on without them, in place of refusing the file",
    )
    check_only: bool = option(
        False, "prepare: read and check the data, and write nothing"
    )
    print_max_events: int = option(
        5, "events that --check_only prints", unit="events", minimum=0
    )
    depths: tuple[float, ...] = option(
        (2650.0, 2700.0, 2750.0, 2800.0),
        "prepare: vertical depths to which surface showers (CORSIKA) are carried",
        unit="m",
        minimum=0.0,
    )
    memory_cache_mb: int = option(
        0, "size of the remote files that are kept in memory", unit="MB", minimum=0
    )
    prefetch_dir: str = option(
        "", "folder for copies of remote files; empty: they are read where they are"
    )
    prefetch_delete_after_use: bool = option(
        False, "delete the copy of a remote file when it has been read"
    )
    prefetch_max_files: int = option(
        0, "most copies of remote files that are kept; 0: all", unit="files", minimum=0
    )
    prefetch_ahead: int = option(
        0, "remote files that are fetched ahead of the reading", unit="files", minimum=0
    )
    federation_url: str = option(
        "", "address of the federation of pelican:// addresses (extra remote)"
    )
    token: str = option("", "file with the token for pelican:// addresses")
    n_showers: int = structural(
        20_000, "showers to simulate where no data are named", unit="showers", minimum=1
    )
    n_depths: int = structural(
        10, "depths of each simulated shower", unit="depths", minimum=1, maximum=100
    )
    spectrum: str = structural(
        "default",
        "simulated primaries: 10^4 to 10^7.5 GeV, or nearly all without muons as in "
        "the published training",
        choices=("default", "published_like"),
    )
