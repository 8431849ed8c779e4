"""What the library does today, to be compared with what it does after a change.

`python -m tests.campaigns.baseline` runs two flagfiles of every system, replays the
recorded cases, counts lines and times the tests, and writes `baseline.json` beside this
file; with `--compare` it runs the same again and prints what differs. Both run from the
root of a checkout. Numbers must be equal to the last digit on one processor;
another one rounds otherwise: there, make the baseline anew from its commit
(`git worktree add`, `PYTHONPATH`), or allow `--rtol`.
"""

import argparse
import ast
import io
import json
import math
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
import tokenize
from collections.abc import Iterator, Mapping
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
FILE = pathlib.Path(__file__).with_suffix(".json")
PARTS = ("lines", "replay", "runs", "tests")

# the second flagfile of a system is cut short where it would take an hour, or needs
# data that the project does not bring
RUNS = {
    "track_extrapolator quickstart": ["track_extrapolator/flags/quickstart.flags"],
    "track_extrapolator pipeline_test": [
        "track_extrapolator/flags/pipeline_test.flags"
    ],
    "hidden_vertex quickstart": ["hidden_vertex/flags/quickstart.flags"],
    "hidden_vertex smoke": ["hidden_vertex/flags/smoke.flags"],
    "cr_muons quickstart": ["cr_muons/flags/quickstart.flags"],
    "cr_muons seed": [
        "cr_muons/flags/seed.flags",
        "--n_showers=6000",
        "--epochs=1",
        "--eval_every=1 rounds",
        "--val_fraction=0.2",
    ],
    "gdynet quickstart": ["gdynet/flags/quickstart.flags"],
    "gdynet toy_a": ["gdynet/flags/toy_a.flags"],
    "hypertrack quickstart": ["hypertrack/flags/quickstart.flags"],
    "hypertrack mu2": [
        "hypertrack/flags/mu2.flags",
        "--data=",  # the events of the package
        "--voxel_event_end=20",
        "--event_start=21",
        "--event_end=36",
        "--event_val_start=37",
        "--event_val_end=45",
        "--rfactor_start=0.5",
        "--rfactor_end=0.5",
        "--ncell=4096",
        "--iterations=60",
        "--scheduler_period=60",
        "--eval_every=30 steps",
    ],
}

# What two runs of one tree may differ in, by the name of a field, and why.
MAY_DIFFER = {
    "created": "date",
    "revision": "commit",
    "environment": "versions, processor and memory",
    "timings_s": "wall time of the stages",
    "seconds": "wall time of a stage of an event",
    "cpu_seconds": "CPU time of it",
    "peak_bytes": "memory of the process",
    "steps_per_second": "speed of the training",
    "input_wait": "part of the time that the loop waited",
    "speed": "rates of training and generation",
    "throughput": "the same",
    r"time_per_track_us_\d+": "time of a prediction",
    r".*\[(|[^\]]*[ /])(s|ms|µs|µs/track|min/epoch|GiB)\]|.*/s\]": "columns of these",
    "value": "rows of tables that name these; the numbers are compared above",
    "text": "sentences with these",
}
_ALLOWED = re.compile("|".join(f"(?:{name})" for name in MAY_DIFFER))
_ELAPSED = re.compile(r" after \d+ s$")


def main(arguments: list[str]) -> int:
    """Makes the baseline, or compares with it; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns.baseline", description=__doc__
    )
    parser.add_argument("--compare", action="store_true", help="run, print differences")
    parser.add_argument("--only", default=",".join(PARTS), help="comma list of parts")
    parser.add_argument("--runs", default="", help="pattern of the names of runs")
    parser.add_argument("--golden", default="../shared/golden", help="recorded cases")
    parser.add_argument("--rtol", type=float, default=0.0, help="of numbers")
    parser.add_argument("--file", type=pathlib.Path, default=FILE)
    options = parser.parse_args(arguments)
    found: dict[str, Any] = {}
    if not options.compare and options.file.is_file():
        found = json.loads(options.file.read_text())
    found["machine"] = machine()
    with tempfile.TemporaryDirectory() as work:
        for part, name, value in measured(options, pathlib.Path(work)):
            found.setdefault(part, {})[name] = value
            if not options.compare:
                write(options.file, found)
    if not options.compare:
        return 0
    lines = list(differences(json.loads(options.file.read_text()), found, options.rtol))
    print("\n".join(lines) if lines else "nothing differs")
    return 1 if any(line.startswith("DIFFERS") for line in lines) else 0


def write(path: pathlib.Path, found: Mapping[str, Any]) -> None:
    """Writes the baseline, one line for each entry so that a diff can be read."""
    parts = [
        f'"{part}": {{\n'
        + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in entries.items())
        + "\n}"
        for part, entries in found.items()
    ]
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def machine() -> dict[str, Any]:
    """Returns what digits and times depend on."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    fields = dict(re.findall(r"^([\w ]+?)\s*:\s*(.*)$", text, re.MULTILINE))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        "cpu": f"{fields.get('model name')}, family {fields.get('cpu family')}, "
        f"model {fields.get('model')}",
        "avx512": "avx512f" in fields.get("flags", ""),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
    }


def measured(
    options: argparse.Namespace, work: pathlib.Path
) -> Iterator[tuple[str, str, Any]]:
    """Yields part, name and value of each entry, in order of their cost."""
    parts = options.only.split(",")
    if "lines" in parts:
        for folder in ("jaxphys", "experiments", "tests"):
            yield "lines", folder, lines_of(ROOT / folder)
    if "replay" in parts:
        for path in sorted(pathlib.Path(options.golden).glob("*/")):
            yield "replay", path.name, replayed(path)
    if "runs" in parts:
        for name in RUNS:
            if re.search(options.runs, name):
                yield "runs", name, run_of(name, work)
    if "tests" in parts:
        cache = f"cache_dir={work}/pytest_cache"  # cold, as in a fresh clone
        yield "tests", "pytest", tested(["-o", cache])
        yield "tests", "pytest -m slow -n 0", tested(["-o", cache, "-m", "slow", "-n0"])


def lines_of(folder: pathlib.Path) -> dict[str, int]:
    """Returns the lines of code, docstrings, comments and without text."""
    total = {"files": 0, "code": 0, "docstrings": 0, "comments": 0, "blank": 0}
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text()
        inside: set[int] = set()
        for node in ast.walk(ast.parse(text)):
            documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
            if isinstance(node, documented) and ast.get_docstring(node):
                first = node.body[0]
                inside |= set(range(first.lineno, (first.end_lineno or 0) + 1))
        comments, code = set(), set()
        layout = tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            rows = set(range(token.start[0], token.end[0] + 1))
            if token.type == tokenize.COMMENT:
                comments |= rows
            elif token.type not in (*layout, tokenize.ENDMARKER):
                code |= rows
        code -= inside
        total["files"] += 1
        total["code"] += len(code)
        total["docstrings"] += len(inside)
        total["comments"] += len(comments - code - inside)
        total["blank"] += len(text.splitlines()) - len(code | comments | inside)
    return total


def replayed(folder: pathlib.Path) -> dict[str, Any]:
    """Returns what the replay tool prints of each recorded case of a system."""
    files = sorted(str(path) for path in folder.glob("*.npz"))
    done = called(["-m", "jaxphys.equivalence", *files], may_fail=True)
    cases: dict[str, list[str]] = {}
    for line in done["output"].splitlines():
        if line in files:
            name = pathlib.Path(line).name
            cases[name] = []
        elif line.startswith("  "):
            cases[name].append(" ".join(line.split()))
    found = {"status": done["status"], "last_line": done["last_line"], "cases": cases}
    return plain(found, str(folder.parent), "GOLDEN")


def run_of(name: str, work: pathlib.Path) -> dict[str, Any]:
    """Runs a flagfile from nothing to its report."""
    system, _ = name.split()
    module = f"experiments.{system}"
    flagfile, *flags = RUNS[name]
    folder = work / name.replace(" ", "_")
    command = [
        f"--flagfile=experiments/{flagfile}",
        *flags,
        f"--workdir={folder}",
    ]
    done = called(["-m", module, *command])
    del done["output"]
    report = json.loads((folder / "report" / "report.json").read_text())
    return plain(
        {"command": shlex.join(["python", "-m", module, *command]), **done}
        | {"report": report},
        str(work),
    )


def called(arguments: list[str], may_fail: bool = False) -> dict[str, Any]:
    """Runs a Python command at the root; its errors end the campaign."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and not may_fail:
        raise RuntimeError(f"{shlex.join(arguments)}: {done.stderr[-3000:]}")
    lines = done.stdout.strip().splitlines()
    return {
        "status": done.returncode,
        "wall_s": round(time.monotonic() - begin, 1),
        "last_line": lines[-1] if lines else "",
        "output": done.stdout,
    }


def tested(options: list[str]) -> dict[str, Any]:
    """Runs pytest and returns its counts and time."""
    done = called(["-m", "pytest", "-q", "--no-header", *options], may_fail=True)
    fell = re.findall(r"^(?:FAILED|ERROR) (\S+)", done["output"], re.MULTILINE)
    return {**{k: v for k, v in done.items() if k != "output"}, "fell": fell}


def plain(value: Any, place: str, name: str = "WORK") -> Any:
    """Returns a report in which a place of this machine has a name."""
    return json.loads(json.dumps(value).replace(place, name))


def flat(value: Any, place: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Returns nested lists and mappings as {place: number or text}."""
    if isinstance(value, list):
        value = {str(index): item for index, item in enumerate(value)}
    if not isinstance(value, Mapping):
        return {place: value}
    found = {}
    for key, item in value.items():
        found |= flat(item, (*place, key))
    return found


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], rtol: float
) -> Iterator[str]:
    """Yields a line for everything that differs; times and lines side by side."""
    if old["machine"]["cpu"] != new["machine"]["cpu"]:
        yield f"other processor: {old['machine']['cpu']}, {new['machine']['cpu']}"
    for part in ("lines", "tests"):
        for name, value in new.get(part, {}).items():
            yield f"{part} {name}: {old.get(part, {}).get(name)} -> {value}"
    for part in ("replay", "runs"):
        for name, value in new.get(part, {}).items():
            before = old.get(part, {}).get(name, {})
            if "wall_s" in value:
                yield f"{name}: {before.get('wall_s')} s -> {value['wall_s']} s"
            one, two = flat(comparable(before)), flat(comparable(value))
            for place in {**one, **two}:
                if place == ("wall_s",) or any(map(_ALLOWED.fullmatch, place)):
                    continue
                first, second = one.get(place, "nothing"), two.get(place, "nothing")
                if not equal(first, second, rtol):
                    where = "/".join(place)
                    yield f"DIFFERS {name}: {where}: {first!r} -> {second!r}"


def comparable(run: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an entry whose flags have names and whose last line has no time."""
    found = dict(run)
    if "report" in found:
        flags = {name.split("=")[0]: name for name in found["report"]["flags"]}
        found["report"] = {**found["report"], "flags": flags}
        found["last_line"] = _ELAPSED.sub("", found["last_line"])
    return found


def equal(one: Any, two: Any, rtol: float) -> bool:
    """Returns whether two texts are the same, or two numbers within a tolerance."""
    numbers = all(isinstance(side, float) for side in (one, two))
    if numbers and rtol:
        return math.isclose(one, two, rel_tol=rtol, abs_tol=rtol)
    return one == two


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
