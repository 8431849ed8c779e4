"""What the network of a run is: its model, its objective and the batches it reads."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.data.batches import ArrayBatches, Batches, Order
from jaxphys.hidden_vertex.batches import GraphBatches
from jaxphys.hidden_vertex.data.store import Store
from jaxphys.hidden_vertex.model import conditional, model
from jaxphys.hidden_vertex.model.settings import KINDS, VIEWS
from jaxphys.hidden_vertex.training import losses, step

PyTree = Any
LOSSES = (*step.GRAPH_LOSSES, "nll")
SCORES = ("combined", "latent", "nll", "error")
_DTYPES = {"bfloat16": jnp.bfloat16, "float64": jnp.float64}
# (kind, view) -> what a flag that is not given means
_DEFAULTS: dict[tuple[str, str], dict[str, Any]] = {
    ("seed", ""): {
        "latent_dim": 10,
        "hidden": (64, 32),
        "decoder_hidden": (64,),
        "loss": "mse",
        "score": "error",
    },
    ("node", ""): {
        "graph": "radius",
        "latent_dim": 1,
        "hidden": (16, 8),
        "dropout": 0.1,
        "loss": "pt_only",
        "score": "error",
        "score_reduction": "max",
        "score_features": "pt",
    },
    ("conditional", "jets"): {"latent_dim": 6, "loss": "nll", "score": "combined"},
    ("conditional", "event"): {"latent_dim": 10, "loss": "mse", "score": "combined"},
    ("conditional", "gcn"): {
        "latent_dim": 10,
        "hidden": (64, 32),
        "decoder_hidden": (64, 64),
        "loss": "pt_only",
        "score": "combined",
        "score_features": "pt",
    },
}
_ALL = {"graph": "knn", "dropout": 0.0, "score_reduction": "mean"}
_ALL["score_features"] = "all"


@dataclasses.dataclass(frozen=True)
class Network:
    """A model and all that is needed to use it, without its weights.

    Attributes:
      kind: "seed", "node" or "conditional".
      view: "jets", "event" or "gcn" of a conditional one, else "".
      graph: "knn" or "radius", of those that see graphs.
      latent_dim: width of the code.
      hidden: widths of the graph convolutions.
      decoder_hidden: widths of the decoder's hidden layers.
      encoder_mlp: widths of dense layers in front of the code.
      dropout: rate.
      loss: one of `LOSSES`.
      loss_weights: of log pT, eta, phi in "weighted".
      chamfer_max_nodes: see `step.GraphObjective`.
      score: which of an event's scores leads.
      score_reduction: "mean" or "max" over particles.
      score_features: "all" or "pt".
      precision: of the arithmetic.
      mean, std: the features are standardised with them; () leaves them as they are.
    """

    kind: str
    view: str
    graph: str
    latent_dim: int
    hidden: tuple[int, ...]
    decoder_hidden: tuple[int, ...]
    encoder_mlp: tuple[int, ...]
    dropout: float
    loss: str
    loss_weights: tuple[float, ...]
    chamfer_max_nodes: int
    score: str
    score_reduction: str
    score_features: str
    precision: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """What it is, in words."""
        return self.kind if not self.view else f"{self.kind} ({self.view})"

    @classmethod
    def of(
        cls,
        kind: str,
        *,
        view: str = "jets",
        loss_weights: tuple[float, ...] = losses.FEATURE_WEIGHTS,
        chamfer_max_nodes: int = step.CHAMFER_MAX_NODES,
        precision: str = "float32",
        **chosen: Any,
    ) -> "Network":
        """Fills in what is not chosen (empty, 0 or None) with the kind's defaults.

        Raises:
          ValueError: an unknown name, or choices that do not go together.
        """
        view = view if kind == "conditional" else ""
        if (kind, view) not in _DEFAULTS:
            raise ValueError(
                f"--model={kind!r} --view={view!r}: expected one of {', '.join(KINDS)} "
                f"and one of {', '.join(VIEWS)}"
            )
        own = {"hidden": (), "decoder_hidden": (), "encoder_mlp": (), **_ALL}
        own |= _DEFAULTS[kind, view]
        for name, value in chosen.items():
            if name not in own:
                raise TypeError(f"unknown choice {name!r}")
            if (
                value is not None
                and value not in ("", ())
                and (value or name == "dropout")
            ):
                own[name] = value
        found = cls(
            kind=kind,
            view=view,
            loss_weights=tuple(loss_weights),
            chamfer_max_nodes=chamfer_max_nodes,
            precision=precision,
            **own,
        )
        found._check(chosen)
        return found

    def _check(self, chosen: Mapping[str, Any]) -> None:
        sets = self.sees in ("jets", "event")
        allowed = {"jets": ("nll",), "event": ("mse", "nll")}.get(
            self.sees, ("pt_only",) if self.view == "gcn" else step.GRAPH_LOSSES
        )
        name = f"--model={self.kind}" + (f" --view={self.view}" if self.view else "")
        if self.loss not in allowed:
            raise ValueError(
                f"--loss={self.loss!r}: {name} takes one of {', '.join(allowed)}"
            )
        if self.score not in (self.error_name, "latent", "combined"):
            raise ValueError(
                f"--score={self.score!r}: {name} has {self.error_name}, latent and "
                "combined"
            )
        refused = {"graph", "hidden", "decoder_hidden", "encoder_mlp", "dropout"}
        refused |= {"score_reduction", "score_features"}
        if self.kind == "node":
            refused = {"decoder_hidden", "encoder_mlp"}
            if len(self.hidden) != 2:
                raise ValueError(f"--hidden_layers={self.hidden}: {name} takes two")
        elif not sets:
            refused = set()
        given = sorted(n for n in refused if chosen.get(n))
        if given:
            flags = ", ".join(f"--{_FLAGS.get(n, n)}" for n in given)
            raise ValueError(f"{flags}: not of {name}")

    @property
    def sees(self) -> str:
        """What a batch holds: "jets", "event", or the graph, "knn" or "radius"."""
        return self.view if self.view in ("jets", "event") else self.graph

    @property
    def error_name(self) -> str:
        """Name of the score that the loss of an event is."""
        return "nll" if self.loss == "nll" else "error"

    @property
    def has_floor(self) -> bool:
        """Whether the variance inside of events bounds the loss from below."""
        return self.kind == "seed" and self.loss == "mse"

    @property
    def least_particles(self) -> int:
        """Events of fewer particles are left out."""
        return 2 if self.kind == "node" else 1

    def model(self) -> Any:
        """Returns the flax module."""
        dtype = _DTYPES.get(self.precision)
        if self.sees in ("jets", "event"):
            outputs = 2 if self.loss == "nll" else 1
            return conditional.ConditionalAutoencoder(
                self.latent_dim, outputs, dtype=dtype
            )
        if self.kind == "node":
            first, second = self.hidden
            return model.NodeAutoencoder(
                (first, second), self.latent_dim, self.dropout, dtype=dtype
            )
        made = {
            "seed": model.SeedAutoencoder,
            "conditional": conditional.ConditionalGraphAutoencoder,
        }[self.kind]
        return made(
            hidden=self.hidden,
            latent_dim=self.latent_dim,
            decoder_hidden=self.decoder_hidden,
            encoder_mlp=self.encoder_mlp,
            dropout=self.dropout,
            dtype=dtype,
        )

    def objective(
        self, grad_clip_norm: float = 0.0, batch_mean: bool = False
    ) -> step.Objective:
        """Returns what is minimised, which is what scores an event too."""
        return step.Objective(self._evaluate(), grad_clip_norm, batch_mean)

    def _evaluate(self) -> step.Evaluate:
        if self.sees in ("jets", "event"):
            return step.SetObjective(self.model(), self.view)
        score = "pt_only" if self.score_features == "pt" else "mse"
        return step.GraphObjective(
            self.model(),
            self.loss,
            self.loss_weights,
            self.chamfer_max_nodes,
            score,
            self.score_reduction,
        )

    def init(self, key: jax.Array) -> PyTree:
        """Draws weights."""
        kind = jnp.float64 if self.precision == "float64" else jnp.float32
        if self.sees in ("jets", "event"):
            view = step.VIEWS[self.view](jnp.ones((1, 2, 3), kind))
            return self.model().init(key, view)["params"]
        nothing = jnp.zeros(2, jnp.int32)
        part = {
            "x": jnp.zeros((2, 3), kind),
            "graph_index": nothing,
            "n_node": jnp.array([2, 0]),
            "weight": jnp.ones(2),
            "senders": nothing,
            "receivers": nothing,
        }
        return self.model().init(key, part)["params"]

    def batches(
        self,
        store: Store,
        positions: np.ndarray,
        batch_size: int,
        order: Order,
        *,
        parts: int = 1,
        node_budget: int = 0,
        on_device: bool = False,
    ) -> Batches:
        """Returns batches of some events of a store.

        Args:
          store: with what the network sees.
          positions: [E] events.
          batch_size: events of a global batch.
          order: epoch -> permutation of the E events.
          parts: devices that a batch of graphs is split over.
          node_budget: see `GraphBatches`.
          on_device: keep the events on the device.
        """
        if self.sees in ("jets", "event"):
            array = store.jets if self.sees == "jets" else store.event
            if array is None:
                raise ValueError(
                    f"{store.folder}: holds no {self.sees} view: prepare it with "
                    f"--contents={self.sees}"
                )
            rows = array[positions] if on_device else Rows(array, positions)
            arrays: Any = {self.sees: rows}
            return ArrayBatches(arrays, batch_size, order, on_device)
        return GraphBatches(
            store,
            positions,
            batch_size,
            order,
            parts,
            self.graph,
            node_budget,
            mean=np.array(self.mean) if self.mean else None,
            std=np.array(self.std) if self.std else None,
            on_device=on_device and self.graph == "knn",
        )

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Network":
        """Inverts `to_json`."""
        listed: dict[str, Any] = dict(found)
        for name, value in found.items():
            listed[name] = tuple(value) if isinstance(value, list) else value
        return cls(**listed)


_FLAGS = {"hidden": "hidden_layers"}


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of an array on disk, read when they are indexed.

    Attributes:
      array: [N, ...].
      positions: [E] the rows.
    """

    array: np.ndarray
    positions: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.array[self.positions[rows]]


def bytes_on_device(network: Network, store: Store, positions: np.ndarray) -> int:
    """Returns what the events need if they stay on the device."""
    if network.sees in ("jets", "event"):
        array = store.jets if network.sees == "jets" else store.event
        return 0 if array is None else len(positions) * array[:1].nbytes
    particles = int(store.sizes[positions].sum())
    per_particle = store.x[:1].nbytes
    for array in (store.neighbour, store.ax):
        per_particle += 0 if array is None else array[:1].nbytes
    return particles * per_particle


def evaluate(
    network: Network,
    params: PyTree,
    store: Store,
    positions: np.ndarray,
    batch_size: int = 256,
) -> dict[str, np.ndarray]:
    """Evaluates events in order.

    Args:
      network: what the weights belong to.
      params: weights.
      store: with what the network sees.
      positions: [E] events.
      batch_size: events at a time.

    Returns:
      score [E] float64, the error of each event; code [E, ..., L]; loss, a scalar,
      exact over all events.
    """
    count = len(positions)
    rows = np.arange(count, dtype=np.int32)
    batches = network.batches(store, positions, batch_size, lambda epoch: rows)
    evaluate = network.objective().evaluate

    @jax.jit
    def one(params, batch):
        return evaluate(params, batch, None)._asdict()

    found = [
        jax.tree.map(np.asarray, one(params, batches.batch(0, i, slice(None))))
        for i in range(batches.num_batches(0))
    ]
    total = sum(float(f["total"]) for f in found)
    return {
        "score": step.collect(found, "score"),
        "code": step.collect(found, "code"),
        "loss": np.array(total / max(sum(float(f["count"]) for f in found), 1)),
    }
