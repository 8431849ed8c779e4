"""Flags of the Hidden Vertex autoencoders."""

import dataclasses
from typing import ClassVar

from jaxphys.config import RunConfig, option
from jaxphys.hidden_vertex.training.network import KINDS, LOSSES, SCORES, VIEWS, Network

CONTENTS = ("knn", "radius", "jets", "event")


@dataclasses.dataclass(frozen=True)
class Config(RunConfig):
    """Everything that a run of the anomaly detector depends on."""

    EXPERIMENT = "hidden_vertex"
    PATHS: ClassVar = (*RunConfig.PATHS, "prepared", "extra_data")
    RENAMED: ClassVar = {
        "h5_path": "--data",
        "data_path": "--data",
        "source_dir": "--data",
        "stats_path": "--feature_stats",
        "num_workers": "--workers",
        "lr": "--learning_rate",
        "clip_norm": "--grad_clip_norm",
        "train_ratio": "--train_fraction",
        "val_ratio": "--val_fraction",
        "loss_mode": "--loss",
        "num_epochs": "--epochs",
        "preset": "--flagfile with seed.flags or best.flags",
        "compile_cache": "the environment variable JAX_COMPILATION_CACHE_DIR",
        "input_dim": "fixed (log pT, eta, phi)",
    }

    # data
    prepared: str = option(
        "",
        "folder of the store that is made of a raw --data file; empty: inside "
        "--workdir; runs on the same data can share it",
    )
    extra_data: tuple[str, ...] = option(
        (),
        "further files or stores that the report scores, a line each (other signal "
        "points; without background they are set against the run's own)",
    )
    scan_limit: int = option(
        0, "read only the first rows of a raw file; 0 reads all", unit="rows",
        minimum=0, change="structural",
    )  # fmt: skip
    read_rows: int = option(
        4096, "rows of a raw file that are held at a time", unit="rows", minimum=1
    )
    workers: int = option(
        2, "processes of prepare and simulate", unit="processes", minimum=1
    )
    contents: tuple[str, ...] = option(
        (),
        "what prepare stores besides the particles: " + ", ".join(CONTENTS) + "; "
        "empty: what --model reads",
    )
    check_only: bool = option(False, "prepare: read and validate, keep nothing")
    allow_unscaled: bool = option(
        False, "accept log pT above 20 (raw pT fed as log pT)"
    )

    # simulation
    kind: str = option(
        "mixture", "what simulate makes", choices=("mixture", "background", "signal")
    )
    num_events: int = option(
        20_000, "background events (or events of --kind=signal) to simulate",
        unit="events", minimum=1,
    )  # fmt: skip
    num_signal: int = option(
        2_000, "signal events of --kind=mixture", unit="events", minimum=1
    )
    m_v: float = option(3500.0, "mass of the resonance", unit="GeV", minimum=1.0)
    m_x: float = option(500.0, "mass of its first product", unit="GeV", minimum=1.0)
    m_y: float = option(100.0, "mass of its second product", unit="GeV", minimum=1.0)
    mpi: bool = option(False, "simulate multi-parton interactions")
    data_seed: int = option(42, "seed of simulated events", unit="1", minimum=0)

    # events of each part
    split_seed: int = option(
        42, "seed of the shuffle of the background", unit="1", minimum=0,
        change="structural",
    )  # fmt: skip
    train_fraction: float = option(
        0.7, "part of the background for training", unit="1", minimum=0.0, maximum=1.0,
        change="structural",
    )  # fmt: skip
    val_fraction: float = option(
        0.15, "part of the background for validation", unit="1", minimum=0.0,
        maximum=1.0, change="structural",
    )  # fmt: skip
    subset_size: int = option(
        0, "train on events whose row in the file is below this; 0: on all; prepare: "
        "only these rows", unit="rows", minimum=0, change="structural",
    )  # fmt: skip
    max_train_events: int = option(
        0, "train on the first n of the shuffled events; 0: on all", unit="events",
        minimum=0, change="structural",
    )  # fmt: skip
    contamination: float = option(
        0.0, "fraction of signal in training, on purpose", unit="1", minimum=0.0,
        maximum=0.9, change="structural",
    )  # fmt: skip
    train_target: int = option(
        0, "train on the first background rows, the original's quota; 0: by "
        "--train_fraction",
        unit="events", minimum=0, change="structural",
    )  # fmt: skip
    test_bg_target: int = option(
        0, "background rows of the test, with --train_target", unit="events",
        minimum=0, change="structural",
    )  # fmt: skip
    test_sig_target: int = option(
        0, "signal rows of the test, with --train_target", unit="events", minimum=0,
        change="structural",
    )  # fmt: skip

    # graphs
    graph: str = option(
        "", "edges: knn, or radius; empty: that of --model",
        choices=("", "knn", "radius"), change="structural",
    )  # fmt: skip
    k: int = option(
        6,
        "neighbours of a particle",
        unit="1",
        minimum=1,
        maximum=699,
        change="structural",
    )
    radius: float = option(
        0.4, "largest distance in (eta, phi) of --graph=radius", unit="1", minimum=1e-6,
        change="structural",
    )  # fmt: skip
    periodic_phi: bool = option(
        False, "neighbours across phi = pi; the original has none", change="structural"
    )
    jets: str = option(
        "cones", "jets: two cones R = 1.0, or anti-kT by fastjet (extra events)",
        choices=("cones", "fastjet"), change="structural",
    )  # fmt: skip
    feature_stats: str = option(
        "train", "what --model=node is standardised with: the training events, or the "
        "original's numbers", choices=("train", "original"), change="structural",
    )  # fmt: skip

    # model
    model: str = option(
        "conditional", "autoencoder: see the README", choices=KINDS, change="structural"
    )
    view: str = option(
        "jets", "what --model=conditional sees of an event", choices=VIEWS,
        change="structural",
    )  # fmt: skip
    latent_dim: int = option(
        0, "width of the code; 0: that of --model", unit="1", minimum=0, maximum=4096,
        change="structural",
    )  # fmt: skip
    hidden_layers: tuple[int, ...] = option(
        (), "widths of the graph convolutions; empty: those of --model", unit="1",
        minimum=1, change="structural",
    )  # fmt: skip
    decoder_hidden: tuple[int, ...] = option(
        (), "widths of the decoder's hidden layers; empty: those of --model",
        unit="1", minimum=1, change="structural",
    )  # fmt: skip
    encoder_mlp: tuple[int, ...] = option(
        (), "widths of dense layers in front of the code", unit="1", minimum=1,
        change="structural",
    )  # fmt: skip
    dropout: float = option(
        -1.0, "of the nodes after a convolution; -1: that of --model", unit="1",
        minimum=-1.0, maximum=0.95, change="structural",
    )  # fmt: skip
    loss: str = option(
        "", "what is minimised; empty: that of --model", choices=("", *LOSSES),
        change="structural",
    )  # fmt: skip
    loss_weights: tuple[float, ...] = option(
        (10.0, 1.0, 1.0), "of log pT, eta, phi in --loss=weighted", unit="1",
        minimum=0.0, change="structural",
    )  # fmt: skip
    chamfer_max_nodes: int = option(
        768, "largest event under --loss=chamfer of --model=node", unit="particles",
        minimum=1, change="structural",
    )  # fmt: skip

    # training
    seed: int = option(
        42, "seed of weights, order and dropout", unit="1", minimum=0,
        change="structural",
    )  # fmt: skip
    batch_size: int = option(
        32, "events per step over all devices", unit="events", minimum=1,
        change="structural",
    )  # fmt: skip
    epochs: int = option(
        50, "passes over the training events, at most", unit="rounds", minimum=0,
        change="extendable",
    )  # fmt: skip
    optimizer: str = option(
        "adamw", "optimizer", choices=("adamw", "adam"), change="structural"
    )
    learning_rate: float = option(
        1e-3, "constant learning rate", unit="1", minimum=0.0, change="structural"
    )
    weight_decay: float = option(
        1e-5, "of all parameters", unit="1", minimum=0.0, change="structural"
    )
    grad_clip_norm: float = option(
        1.0, "largest gradient norm; 0 is off", unit="1", minimum=0.0,
        change="structural",
    )  # fmt: skip
    patience: int = option(
        10, "evaluations without improvement before training stops; 0 is off",
        unit="rounds", minimum=0, change="structural",
    )  # fmt: skip
    epoch_loss: str = option(
        "exact", "loss of an epoch: exact, or the mean of batches as the original",
        choices=("exact", "batch_mean"), change="structural",
    )  # fmt: skip
    node_budget: int = option(
        0, "places for the particles of a batch per device; 0 chooses; a batch that "
        "needs more takes a second, larger shape", unit="particles", minimum=0,
        change="structural",
    )  # fmt: skip
    device_data_gb: float = option(
        1.0, "--device_data keeps training events on the device up to this size",
        unit="GB", minimum=0.0,
    )  # fmt: skip

    # scores and report
    score: str = option(
        "", "score that leads the report; empty: that of --model",
        choices=("", *SCORES),
    )  # fmt: skip
    score_reduction: str = option(
        "", "of the errors of particles to one of an event; empty: that of --model",
        choices=("", "mean", "max"), change="structural",
    )  # fmt: skip
    score_features: str = option(
        "", "features in the error of a particle: all, or pt; empty: that of --model",
        choices=("", "all", "pt"), change="structural",
    )  # fmt: skip
    top_k: int = option(
        100, "events in the table of anomalies", unit="events", minimum=1
    )
    histogram_bins: int = option(
        50, "bins of the score histograms", unit="1", minimum=2
    )
    injection_test: bool = option(
        False, "score test background again with one particle made harder"
    )
    injection_strength: float = option(
        3.0, "what --injection_test adds to its log pT", unit="1"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.loss_weights) != 3:
            raise ValueError(f"--loss_weights={self.loss_weights}: expected three")
        unknown = sorted(set(self.contents) - set(CONTENTS))
        if unknown:
            raise ValueError(
                f"--contents: {', '.join(unknown)}: expected {', '.join(CONTENTS)}"
            )
        if -1 < self.dropout < 0:
            raise ValueError(f"--dropout={self.dropout}: expected -1, or 0 to 0.95")
        if (self.test_bg_target or self.test_sig_target) and not self.train_target:
            raise ValueError("--test_bg_target, --test_sig_target need --train_target")
        if self.view != "jets" and self.model != "conditional":
            raise ValueError(f"--view={self.view}: not of --model={self.model}")
        if (
            not 0 < self.train_fraction < 1
            or self.train_fraction + self.val_fraction > 1 + 1e-9
        ):
            raise ValueError(
                f"--train_fraction={self.train_fraction}, --val_fraction="
                f"{self.val_fraction}: expected parts of the background that leave "
                "some for the test"
            )
        if self.train_target and (self.subset_size or self.contamination):
            raise ValueError(
                "--train_target goes neither with --subset_size nor --contamination"
            )
        self.network()

    def network(self) -> Network:
        """Returns the network that the flags describe; its features not standardised.

        Raises:
          ValueError: flags that do not go together.
        """
        return Network.of(
            self.model,
            view=self.view,
            graph=self.graph,
            latent_dim=self.latent_dim,
            hidden=self.hidden_layers,
            decoder_hidden=self.decoder_hidden,
            encoder_mlp=self.encoder_mlp,
            dropout=None if self.dropout == -1 else self.dropout,
            loss=self.loss,
            loss_weights=self.loss_weights,
            chamfer_max_nodes=self.chamfer_max_nodes,
            score=self.score,
            score_reduction=self.score_reduction,
            score_features=self.score_features,
            precision=self.precision,
        )
