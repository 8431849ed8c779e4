"""What a run tells the user: TensorBoard, metrics.jsonl and a line of progress."""

import contextlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tqdm

from jaxphys.training.task import Progress

METRICS_FILE = "metrics.jsonl"


def read_metrics(folder: str | pathlib.Path) -> list[dict[str, Any]]:
    """Returns the entries that a run has written, in order.

    The line that a killed process was writing ends the list.

    Args:
      folder: of the run; without a log the list is empty.
    """
    path = pathlib.Path(folder) / METRICS_FILE
    found = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


class Writer:
    """Writes the scalars of a run to TensorBoard and to metrics.jsonl.

    Only one process of a run may write.
    """

    def __init__(self, folder: str | pathlib.Path):
        """Names the files; nothing is written yet.

        Args:
          folder: receives metrics.jsonl and the folder tensorboard.
        """
        self._folder = pathlib.Path(folder)
        self._open = contextlib.ExitStack()

    def start(self, keep_step: int | None = None) -> None:
        """Opens the files.

        Args:
          keep_step: of a resumed run, the step it resumes from: later entries are
            cut away. None starts the files afresh.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        first = 0 if keep_step is None else keep_step + 1
        path = self._folder / METRICS_FILE
        self._cut(path, first - 1)
        self._lines = self._open.enter_context(path.open("a"))
        import tensorboardX  # brings PyTorch along, seconds, where that is installed

        self._board = tensorboardX.SummaryWriter(
            str(self._folder / "tensorboard"),
            purge_step=first,
            # files of the same second would have the same name
            filename_suffix=f".{first}",
        )
        self._open.callback(self._board.close)

    @staticmethod
    def _cut(path: pathlib.Path, keep_step: int) -> None:
        if not path.exists():
            return
        kept = [
            json.dumps(entry) + "\n"
            for entry in read_metrics(path.parent)
            if entry["step"] <= keep_step
        ]
        draft = path.with_suffix(".draft")
        draft.write_text("".join(kept))
        os.replace(draft, path)  # a kill leaves one or the other

    def write(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes the scalars of one step; strings go to metrics.jsonl only."""
        self._lines.write(json.dumps({"step": step, **scalars}) + "\n")
        self._lines.flush()
        for name, value in scalars.items():
            if isinstance(value, (int, float)):
                self._board.add_scalar(name, value, step)

    def write_histogram(self, step: int, name: str, values: np.ndarray) -> None:
        """Writes a histogram to TensorBoard; an empty one is left out."""
        if values.size:
            self._board.add_histogram(name, values, step)

    def close(self) -> None:
        """Flushes and closes the files."""
        self._open.close()


class Console:
    """A progress bar on a terminal, plain lines at an interval elsewhere."""

    def __init__(self, rounds: int, *, plain: bool = False, seconds: float = 10.0):
        """Begins.

        Args:
          rounds: rounds of the whole run.
          plain: lines even on a terminal.
          seconds: time between lines.
        """
        self._rounds, self._seconds = rounds, seconds
        self._last = self._start = time.monotonic()
        self._text = ""
        terminal = sys.stderr.isatty() and not plain
        self._bar = tqdm.tqdm(total=rounds, unit="round") if terminal else None

    def update(
        self, progress: Progress, rounds: float, scalars: Mapping[str, Any] | None
    ) -> None:
        """Shows where the run stands.

        Args:
          progress: of the run.
          rounds: rounds done, with the fraction of the one under way.
          scalars: the latest evaluation, or None to keep the figures shown.
        """
        if scalars is not None:
            shown = {k: v for k, v in scalars.items() if isinstance(v, (int, float))}
            self._text = " ".join(f"{k} {v:.4g}" for k, v in list(shown.items())[:6])
        if self._bar is not None:
            self._bar.n = round(rounds, 2)
            self._bar.set_postfix_str(self._text, refresh=False)
            self._bar.update(0)
            return
        now = time.monotonic()
        done = progress.round >= self._rounds or bool(progress.stop)
        if now - self._last >= self._seconds or done:
            self._last = now
            print(
                f"round {rounds:.4g}/{self._rounds} step {progress.step} "
                f"{now - self._start:.0f} s {self._text}",
                file=sys.stderr,
                flush=True,
            )

    def say(self, line: str) -> None:
        """Prints a line, above the bar where there is one."""
        tqdm.tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()
