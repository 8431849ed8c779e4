"""Replays golden files: ``python -m jaxphys.equivalence FILE.npz ...``."""

import argparse
import math
import sys

from jaxphys.equivalence.golden import Comparison, read
from jaxphys.equivalence.replay import replay


def _line(row: Comparison) -> str:
    verdict = "ok  " if row.ok else "MISS"
    if math.isnan(row.deviation):  # no number to speak of
        return f"  {verdict} {row.name:40s} {row.message}"
    text = f"  {verdict} {row.name:40s} deviation {row.deviation:9.3g}"
    text += f"  part of tolerance {row.part:9.3g}"
    return text + (f"  ({row.message})" if row.message else "")


def main(arguments: list[str]) -> int:
    """Replays every file and prints one line per output; returns the exit status.

    What a file lacks of the outputs of its case, and what it holds and nothing reads,
    has a line too.
    """
    parser = argparse.ArgumentParser(
        prog="python -m jaxphys.equivalence",
        description="Replay golden files of any system and compare with the record.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE.npz")
    parser.add_argument("--quiet", action="store_true", help="print misses only")
    options = parser.parse_args(arguments)
    failed = []
    largest = 0.0
    for path in options.files:
        try:
            rows = replay(read(path))
        except Exception as error:  # a case that fails must not hide the others
            failed.append(path)
            print(f"{path}\n  MISS {type(error).__name__}: {error}")
            continue
        good = all(row.ok for row in rows) and bool(rows)
        if not good:
            failed.append(path)
        largest = max([largest, *(row.part for row in rows)])
        if not (options.quiet and good):
            print(path)
            for row in rows:
                if not (options.quiet and row.ok):
                    print(_line(row))
    total = len(options.files)
    print(
        f"{total - len(failed)} of {total} files within tolerance; "
        f"largest part used {largest:.3g}"
    )
    for path in failed:
        print(f"missed: {path}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
