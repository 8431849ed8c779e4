"""stub."""


def report_run(config, session, parts):
    """Nothing yet."""
    print(session.timings)
