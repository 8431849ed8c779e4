"""The report of a run: report.html in one file, report.json, figures/*.png."""

import base64
import dataclasses
import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxphys.report import figures
from jaxphys.report.figures import Picture
from jaxphys.report.tables import Column, Table, format_number

_HERE = pathlib.Path(__file__).parent
# one scale for all figures, so that their text has one size; 11 inches fill the page
_PIXELS_PER_INCH = 92
_PACKAGES = ("jaxphys", "jax", "jaxlib", "flax", "optax", "numpy")


@dataclasses.dataclass(frozen=True)
class Section:
    """One section of a report: text, then figures, then tables."""

    title: str
    text: str
    figures: tuple[Picture, ...]
    tables: tuple[Table, ...]

    @property
    def anchor(self) -> str:
        """The name that the contents list links to."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def blocks(self) -> list[list[str] | str]:
        """The text as paragraphs (text) and lists (list of items)."""
        blocks = []
        for block in re.split(r"\n\s*\n", self.text.strip()):
            lines = [line.strip() for line in block.splitlines() if line.strip()]
            if lines and all(line.startswith("- ") for line in lines):
                blocks.append([line[2:] for line in lines])
            elif lines:
                blocks.append(" ".join(lines))
        return blocks


@dataclasses.dataclass(frozen=True)
class RunPage:
    """What every page says of its run, and where it is written.

    Attributes:
        folder: receives report.html, report.json and figures/; made when missing.
        history: scalars of every evaluation, a mapping each (or columns by name); see
            `jaxphys.training.writer.read_metrics`.
        command: the command line that made the page.
        flags: the flags of the run, one `--name=value` per line.
        timings: seconds by stage, in order.
        weights: where the weights come from; see `Report`.
    """

    folder: str | os.PathLike
    history: Any = ()
    command: str = ""
    flags: str = ""
    timings: Mapping[str, float] = dataclasses.field(default_factory=dict)
    weights: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def open(self, title: str, subtitle: str = "") -> "Report":
        """Returns the report of the run, with nothing in it yet."""
        return Report(
            title,
            subtitle,
            command=self.command,
            flags=self.flags,
            timings=self.timings,
            weights=self.weights,
        )


class Report:
    """Collects what a run found and writes it as one page and one JSON file.

    Args:
        title: the name of the page.
        subtitle: one sentence below the title.
        command: the command line that made the run.
        flags: the flags of the run, one `--name=value` per line.
        timings: seconds by stage, in order.
        weights: where the weights come from: weights ("best" or "last"), weights_step,
            weights_phase and maybe more, which is left out.
    """

    def __init__(
        self,
        title: str,
        subtitle: str = "",
        *,
        command: str = "",
        flags: str = "",
        timings: Mapping[str, float] | None = None,
        weights: Mapping[str, Any] | None = None,
    ):
        self.title = title
        self.subtitle = subtitle
        self.command = command
        self.flags = flags
        self.timings = dict(timings or {})
        self.weights = _weights(weights or {})
        self.highlights: list[tuple[str, Any, str]] = []
        self.numbers: dict[str, Any] = {}
        self.sections: list[Section] = []

    def add_highlight(self, label: str, value: Any, unit: str = "") -> None:
        """Adds one of the few numbers that stand large on top of the page."""
        self.highlights.append((label, value, unit))

    def add_numbers(self, numbers: Mapping[str, Any]) -> None:
        """Adds numbers, arrays or nested mappings of them to report.json."""
        self.numbers.update(numbers)

    def add_section(
        self,
        title: str,
        text: str = "",
        figures: Sequence[Picture] = (),
        tables: Sequence[Table] = (),
    ) -> None:
        """Adds a section.

        Args:
            title: the heading.
            text: plain text; an empty line ends a paragraph, lines that begin with
                "- " make a list.
            figures: the pictures, below the text.
            tables: the tables, below the pictures.

        Raises:
            ValueError: a section or picture of that name is there already, or a
                picture's name cannot be a file name.
        """
        section = Section(title, text, tuple(figures), tuple(tables))
        if section.anchor in {s.anchor for s in self.sections}:
            raise ValueError(f"report {self.title!r}: section {title!r} is there twice")
        used = {p.name for s in self.sections for p in s.figures}
        for picture in section.figures:
            if picture.name in used or not re.fullmatch(r"[\w.-]+", picture.name):
                raise ValueError(
                    f"section {title!r}: expected a new picture name of letters, "
                    f"digits, '_', '-', got {picture.name!r}"
                )
            used.add(picture.name)
        self.sections.append(section)

    def write(self, directory: str | os.PathLike) -> dict[str, Any]:
        """Writes report.html, report.json and figures/*.png.

        Args:
            directory: where to write; made when missing.

        Returns:
            The content of report.json.
        """
        directory = pathlib.Path(directory)
        (directory / "figures").mkdir(parents=True, exist_ok=True)
        images = {}
        for picture in (p for s in self.sections for p in s.figures):
            if picture.figure is not None:
                image = figures.png(picture.figure)
                (directory / "figures" / f"{picture.name}.png").write_bytes(image)
                images[picture.name] = base64.b64encode(image).decode("ascii")
        facts = {
            "created": datetime.datetime.now().astimezone().isoformat("T", "seconds"),
            "revision": git_revision(),
            "environment": environment(),
        }
        html = self._html(images, facts)
        (directory / "report.html").write_text(html, encoding="utf-8")
        content = self._json(facts)
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (directory / "report.json").write_text(text + "\n", encoding="utf-8")
        return content

    def _html(self, images: Mapping[str, str], facts: Mapping[str, Any]) -> str:
        import jinja2

        pages = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        pages.filters["number"] = format_number
        return pages.get_template("report.html.jinja").render(
            report=self,
            images=images,
            widths=self._widths(),
            facts=facts,
            timings=self._timings_table(),
            surroundings=_environment_table(facts),
        )

    def _widths(self) -> dict[str, int]:
        return {
            p.name: round(p.figure.get_figwidth() * _PIXELS_PER_INCH)
            for s in self.sections
            for p in s.figures
            if p.figure is not None
        }

    def _timings_table(self) -> Table:
        total = sum(self.timings.values())
        rows: list[tuple[Any, ...]] = [
            (stage, seconds, 100 * seconds / total if total else None)
            for stage, seconds in self.timings.items()
        ]
        if rows:
            rows.append(("sum", total, 100.0 if total else None))
        return Table(
            "Wall time of each stage before this report was made.",
            ["stage", Column("time", "s"), Column("share", "%")],
            rows,
            emphasis=[len(rows) - 1],
            empty="No stage of this run was timed.",
        )

    def _json(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        content = {
            "title": self.title,
            "subtitle": self.subtitle,
            **facts,
            "command": self.command,
            "flags": self.flags.splitlines(),
            "timings_s": self.timings,
            "weights": self.weights,
            "highlights": {
                f"{label} [{unit}]" if unit else label: value
                for label, value, unit in self.highlights
            },
            "numbers": self.numbers,
            "sections": [_section_json(s) for s in self.sections],
        }
        plain, lost = to_json(content)
        # JSON has no NaN: a null is explained here, with its place
        return {**plain, "not_finite": lost}


def _weights(found: Mapping[str, Any]) -> dict[str, Any]:
    names = {"weights": "which", "weights_step": "step", "weights_phase": "phase"}
    return {new: found[name] for name, new in names.items() if name in found}


def _section_json(section: Section) -> dict[str, Any]:
    return {
        "title": section.title,
        "text": section.text,
        "figures": [
            {
                "caption": p.caption,
                **(
                    {"file": f"figures/{p.name}.png"}
                    if p.figure is not None
                    else {"reason": p.reason}
                ),
            }
            for p in section.figures
        ],
        "tables": [
            {"caption": t.caption, "rows": t.records(), "notes": list(t.notes)}
            for t in section.tables
        ],
    }


def to_json(content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns numbers, arrays, texts and containers of them as strict JSON has them.

    Args:
        content: nested mappings, sequences, numpy or jax arrays, numbers, texts.

    Returns:
        The content with null for every number that is not finite, and the places of
        these (keys joined by "/") with what stood there.

    Raises:
        ValueError: an entry is nothing of the above.
    """
    lost: dict[str, str] = {}
    return {str(k): _plain(v, str(k), lost) for k, v in content.items()}, lost


def _plain(value: Any, place: str, lost: dict[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v, f"{place}/{k}", lost) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v, f"{place}/{i}", lost) for i, v in enumerate(value)]
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__"):
        return _plain(np.asarray(value).tolist(), place, lost)
    if isinstance(value, float) and not math.isfinite(value):
        lost[place] = str(value)
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"report.json, {place}: expected a number, text or container of "
                     f"them, got {type(value).__name__}")  # fmt: skip


def environment() -> dict[str, Any]:
    """Returns the versions and the hardware that a number depends on."""
    import jax

    devices = jax.devices()
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(affinity(0)) if affinity else os.cpu_count(),
        "devices": [f"{d.platform}: {d.device_kind}" for d in devices],
    }


def _environment_table(facts: Mapping[str, Any]) -> Table:
    found = facts["environment"]
    kinds = {kind: found["devices"].count(kind) for kind in found["devices"]}
    rows = [
        ("date", facts["created"]),
        ("revision", facts["revision"] or "no git revision"),
        ("python", found["python"]),
        *((name, version) for name, version in found["packages"].items()),
        ("system", found["system"]),
        ("cpu", found["cpu"]),
        ("cores", f"{found['cores']}, of which usable {found['usable_cores']}"),
        ("devices of jax", ", ".join(f"{n} × {kind}" for kind, n in kinds.items())),
    ]
    return Table("Software and hardware of this run.", ["what", "value"], rows)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpu_model() -> str:
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1) if found else platform.processor() or "unknown"


def git_revision(directory: str | os.PathLike = _HERE) -> str:
    """Returns the git revision of the tracked source in a folder.

    Args:
        directory: a folder; by default the one of this package.

    Returns:
        The short hash, with "-dirty" when files differ from it; empty when the folder
        holds no tracked file (an installed package) or git is missing.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(directory), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        return git("describe", "--always", "--dirty") if git("ls-files") else ""
    except (OSError, subprocess.TimeoutExpired):
        return ""
