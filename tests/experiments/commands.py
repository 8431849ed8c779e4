"""A mode of an experiment in this process, as its command line would run it."""

from absl import flags

from jaxphys.config import define_flags, given_flags, parse_command_line
from jaxphys.training import app, modes


def run_mode(experiment, *arguments):
    """Returns the configuration of the call.

    Args:
      experiment: `jaxphys.training.modes.Experiment`.
      *arguments: of the command line.
    """
    values = flags.FlagValues()
    define_flags(experiment.config, values)
    config = parse_command_line(experiment.config, arguments, values)
    given = given_flags(experiment.config, values)
    config = app.resolve(config, given)
    session = app.Session("command", frozenset(given))
    modes.modes_of(experiment)[config.mode](config, session)
    return config
