"""``python -m experiments.track_extrapolator --flagfile=... --workdir=...``."""

import sys

from experiments.track_extrapolator.experiment import EXPERIMENT
from jaxphys.training import modes

if __name__ == "__main__":
    sys.exit(modes.run(EXPERIMENT))
