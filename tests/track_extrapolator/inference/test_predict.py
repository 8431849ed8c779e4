"""Entry states of a user's file, and predictions for them."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from jaxphys.track_extrapolator.inference import predict
from tests.track_extrapolator.surrogates import random_states, random_surrogate

NAMES = ("x", "y", "tx", "ty", "qop")


def table_of(state, **columns):
    return pa.table({**dict(zip(NAMES, state.T, strict=True)), **columns})


def write(folder, kind, state, **columns):
    path = folder / f"states{kind}"
    if kind == ".npy":
        np.save(path, state)
    elif kind == ".csv":
        pyarrow.csv.write_csv(table_of(state, **columns), path)
    else:
        pq.write_table(table_of(state, **columns), path)
    return path


@pytest.mark.parametrize("kind", [".npy", ".csv", ".parquet"])
def test_states_come_back_from_every_format(tmp_path, kind):
    state = random_states(5)
    found = predict.read_states(write(tmp_path, kind, state))
    np.testing.assert_allclose(found.state, state, rtol=1e-15)
    assert found.z_in is None
    assert found.dz is None


@pytest.mark.parametrize("kind", [".csv", ".parquet"])
def test_planes_of_a_table_are_those_of_its_columns(tmp_path, kind):
    columns = {"z_in": np.array([3000.0, 2900.0]), "dz": np.array([4000.0, 4100.0])}
    found = predict.read_states(write(tmp_path, kind, random_states(2), **columns))
    np.testing.assert_array_equal(found.z_in, [3000, 2900])
    np.testing.assert_array_equal(found.dz, [4000, 4100])


def test_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.npy: no such file"):
        predict.read_states(tmp_path / "none.npy")
    (tmp_path / "a.txt").write_text("1 2 3")
    with pytest.raises(ValueError, match=r"a\.txt: expected \.npy, \.parquet"):
        predict.read_states(tmp_path / "a.txt")
    pq.write_table(pa.table({"x": [1.0], "y": [1.0]}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet: columns missing: tx, ty, qop"):
        predict.read_states(tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"c\.parquet: "):
        predict.read_states(tmp_path / "c.parquet")


@pytest.mark.parametrize("kind", [".npy", ".csv", ".parquet"])
def test_row_that_is_not_finite_is_named(tmp_path, kind):
    state = random_states(4)
    state[2, 3] = np.nan
    with pytest.raises(ValueError, match=rf"states\{kind}: row 2"):
        predict.read_states(write(tmp_path, kind, state))


def test_prediction_keeps_the_order_of_the_rows_and_flags_bad_ones(tmp_path):
    surrogate, state = random_surrogate(), random_states(6)
    state[4, 0] = 1e6  # far outside of the detector
    path = tmp_path / "new" / "out.parquet"
    states = predict.States(tmp_path / "in.npy", state)
    found = predict.write_prediction(path, surrogate, states)
    table = pq.read_table(path)
    expected = surrogate.predict(state)
    for i, name in enumerate(("x_out", "y_out", "tx_out", "ty_out")):
        np.testing.assert_array_equal(table[name].to_numpy(), expected[:, i])
    not_ok = 6 - int(np.sum(table["ok"].to_numpy()))
    assert found == {"tracks": 6, "not_ok": not_ok, "out_of_range": 0}
    assert not table["ok"][4].as_py()


def test_other_weights_change_the_layers_only():
    surrogate = random_surrogate()
    params = surrogate.variables("float64")["params"]
    moved = {
        "network": {
            name: {key: np.asarray(value) + 1 for key, value in dense.items()}
            for name, dense in params["network"].items()
        }
    }
    found = predict.with_weights(surrogate, moved, step=3)
    for (kernel, bias), (old, old_bias) in zip(
        found.layers, surrogate.layers, strict=True
    ):
        np.testing.assert_allclose(kernel, old + 1)
        np.testing.assert_allclose(bias, old_bias + 1)
    assert found.metadata["step"] == 3
    assert found.input_names == surrogate.input_names


def test_weights_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no model\.bin"):
        predict.load(tmp_path)
    predict.save_description(tmp_path, random_surrogate())
    with pytest.raises(ValueError, match="expected best or last"):
        predict.load(tmp_path, "first")
    with pytest.raises(ValueError, match="no checkpoint in"):
        predict.load(tmp_path)
