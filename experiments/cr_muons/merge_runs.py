"""Collects runs below a folder into one, for a TensorBoard over all of them.

    python -m experiments.cr_muons.merge_runs --dst=board --src_root=runs \
        --since=20260111-000000 --match=adam
"""

import argparse
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Sequence

_STAMP = re.compile(r"\d{8}-\d{6}")
EVENT_FILES = "events.out.tfevents.*"


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line and merges; returns the exit status."""
    parser = argparse.ArgumentParser(description="Collects runs into one folder.")
    parser.add_argument("--dst", required=True, help="folder that receives the runs")
    parser.add_argument("--src_root", required=True, help="folder below which runs lie")
    parser.add_argument("--mode", choices=("symlink", "copy"), default="symlink")
    parser.add_argument(
        "--since",
        default="",
        help="only runs whose time, in their name or else that of their files, is not "
        "before YYYYMMDD-HHMMSS",
    )
    parser.add_argument("--match", default="", help="regular expression for the name")
    parser.add_argument("--glob", default="**", help="pattern of folders to look at")
    flags = parser.parse_args(arguments)
    try:
        done = merge(
            flags.dst, flags.src_root, flags.mode, flags.since, flags.match, flags.glob
        )
    except ValueError as error:
        print(f"merge_runs: {error}", file=sys.stderr)
        return 1
    print(f"{len(done)} runs in {flags.dst}")
    return 0


def merge(
    dst: str | os.PathLike,
    src_root: str | os.PathLike,
    mode: str = "symlink",
    since: str = "",
    match: str = "",
    glob: str = "**",
) -> list[pathlib.Path]:
    """Links or copies the TensorBoard folders of runs; prints a line for each.

    A run is a folder that holds TensorBoard's files, itself or in a folder tensorboard.
    Nothing that is there already is written over: all names are checked before the
    first one is made.

    Args:
        dst: folder that receives them; made when missing.
        src_root: folder below which runs lie.
        mode: "symlink" or "copy".
        since: only runs of this time or later, YYYYMMDD-HHMMSS; empty: all.
        match: regular expression that the path below src_root must hold; empty: all.
        glob: pattern of the folders below src_root.

    Returns:
        What was made.

    Raises:
        ValueError: no folder, a bad flag, or a name that is there already.
    """
    dst, root = pathlib.Path(dst), pathlib.Path(src_root).resolve()
    if not root.is_dir():
        raise ValueError(f"--src_root={src_root}: expected a folder, there is none")
    if since and not _STAMP.fullmatch(since):
        raise ValueError(f"--since={since}: expected YYYYMMDD-HHMMSS")
    try:
        pattern = re.compile(match)
    except re.error as error:
        raise ValueError(f"--match={match}: {error}") from error
    chosen = {}
    for run in find_runs(root, glob, dst.resolve()):
        name = run.relative_to(root).as_posix()
        if pattern.search(name) and (not since or time_of(run) >= since):
            target = dst / name.replace("/", "__") if run != root else dst / root.name
            if target in chosen:
                raise ValueError(f"{target}: two runs would have this name")
            chosen[target] = board_of(run)
    for target in chosen:
        if os.path.lexists(target):
            raise ValueError(f"{target}: is there already; nothing was written")
    dst.mkdir(parents=True, exist_ok=True)
    for target, board in chosen.items():
        if mode == "symlink":
            target.symlink_to(board, target_is_directory=True)
        else:
            shutil.copytree(board, target)
        print(f"{mode} {target} -> {board}")
    return list(chosen)


def find_runs(root: pathlib.Path, glob: str, skip: pathlib.Path) -> list[pathlib.Path]:
    """Returns the runs below a folder, in order of their names.

    Args:
        root: the folder.
        glob: pattern below it.
        skip: a folder that is not looked into.
    """
    found = set()
    for folder in (root, *root.glob(glob)):
        inside = folder.resolve() == skip or skip in folder.resolve().parents
        # the folder tensorboard belongs to the run above it
        own = folder.is_dir() and not inside and folder.name != "tensorboard"
        if own and any(board_of(folder).glob(EVENT_FILES)):
            found.add(folder)
    return sorted(found)


def board_of(run: pathlib.Path) -> pathlib.Path:
    """Returns the folder with TensorBoard's files of a run."""
    inner = run / "tensorboard"
    return inner if inner.is_dir() else run


def time_of(run: pathlib.Path) -> str:
    """Returns the time of a run as YYYYMMDD-HHMMSS, of its name or of its files."""
    stamps = _STAMP.findall(run.name)
    if stamps:
        return stamps[-1]
    import datetime

    files = [p.stat().st_mtime for p in board_of(run).glob(EVENT_FILES)]
    return datetime.datetime.fromtimestamp(max(files)).strftime("%Y%m%d-%H%M%S")


if __name__ == "__main__":
    sys.exit(main())
