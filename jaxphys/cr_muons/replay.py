"""Replays the golden files of the muon bundles with the library's functions."""

from jaxphys.cr_muons import replay_data, replay_model, replay_training

CASES = {**replay_data.CASES, **replay_model.CASES, **replay_training.CASES}
