"""``python -m experiments.hidden_vertex --flagfile=... --workdir=...``."""

import sys

from experiments.hidden_vertex.experiment import EXPERIMENT
from jaxphys.training import modes

if __name__ == "__main__":
    sys.exit(modes.run(EXPERIMENT))
