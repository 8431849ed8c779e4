"""``python -m experiments.gdynet --flagfile=... --workdir=...``."""

import sys

from experiments.gdynet.experiment import EXPERIMENT
from jaxphys.training import modes

if __name__ == "__main__":
    sys.exit(modes.run(EXPERIMENT))
