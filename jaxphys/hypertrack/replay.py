"""Replays the golden files of the track finder."""

from jaxphys.hypertrack import replay_graphs, replay_nets, replay_tracks

CASES = {**replay_graphs.CASES, **replay_nets.CASES, **replay_tracks.CASES}
RULES = {
    name: rule
    for module in (replay_graphs, replay_nets, replay_tracks)
    for name, rule in getattr(module, "RULES", {}).items()
}
