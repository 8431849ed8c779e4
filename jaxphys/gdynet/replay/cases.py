"""Replays the golden files of the graph dynamical network."""

from jaxphys.gdynet.replay import scores
from jaxphys.gdynet.replay.data import replay_dataset, replay_preprocess
from jaxphys.gdynet.replay.model import (
    replay_forward,
    replay_gaussian_expansion,
    replay_train_step,
)

CASES = {
    "gaussian_expansion": replay_gaussian_expansion,
    "forward_vanilla": replay_forward,
    "forward_ferro": replay_forward,
    "train_step": replay_train_step,
    "dataset": replay_dataset,
    "preprocess": replay_preprocess,
    **scores.CASES,
}
