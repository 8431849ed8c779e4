"""Replays the golden files of the muon bundles with the library's functions."""

from jaxphys.cr_muons.replay import data, model, training

CASES = {**data.CASES, **model.CASES, **training.CASES}
