"""One of several processes that train the toy task together: see test_processes.

Arguments: workdir, mesh, rounds, number of calls after which to receive SIGTERM (0:
never), and whether parameters are split.
"""

import json
import os
import pathlib
import signal
import sys
import time

import jax

from jaxphys.training import loop, mesh
from jaxphys.training.checkpoint import Checkpointer
from jaxphys.training.process.preemption import EXIT_CODE, Preempted, Preemption
from jaxphys.training.task import Interval
from jaxphys.training.writer import Writer
from tests.training.toy import make_task


class SignalledAfter(Preemption):
    """Receives a real SIGTERM in process 1 when the loop looks up the n-th time."""

    def __init__(self, calls):
        super().__init__()
        self.left, self.slow = calls, calls > 0

    def reached(self):
        self.left -= 1
        if self.left == 0 and jax.process_index() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        if self.left <= 0 and self.slow:
            time.sleep(0.5)  # the notice takes longer than all steps of the toy
        return super().reached()


def main(workdir, axes, rounds, calls, split):
    jax.distributed.initialize()
    assert jax.process_count() == 2
    if int(split):
        mesh.SMALLEST_SPLIT = 16
    folder = pathlib.Path(workdir)
    keep = Checkpointer(folder / "checkpoints", best=("val_loss", "min"))
    writer = Writer(folder) if jax.process_index() == 0 else None
    try:
        with SignalledAfter(int(calls)) as preemption:
            result = loop.fit(
                make_task(on_device=not int(split)),
                mesh=mesh.make_mesh(axes),
                rounds=int(rounds),
                eval_every=Interval(1, "rounds"),
                checkpoint_every=Interval(1, "rounds"),
                steps_per_call=2,
                checkpointer=keep,
                resume=keep.find("auto"),
                writer=writer,
                preemption=preemption,
            )
    except Preempted as stop:
        keep.close()
        print(stop)
        return EXIT_CODE
    keep.close()
    weights = mesh.to_host(result.last.params)
    print("weights " + json.dumps({k: v.tolist() for k, v in weights.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
