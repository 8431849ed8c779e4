"""Replays the golden files of the graph dynamical network."""

from jaxphys.gdynet.replay import data, model, scores

CASES = {**data.CASES, **model.CASES, **scores.CASES}
