"""Flags of the track finder."""

import dataclasses
from typing import ClassVar

from jaxphys.config import RunConfig, option
from jaxphys.hypertrack.data import reduction
from jaxphys.hypertrack.inference import predict, tracker
from jaxphys.hypertrack.inference.clustering import ClusterSettings
from jaxphys.hypertrack.model.voxel_training import AUGMENTS, VoxelSettings
from jaxphys.hypertrack.training import optimizer, schedules
from jaxphys.options import without

GATES = ("ema", "single")
ORIGINAL_SEED = 12345
_FLOW = ("learning_rate_pdf", "weight_decay_pdf_w", "weight_decay_pdf_b", "epsilon_pdf")


@dataclasses.dataclass(frozen=True)
class Config(RunConfig, VoxelSettings, ClusterSettings):
    """Everything that a run of the track finder depends on."""

    EXPERIMENT = "hypertrack"
    MODES: ClassVar = (*RunConfig.MODES, "voxels")
    WITHOUT_RUN: ClassVar = (*RunConfig.WITHOUT_RUN, "voxels")
    PRECISIONS: ClassVar = RunConfig.PRECISIONS[:3]  # float64: not of the graphs
    PATHS: ClassVar = (
        *RunConfig.PATHS, "voxdyn", "voxel_data", "val_data", "extra_data", "compare",
    )  # fmt: skip
    DATA: ClassVar = ("data", "val_data")
    RANGES: ClassVar = ("event_val_start", "event_val_end")
    RENAMED: ClassVar = {
        "path": "--data",
        "epoch": "--resume",
        "save_period": "--checkpoint_every",
        "transfer_tag": "--init_from, the --workdir of another run",
        "soft_reset": "--init_from, which always begins a new optimizer",
        "save_tag": "--workdir",
        "read_tag": "--workdir",
        "out_tag": "--output",
        "device": "the environment variable JAX_PLATFORMS",
        "fp_dtype": "--precision",
        "param": "--net and the flags of its sizes",
        "pre_only": "--mode=voxels",
        "validate": "--eval_every",
        "max_iterations": "--iterations",
        "lr": "--learning_rate",
        "max_grad_norm": "--grad_clip_norm",
        "random_seed": "--seed",
        "split": "--voxel_fraction, --train_fraction, --val_fraction",
        "generate": "--mode=simulate",
        "process": "--mode=prepare",
        "preset": "--flagfile with seed.flags or best.flags",
        "debug": "--traceback",
    }
    NO_EFFECT: ClassVar = {
        "empty_cache": "memory is not returned in between",
        "maxbuffer": "memory follows the number of edges",
        "compile": "everything is compiled",
        **dict.fromkeys(_FLOW, "an experimental part of the original, off there too"),
        "compile_cache": "set JAX_COMPILATION_CACHE_DIR",
        "max_points_per_centroid": "every point is used",
        "min_points_per_centroid": "every point is used",
    }

    # events
    event_start: tuple[int, ...] = option(
        (), "first events of ranges that train the net; empty: a part of --data, see "
        "--split", unit="1", change="structural",
    )  # fmt: skip
    event_end: tuple[int, ...] = option((), "last ones", unit="1", change="structural")
    val_data: str = option(
        "", "events of the validation; empty: --data", change="training"
    )
    event_val_start: tuple[int, ...] = option(
        (), "first events of ranges that validate and are reported", unit="1",
        change="training",
    )  # fmt: skip
    event_val_end: tuple[int, ...] = option(
        (), "last events of these ranges", unit="1", change="training"
    )
    voxel_fraction: float = option(
        0.5, "part of --data that trains voxels, where no ranges are given; of a run "
        "with other voxels it trains the net too", unit="1", minimum=0.0, maximum=1.0,
        change="structural",
    )  # fmt: skip
    train_fraction: float = option(
        0.3, "part of --data that trains the net, where no ranges are given", unit="1",
        minimum=0.0, maximum=1.0, change="structural",
    )  # fmt: skip
    val_fraction: float = option(
        0.2, "part of --data that validates, where no ranges are given", unit="1",
        minimum=0.0, maximum=1.0, change="structural",
    )  # fmt: skip
    extra_data: tuple[str, ...] = option(
        (), "further events, with truth, that the report adds"
    )
    compare: tuple[str, ...] = option(
        (), "workdirs of other runs that the report sets beside this one"
    )
    rfactor_start: float = option(
        0.01, "smallest fraction of an event's particles that a graph keeps", unit="1",
        minimum=1e-6, maximum=1.0, change="structural",
    )  # fmt: skip
    rfactor_end: float = option(
        0.01, "largest fraction", unit="1", minimum=1e-6, maximum=1.0,
        change="structural",
    )  # fmt: skip
    rfactor: float = option(
        0.0, "fraction in evaluations and the report; 0: --rfactor_end", unit="1",
        minimum=0.0, maximum=1.0,
    )  # fmt: skip
    noise_ratio: float = option(
        0.05, "noise hits over all hits; -1: as in the data", unit="1", minimum=-1.0,
        maximum=0.99, change="structural",
    )  # fmt: skip
    reduce: str = option(
        "track", "what a graph keeps: random tracks, whole vertices, or a sector in "
        "azimuth at full density", choices=reduction.MODES, change="structural",
    )  # fmt: skip
    period: float = option(
        1.0, "probability that an iteration takes a new event", unit="1",
        minimum=1e-6, maximum=1.0, change="structural",
    )  # fmt: skip

    # voxels
    voxdyn: str = option(
        "", "file of trained voxels; empty: trained first, inside --workdir",
        change="structural",
    )  # fmt: skip
    voxel_data: tuple[str, ...] = option(
        (), "events that train voxels; empty: --data", change="structural"
    )
    voxel_event_start: tuple[int, ...] = option(
        (), "first events of ranges that train voxels", unit="1", change="structural"
    )
    voxel_event_end: tuple[int, ...] = option(
        (), "last events of these ranges", unit="1", change="structural"
    )
    ncell: tuple[int, ...] = option(
        (131072,), "voxels; --mode=voxels trains a file for each of several", unit="1",
        minimum=1, change="structural",
    )  # fmt: skip
    allow_voxels_mismatch: bool = option(
        False, "accept voxels of another --node2node or --ncell"
    )

    # net
    net: str = option(
        "tune-5", "the original's net, or one with physical features (fast)",
        choices=tuple(predict.NETS), change="structural",
    )  # fmt: skip
    normalize_input: bool = option(
        False, "tune-5: subtract the mean of the positions, divide by their spread",
        change="structural",
    )  # fmt: skip
    nstack: int = option(5, "tune-5: layers", unit="1", minimum=1, change="structural")
    h_dim: int = option(
        64, "tune-5: width of the hits", unit="1", minimum=1, change="structural"
    )
    m_dim: int = option(
        64, "tune-5: width of messages", unit="1", minimum=1, change="structural"
    )
    z_dim: int = option(
        61, "latents of a hit", unit="1", minimum=1, change="structural"
    )
    edge_type: str = option(
        "symmetric-dot", "tune-5: edge head",
        choices=("symmetric-dot", "symmetrized", "asymmetric"), change="structural",
    )  # fmt: skip
    aggr: str = option(
        "mean", "tune-5: aggregation", choices=("mean", "sum", "max"),
        change="structural",
    )  # fmt: skip
    remat: bool = option(False, "compute layers twice in training to save memory")
    nstack_dec: int = option(
        4, "self-attention layers of the transformer", unit="1", minimum=1,
        change="structural",
    )  # fmt: skip

    # losses
    edge_bce: str = option(
        "Focal", "loss of an edge", choices=("Focal", "BCE", "BCE+Hinge"),
        change="structural",
    )  # fmt: skip
    gamma: float = option(1.0, "exponent of Focal", unit="1", change="structural")
    edge_balance: bool = option(
        True, "true edges count as much as false ones", change="structural"
    )
    remove_self_edges: bool = option(
        False, "no loss of the edge of a hit with itself", change="structural"
    )
    tau: float = option(
        0.3, "temperature of the contrastive loss", unit="1", minimum=1e-3,
        change="structural",
    )  # fmt: skip
    sub_sample: int = option(
        300, "tracks of the contrastive loss", unit="tracks", minimum=1,
        change="structural",
    )  # fmt: skip
    beta_edge_bce: float = option(0.2, "of --edge_bce", unit="1", change="structural")
    beta_edge_contrastive: float = option(
        1.0, "weight of the contrastive loss", unit="1", change="structural"
    )
    beta_cluster_bce: float = option(
        0.2, "weight of the clusters' loss", unit="1", change="structural"
    )
    beta_cluster_contrastive: float = option(
        0.2, "weight of the clusters' set loss", unit="1", change="structural"
    )
    meta_target: str = option(
        "pivotmajor", "truth of a cluster", choices=("pivotmajor", "major"),
        change="structural",
    )  # fmt: skip

    # training
    iterations: int = option(
        2000, "training iterations", unit="steps", minimum=1, change="extendable"
    )
    round_iterations: int = option(
        100, "iterations of a round", unit="steps", minimum=1, change="structural"
    )
    max_seconds: float = option(
        0.0, "end at the first evaluation after so long; 0: never", unit="s",
        minimum=0.0,
    )  # fmt: skip
    batch_size: int = option(
        1, "graphs per step over all devices", unit="graphs", minimum=1,
        change="structural",
    )  # fmt: skip
    optimizer: str = option(
        "AdamW", "optimizer", choices=optimizer.NAMES, change="structural"
    )
    learning_rate: float = option(5e-4, "at the start", unit="1", minimum=0.0)
    weight_decay_w: float = option(1e-5, "of weights", unit="1", minimum=0.0)
    weight_decay_b: float = option(0.0, "of biases", unit="1", minimum=0.0)
    epsilon: float = option(1e-6, "of Adam", unit="1", minimum=0.0)
    grad_clip_norm: float = option(1.0, "largest norm of a gradient", unit="1")
    scheduler_type: str = option(
        "warm-cos", "learning rate over iterations", choices=schedules.NAMES,
        change="structural",
    )  # fmt: skip
    scheduler_period: int = option(
        10_000, "period of its cosine", unit="steps", minimum=1, change="structural"
    )
    auc_threshold: float = option(
        0.998, "AUC of the edges above which the transformer trains too", unit="1",
        minimum=0.0, change="structural",
    )  # fmt: skip
    auc_gate: str = option(
        "ema", "AUC smoothed over 50 iterations, or that of one", choices=GATES,
        change="structural",
    )  # fmt: skip
    joint_iteration: int = option(
        0, "iteration from which the transformer trains in any case; 0: the gate alone",
        unit="steps", minimum=0, change="structural",
    )  # fmt: skip
    joint_sets: int = option(
        64, "micrographs of a graph in training", unit="1", minimum=1,
        change="structural",
    )  # fmt: skip
    joint_nodes: int = option(
        64, "hits of a micrograph in training", unit="hits", minimum=4,
        change="structural",
    )  # fmt: skip
    buckets: int = option(
        4, "sizes that graphs are padded to, each of which is compiled; from the first "
        "graphs", unit="sizes", minimum=1, change="structural",
    )  # fmt: skip
    node_buckets: tuple[int, ...] = option(
        (), "these sizes in place of such ones",
        unit="hits", minimum=2, change="structural",
    )  # fmt: skip
    edge_buckets: tuple[int, ...] = option(
        (), "sizes that graphs are padded to, as many", unit="edges", minimum=1,
        change="structural",
    )  # fmt: skip
    track_buckets: tuple[int, ...] = option(
        (), "sizes that graphs are padded to, as many", unit="tracks", minimum=1,
        change="structural",
    )  # fmt: skip
    read_threads: int = option(
        1, "threads that make graphs in training; 0: none of their own",
        unit="threads", minimum=0,
    )  # fmt: skip
    workers: int = option(
        1, "processes of simulate and prepare", unit="processes", minimum=1
    )
    val_graphs: int = option(
        8, "graphs of an evaluation", unit="graphs", minimum=1, change="structural"
    )
    batchnorm_mode: str = option(
        "eval", "statistics in inference: running ones, or the event's",
        choices=("eval", "train"),
    )  # fmt: skip

    # clustering
    cluster: str = option(
        "transformer", "from edges to tracks; none never trains the transformer",
        choices=tracker.ALGORITHMS,
    )  # fmt: skip
    jaccard_prob: float = option(0.7, "jaccard: least probability", unit="1")
    jaccard_share: float = option(0.5, "jaccard: least shared part", unit="1")

    # report
    hits_min: int = option(4, "hits of a track that counts", unit="hits", minimum=1)
    hits_max: int = option(23, "plots: most hits of a track", unit="hits", minimum=2)
    report_events: int = option(
        8, "validation events of the report", unit="events", minimum=1
    )
    retune: bool = option(False, "evaluate: tune the simple clusterings anew")
    auc: str = option("exact", "AUC of the report", choices=("exact", "compat"))
    per_hit: bool = option(False, "predict: a row per hit instead of per track")
    predict_start: tuple[int, ...] = option(
        (), "predict: first events of ranges; none: all events", unit="1"
    )
    predict_end: tuple[int, ...] = option((), "last events of these ranges", unit="1")

    # simulate, prepare
    mu: float = option(20.0, "simulate: mean pile-up", unit="collisions", minimum=0.0)
    n_events: int = option(48, "simulate: events", unit="events", minimum=1)
    first_event_id: int = option(1, "simulate: number of the first", unit="1")
    check_only: bool = option(False, "prepare: read and validate, write nothing")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rfactor_start > self.rfactor_end:
            raise ValueError(
                f"--rfactor_start={self.rfactor_start}: is above "
                f"--rfactor_end={self.rfactor_end}"
            )
        if self.augment not in AUGMENTS:
            raise ValueError(f"--augment={self.augment}: expected 1 or 8")
        if sum(self.fractions) > 1 + 1e-9:
            raise ValueError(
                f"--voxel_fraction={self.voxel_fraction}, --train_fraction="
                f"{self.train_fraction}, --val_fraction={self.val_fraction}: are more "
                "than the whole"
            )
        for name in ("event", "event_val", "voxel_event", "predict"):
            sizes = [len(getattr(self, f"{name}_{end}")) for end in ("start", "end")]
            if sizes[0] != sizes[1]:
                words = f"{sizes[0]} and {sizes[1]} values"
                raise ValueError(f"--{name}_start, --{name}_end: {words}")
        sizes = (self.node_buckets, self.edge_buckets, self.track_buckets)
        if len({len(size) for size in sizes}) != 1:
            raise ValueError(
                "--node_buckets, --edge_buckets, --track_buckets: not as many of each"
            )
        if self.node2node != "hyper" and self.cluster != "none":
            raise ValueError(
                f"--node2node={self.node2node}: tracks are found in hyper graphs only: "
                "--cluster=none"
            )

    @classmethod
    def translate(cls, saved: dict[str, str]) -> dict[str, str]:
        """Returns the flags of a saved run in the names of today."""
        saved = {
            "data_seed": saved.get("seed", "0"),
            "read_threads": saved.get("workers", "1"),
            **saved,
        }
        saved["workers"] = str(max(int(saved.get("workers", "1")), 1))
        if "split" in saved:
            names = ("voxel_fraction", "train_fraction", "val_fraction")
            saved |= dict(zip(names, saved.pop("split").split(","), strict=True))
        own = str(ORIGINAL_SEED + int(saved.get("seed", "0")))
        return super().translate(without(saved, ("random_seed",), (own,)))

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Parts of --data that train voxels, train the net and validate."""
        return self.voxel_fraction, self.train_fraction, self.val_fraction

    @property
    def draw_seed(self) -> int:
        """Seed of events, particles, noise and voxels: the original's plus --seed."""
        return ORIGINAL_SEED + self.seed

    @property
    def eval_rfactor(self) -> float:
        """Fraction of the particles in evaluations."""
        return self.rfactor or self.rfactor_end

    @property
    def trains_transformer(self) -> bool:
        """Whether there is a joint phase."""
        return self.cluster == "transformer"
