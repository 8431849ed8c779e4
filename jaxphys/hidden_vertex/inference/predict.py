"""A trained run: scores and codes of events of one's own."""

import dataclasses
import json
import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxphys.data.files import replace_file, write_json
from jaxphys.hidden_vertex.data.prepare import prepare
from jaxphys.hidden_vertex.data.reading import Reading
from jaxphys.hidden_vertex.data.store import Store, open_store
from jaxphys.hidden_vertex.inference.scored import Scored
from jaxphys.hidden_vertex.training.event_scores import ScoreStatistics
from jaxphys.hidden_vertex.training.network import Network, evaluate
from jaxphys.training import best as best_weights
from jaxphys.training.loaded import Loaded
from jaxphys.training.loop import FitResult
from jaxphys.training.task import Progress

NETWORK_FILE = "network.json"
STATISTICS_FILE = "score_statistics.npz"
_PREFIX = {"best": "", "last": "last_"}  # of the arrays in it


@dataclasses.dataclass(frozen=True, eq=False)
class Detector(Loaded):
    """A trained network with what its scores are measured against.

    Attributes:
      network: what the weights belong to.
      params: weights.
      statistics: of the training events.
      reading: how the training events were read from particles.
      metadata: of the run.
    """

    network: Network
    params: Any
    statistics: ScoreStatistics
    reading: Reading = dataclasses.field(default_factory=Reading)
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def predict(
        self,
        events: Store | str | os.PathLike,
        positions: Sequence[int] | np.ndarray | None = None,
    ) -> Scored:
        """Scores events.

        Args:
          events: a store made by `prepare` with what the network sees, its folder, or
            a raw file (with or without labels), which is prepared for the moment.
          positions: [E] events; None takes all.

        Returns:
          Labels (if there are any), row numbers, scores, codes [E, J, L], numbers of
          particles and observables (if the store holds them), in order.

        Raises:
          ValueError: an event has too few particles, or the store lacks something.
        """
        if not isinstance(events, Store):
            if (path := pathlib.Path(events)).is_dir():
                return self.predict(open_store(path), positions)
            recipe = self.reading.recipe((self.network.sees,))
            with tempfile.TemporaryDirectory() as folder:
                made = pathlib.Path(folder) / "store"
                store = prepare(path, made, recipe, allow_unlabelled=True)
                return self.predict(store, positions)
        store = events
        chosen = np.arange(len(store)) if positions is None else np.asarray(positions)
        sizes = store.sizes[chosen]
        least = self.network.least_particles
        few = np.flatnonzero(sizes < least)
        if len(few):
            raise ValueError(
                f"{store.folder}: event {store.event_id[chosen[few[0]]]}: expected at "
                f"least {least} particles, got {sizes[few[0]]} ({len(few)} such events)"
            )
        found = evaluate(self.network, self.params, store, chosen)
        scores = self.statistics.scores(found["score"], found["code"])
        named = {
            self.network.error_name: scores["nll"],
            "latent": scores["latent"],
            "combined": scores["combined"],
        }
        code = found["code"]
        return Scored(
            label=None if store.label is None else np.asarray(store.label[chosen]),
            event_id=np.asarray(store.event_id[chosen]),
            scores=named,
            headline=self.network.score,
            code=code.reshape(len(code), -1, code.shape[-1]),
            size=sizes,
            observables=observables_of(store, chosen),
        )


def observables_of(store: Store, positions: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the observables of events by name, [E] each; none if none are stored."""
    if store.observables is None:
        return {}
    values = np.asarray(store.observables[positions], np.float64)
    return dict(zip(store.meta["observables"], values.T, strict=True))


def statistics_of(
    network: Network, params: Any, store: Store, train: np.ndarray
) -> ScoreStatistics:
    """Takes the statistics of the scores of the training events.

    Args:
      network: what the weights belong to.
      params: weights.
      store: the events.
      train: [E] positions of the training events.
    """
    found = evaluate(network, params, store, train)
    return ScoreStatistics.of(found["score"], found["code"])


def save_network(
    workdir: str | pathlib.Path, network: Network, reading: Reading, **facts: Any
) -> None:
    """Writes what a run's network is, and facts about the run, into its workdir."""
    found = {"network": network.to_json(), "reading": dataclasses.asdict(reading)}
    write_json(pathlib.Path(workdir) / NETWORK_FILE, {**found, **facts})


def read_network(path: str | pathlib.Path) -> dict[str, Any]:
    """Reads what `save_network` wrote.

    Raises:
      ValueError: it is no JSON.
    """
    try:
        return json.loads(pathlib.Path(path).read_text())
    except ValueError as error:
        raise ValueError(f"{path}: damaged: {error}") from error


def open_network(workdir: str | pathlib.Path) -> Network:
    """Returns what a run's network is, without its weights.

    Raises:
      ValueError: there is no run.
    """
    path = pathlib.Path(workdir) / NETWORK_FILE
    if not path.is_file():
        raise ValueError(f"{workdir}: no {NETWORK_FILE}: not a run, or not begun")
    return Network.from_json(read_network(path)["network"])


def take_statistics(
    workdir: str | pathlib.Path,
    network: Network,
    result: FitResult,
    store: Store,
    train: np.ndarray,
) -> None:
    """Takes the statistics of a finished training and writes them into its workdir.

    Those of the best weights and, where they are others, those of the last ones.
    """
    found, progress = {}, result.progress
    if best_weights.exists(progress) and progress.extra["best_step"] < progress.step:
        found["last"] = statistics_of(network, result.last.params, store, train)
    found["best"] = statistics_of(network, result.best.params, store, train)
    save_statistics(workdir, found, progress.step)


def save_statistics(
    workdir: str | pathlib.Path, found: Mapping[str, ScoreStatistics], step: int
) -> None:
    """Writes the statistics of a run at a step: "best" and maybe "last"."""
    arrays = {
        f"{_PREFIX[weights]}{name}": array
        for weights, statistics in found.items()
        for name, array in statistics.to_arrays().items()
    }
    with replace_file(pathlib.Path(workdir) / STATISTICS_FILE) as file:
        np.savez(file, allow_pickle=False, step=step, **arrays)


def load(workdir: str | pathlib.Path, weights: str = "best") -> Detector:
    """Loads the trained network of a run.

    Args:
      workdir: of the run.
      weights: "best" by the validation loss, the last ones while there are none; or
        "last".

    Raises:
      ValueError: there is no run, or its training has not come to its end.
    """
    folder = pathlib.Path(workdir)
    for name in (NETWORK_FILE, STATISTICS_FILE):
        if not (folder / name).is_file():
            raise ValueError(
                f"{folder}: no {name}: not a run, or its training has not come to its "
                "end (the command that began it goes on with it)"
            )
    described = read_network(folder / NETWORK_FILE)
    network = Network.from_json(described.pop("network"))
    reading = Reading(**described.pop("reading"))
    found, progress = best_weights.read_weights(folder, weights)
    statistics = _read_statistics(folder, found.weights, progress)
    facts = {**described, "step": progress.step, "history": progress.history}
    facts |= found.facts()
    return Detector(network, found.params, statistics, reading, facts)


def _read_statistics(
    folder: pathlib.Path, weights: str, progress: Progress
) -> ScoreStatistics:
    """Returns the statistics that belong to the best or the last weights of a run."""
    try:
        arrays = dict(np.load(folder / STATISTICS_FILE, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"{folder / STATISTICS_FILE}: damaged; remove it and --mode=train, which "
            "makes it anew"
        ) from error
    step, latest = int(arrays["step"]), progress.step
    if step != latest:
        raise ValueError(
            f"{folder / STATISTICS_FILE}: belongs to step {step}, the latest "
            f"checkpoint is of step {latest}: train to the end"
        )
    prefix = _PREFIX[weights]
    if f"{prefix}nll_scale" not in arrays:
        if progress.extra.get("best_step") not in (-1, latest):
            raise ValueError(
                f"{folder / STATISTICS_FILE}: holds no statistics of the last weights; "
                "remove it and --mode=train, which makes it anew"
            )
        prefix = ""  # the best are the last
    own = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    return ScoreStatistics.from_arrays(own)


def write_prediction(path: str | pathlib.Path, scored: Scored) -> None:
    """Writes scores to Parquet, a row per event.

    Columns: event_id, label (if known), size, score (the leading one), a column
    `score_<name>` per score, code (a list), and the observables.
    """
    columns: dict[str, Any] = {"event_id": scored.event_id}
    if scored.label is not None:
        columns["label"] = scored.label
    columns |= {"size": scored.size, "score": scored.score}
    columns |= {f"score_{name}": s for name, s in scored.scores.items()}
    if scored.code is not None:
        flat = scored.code.reshape(len(scored), -1)
        width = flat.shape[1]
        values = pa.array(flat.astype(np.float32).reshape(-1))
        columns["code"] = pa.FixedSizeListArray.from_arrays(values, width)
    columns |= dict(scored.observables)
    with replace_file(path) as file:
        pq.write_table(pa.table(columns), file)
