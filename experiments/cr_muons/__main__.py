"""``python -m experiments.cr_muons --flagfile=... --workdir=...``."""

import sys

from experiments.cr_muons.experiment import EXPERIMENT
from jaxphys.training import modes

if __name__ == "__main__":
    sys.exit(modes.run(EXPERIMENT))
