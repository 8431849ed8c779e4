"""Flags of the Hidden Vertex autoencoders."""

import dataclasses
from typing import ClassVar

from jaxphys.config import RunConfig, option
from jaxphys.hidden_vertex.data.settings import EventFlags
from jaxphys.hidden_vertex.model.settings import NetworkFlags
from jaxphys.hidden_vertex.training.network import Network
from jaxphys.hidden_vertex.training.settings import ScoreFlags, TrainingFlags
from jaxphys.options import structural


@dataclasses.dataclass(frozen=True)
class Config(RunConfig, EventFlags, NetworkFlags, TrainingFlags, ScoreFlags):
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

    seed: int = structural(42, "seed of first weights, order and dropout", minimum=0)
    split_seed: int = structural(
        42, "seed of the shuffle of the background before it is split", minimum=0
    )
    data_seed: int = option(42, "simulate: seed of the events", minimum=0)
    batch_size: int = structural(
        32, "events per step over all devices", unit="events", minimum=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.loss_weights) != 3:
            raise ValueError(f"--loss_weights={self.loss_weights}: expected three")
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
