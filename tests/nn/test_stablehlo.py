"""A program in a file is the function that was written."""

import jax
import numpy as np

from jaxphys.nn import stablehlo


def test_written_program_takes_any_size_and_keeps_unused_arguments(tmp_path):
    path = stablehlo.write(
        tmp_path / "new" / "a.stablehlo",
        lambda x, y: x.sum(axis=1) * 2,
        [("n, 3", "float32"), ("n", "int32")],
    )
    program = jax.export.deserialize(bytearray(path.read_bytes()))
    for count in (1, 5):
        x = np.arange(3.0 * count, dtype=np.float32).reshape(count, 3)
        found = program.call(x, np.zeros(count, np.int32))
        np.testing.assert_array_equal(found, 2 * x.sum(axis=1))


def test_program_runs_on_cpu_and_cuda():
    data = stablehlo.serialised(lambda x: x + 1, [("n", "float32")])
    assert set(jax.export.deserialize(bytearray(data)).platforms) == {"cpu", "cuda"}
