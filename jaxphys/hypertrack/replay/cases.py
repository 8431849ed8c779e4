"""Replays the golden files of the track finder."""

from jaxphys.hypertrack.replay import graphs, nets, tracks

CASES = {**graphs.CASES, **nets.CASES, **tracks.CASES}
RULES = {
    name: rule
    for module in (graphs, nets, tracks)
    for name, rule in getattr(module, "RULES", {}).items()
}
