"""``python -m experiments.hypertrack --flagfile=... --workdir=...``."""

import sys

from experiments.hypertrack.experiment import EXPERIMENT
from jaxphys.training import modes

if __name__ == "__main__":
    sys.exit(modes.run(EXPERIMENT))
