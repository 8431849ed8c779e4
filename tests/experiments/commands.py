"""A mode of an experiment in this process, as its command line would run it."""

from absl import flags

from jaxphys.config import define_flags, given_flags, parse_command_line
from jaxphys.training import app


def run_mode(config_class, modes, *arguments):
    """Returns the configuration of the call.

    Args:
      config_class: of the experiment.
      modes: mode -> function of (configuration, session).
      *arguments: of the command line.
    """
    values = flags.FlagValues()
    define_flags(config_class, values)
    config = parse_command_line(config_class, arguments, values)
    given = given_flags(config_class, values)
    config = app.resolve(config, given)
    modes[config.mode](config, app.Session("command", frozenset(given)))
    return config
