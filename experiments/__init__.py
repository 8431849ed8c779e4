"""The experiments, each of them a program: `python -m experiments.<system>`."""

import itertools
import sys

from jaxphys.training.process import huge_pages

# here, as what a program imports would be imported twice
_PROGRAM = ("-m", "experiments.")
if any(
    option == _PROGRAM[0] and value.startswith(_PROGRAM[1])
    for option, value in itertools.pairwise(sys.orig_argv)
):
    huge_pages.start_again(sys.orig_argv)
