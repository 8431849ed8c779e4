"""Every rule of comparison: what passes, and that anything else is a miss."""

import json

import numpy as np
import pytest

from jaxphys.equivalence import __main__ as command_line
from jaxphys.equivalence import golden as g

META = {"system": "track_extrapolator", "case": "toy", "config": {"a": 1}}


def record(path, outputs, tolerance, **meta):
    g.write(
        path / "case__variant.npz",
        {**META, "tolerance": tolerance, **meta},
        params={"layer.weight": np.ones((2, 2))},
        inputs={"x": np.zeros(3)},
        outputs={name: np.asarray(value) for name, value in outputs.items()},
    )
    return g.read(path / "case__variant.npz")


def savez(path, arrays):
    np.savez(path, allow_pickle=False, **arrays)


def verdicts(golden, got, rules=None):
    return {row.name: row.ok for row in g.compare(golden, got, rules)}


def verdict(tmp_path, reference, got, tolerance, **meta):
    golden = record(tmp_path, {"y": reference}, {"y": tolerance}, **meta)
    (row,) = g.compare(golden, {"y": np.asarray(got)})
    return row


def test_file_is_read_as_it_was_written(tmp_path):
    golden = record(tmp_path, {"a/b": [1.0]}, {"*": {"rtol": 0.1}}, notes="n")
    assert golden.config == {"a": 1}
    assert golden.meta["notes"] == "n"
    assert set(golden.params) == {"layer.weight"}
    assert set(golden.inputs) == {"x"}
    np.testing.assert_array_equal(golden.outputs["a/b"], [1.0])


def test_longest_path_prefix_decides(tmp_path):
    table = {
        "*": {"atol": 10.0},
        "param": {"atol": 1.0},
        "param/a": {"atol": 0.1},
        "param/a/b": {"atol": 0.01},
    }
    names = ("param/a/b", "param/a/c", "param/ab", "parameter", "param", "x/param/a")
    golden = record(tmp_path, dict.fromkeys(names, 0.0), table)
    assert {name: g.tolerance_of(golden, name) for name in names} == {
        "param/a/b": {"atol": 0.01},
        "param/a/c": {"atol": 0.1},
        "param/ab": {"atol": 1.0},
        "parameter": {"atol": 10.0},
        "param": {"atol": 1.0},
        "x/param/a": {"atol": 10.0},
    }


@pytest.mark.parametrize(
    ("got", "ok"),
    [(100.0, True), (100.2, True), (100.3, False), (99.8, True), (np.nan, False)],
)
def test_atol_and_rtol_add_up(tmp_path, got, ok):
    row = verdict(tmp_path, [100.0], [got], {"rtol": 1e-3, "atol": 0.15})
    assert row.ok is ok


def test_part_of_the_tolerance_and_deviation_are_reported(tmp_path):
    row = verdict(tmp_path, [0.0, 10.0], [0.5, 10.0], {"atol": 2.0})
    assert (row.deviation, row.part, row.ok) == (0.5, 0.25, True)


def test_each_column_has_its_own_atol(tmp_path):
    rule = {"atol": 9.0, "atol_per_column": [1.0, 0.1]}
    reference = np.zeros((3, 2))
    assert verdict(tmp_path, reference, reference + [0.9, 0.09], rule).ok
    assert not verdict(tmp_path, reference, reference + [0.09, 0.9], rule).ok


def test_column_scale_multiplies_atol(tmp_path):
    rule = {"atol": 0.1, "column_scale": [10.0, 1.0]}
    reference = np.zeros((3, 2))
    assert verdict(tmp_path, reference, reference + [0.9, 0.09], rule).ok
    assert not verdict(tmp_path, reference, reference + [0.9, 0.11], rule).ok


def test_atol_relative_to_the_largest_of_the_array(tmp_path):
    rule = {"atol_relative_to_max": 0.01}
    reference = np.array([[-200.0, 0.0], [0.0, 1.0]])
    assert verdict(tmp_path, reference, reference + 1.9, rule).ok
    assert not verdict(tmp_path, reference, reference + 2.1, rule).ok


def test_atol_relative_to_the_largest_of_the_column(tmp_path):
    rule = {"atol_relative_to_column_max": 0.01}
    reference = np.array([[-200.0, 0.0], [0.0, 1.0]])
    assert verdict(tmp_path, reference, reference + [1.9, 0.009], rule).ok
    assert not verdict(tmp_path, reference, reference + [1.9, 0.011], rule).ok


@pytest.mark.parametrize(
    ("reference", "got", "ok"),
    [
        (np.array([1, 2], np.int64), np.array([1, 2], np.int32), True),
        (np.array([1, 2], np.int64), np.array([1, 3], np.int64), False),
        (np.array([1.5, np.nan]), np.array([1.5, np.nan]), True),
        (np.array([1.5]), np.array([1.5 + 1e-15]), False),
        (np.array(["a", "b"]), np.array(["a", "b"]), True),
        (np.array(["a", "b"]), np.array(["a", "c"]), False),
        (np.array([True]), np.array([False]), False),
        (np.array([7], np.uint8), np.array([7], np.uint8), True),
    ],
)
def test_output_without_an_entry_must_be_equal_exactly(tmp_path, reference, got, ok):
    golden = record(tmp_path, {"y": reference}, {"z": {"atol": 1e9}})
    assert verdicts(golden, {"y": got}) == {"y": ok}


def test_nan_meets_nan_and_nothing_else(tmp_path):
    rule = {"atol": 1e9, "rtol": 1e9}
    reference = [np.nan, 1.0, np.inf, -np.inf]
    assert verdict(tmp_path, reference, reference, rule).ok
    for wrong in (
        [0.0, 1.0, np.inf, -np.inf],
        [np.nan, np.nan, np.inf, -np.inf],
        [np.nan, 1.0, np.inf, np.inf],
        [np.nan, 1.0, 3.0, -np.inf],
        [np.nan, np.inf, np.inf, -np.inf],
    ):
        assert not verdict(tmp_path, reference, wrong, rule).ok, wrong


def test_infinity_in_the_reference_does_not_widen_a_relative_tolerance(tmp_path):
    rule = {"atol_relative_to_max": 0.01}
    assert not verdict(tmp_path, [1.0, np.inf], [1.5, np.inf], rule).ok


@pytest.mark.parametrize(
    ("reference", "got"),
    [(np.zeros(3), np.zeros((3, 1))), (np.zeros(3), np.zeros(2)), ([0.0], 0.0)],
)
def test_shapes_must_be_equal(tmp_path, reference, got):
    row = verdict(tmp_path, reference, got, {"atol": 1.0})
    assert not row.ok
    assert "shape" in row.message


def test_empty_output_passes_when_the_shape_is_right(tmp_path):
    rule = {"atol_relative_to_max": 0.1}
    assert verdict(tmp_path, np.zeros((0, 4)), np.zeros((0, 4)), rule).ok
    rule = {"atol_relative_to_column_max": 0.1}
    assert verdict(tmp_path, np.zeros((0, 4)), np.zeros((0, 4)), rule).ok
    assert not verdict(tmp_path, np.zeros((0, 4)), np.zeros((0, 3)), rule).ok


def test_complex_outputs_compare_in_both_parts(tmp_path):
    rule = {"atol": 0.1}
    assert verdict(tmp_path, [1 + 1j], [1.05 + 1j], rule).ok
    assert not verdict(tmp_path, [1 + 1j], [1 + 1.2j], rule).ok


def test_output_that_is_not_produced_is_a_miss(tmp_path):
    golden = record(tmp_path, {"y": 0.0, "z": 0.0}, {"*": {"atol": 1.0}})
    assert verdicts(golden, {"y": np.float64(0)}) == {"y": True, "z": False}


def test_output_that_was_not_recorded_is_left_out(tmp_path):
    golden = record(tmp_path, {"y": 0.0}, {"*": {"atol": 1.0}})
    assert verdicts(golden, {"y": np.float64(0), "more": np.zeros(9)}) == {"y": True}


def test_outputs_without_meaning_are_not_compared(tmp_path):
    golden = record(
        tmp_path,
        {"y": 0.0, "noise/a": 0.0, "noises": 0.0},
        {"*": {"atol": 1.0}},
        not_compared=["noise"],
    )
    got = {"y": np.float64(0), "noises": np.float64(5)}
    assert verdicts(golden, got) == {"y": True, "noises": False}


def test_finite_only_outputs_need_shape_and_finiteness(tmp_path):
    golden = record(
        tmp_path, {"a/x": [1.0, 2.0], "b": [3.0]}, {}, finite_only=["a", "b"]
    )
    assert verdicts(golden, {"a/x": np.array([9.0, 8.0]), "b": np.array([7.0])}) == {
        "a/x": True,
        "b": True,
    }
    got = {"a/x": np.array([9.0, np.inf]), "b": np.array([7.0, 7.0])}
    assert verdicts(golden, got) == {"a/x": False, "b": False}
    assert verdicts(golden, {}) == {"a/x": False, "b": False}


def test_text_is_a_rule_of_the_system_and_an_unknown_one_is_a_miss(tmp_path):
    golden = record(tmp_path, {"y": [1.0, 2.0]}, {"y": "up to order"})

    def up_to_order(golden, name, got, reference):
        same = sorted(got) == sorted(reference)
        return (0.0, "") if same else (np.inf, "other values")

    rules = {"up to order": up_to_order}
    assert verdicts(golden, {"y": np.array([2.0, 1.0])}, rules) == {"y": True}
    assert verdicts(golden, {"y": np.array([2.0, 3.0])}, rules) == {"y": False}
    (row,) = g.compare(golden, {"y": np.array([1.0, 2.0])}, {})
    assert not row.ok
    assert "unknown rule 'up to order'" in row.message


def test_unknown_key_of_a_tolerance_is_a_miss(tmp_path):
    row = verdict(tmp_path, [1.0], [1.0], {"atol": 1.0, "ulps": 3})
    assert not row.ok
    assert "ulps" in row.message


def test_file_that_is_no_golden_file_is_refused_by_name(tmp_path):
    path = tmp_path / "bad.npz"
    with pytest.raises(ValueError, match=r"bad\.npz"):
        g.read(path)
    path.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"bad\.npz: not a readable"):
        g.read(path)
    savez(path, {"output/y": np.zeros(1)})
    with pytest.raises(ValueError, match=r"bad\.npz: no array 'meta'"):
        g.read(path)
    np.savez(path, meta=np.array(json.dumps({"system": "s"})))
    with pytest.raises(ValueError, match=r"meta lacks \['case', 'config', 'toler"):
        g.read(path)
    savez(path, {"meta": np.array("{not json"), "output/y": np.zeros(1)})
    with pytest.raises(ValueError, match=r"bad\.npz: meta"):
        g.read(path)
    meta = np.array(json.dumps({**META, "tolerance": {}}))
    np.savez(path, meta=meta)
    with pytest.raises(ValueError, match="no output"):
        g.read(path)
    savez(path, {"meta": meta, "output/y": np.zeros(1), "weights/w": np.zeros(1)})
    with pytest.raises(ValueError, match=r"'weights/w': expected param/, input/"):
        g.read(path)
    with pytest.raises(ValueError, match="meta lacks"):
        g.write(path, {"system": "s"}, outputs={})


def test_truncated_file_is_refused_by_name(tmp_path):
    record(tmp_path, {"y": np.arange(1000.0)}, {})
    path = tmp_path / "case__variant.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"case__variant\.npz: not a readable"):
        g.read(path)


def plateau_file(folder, name, **meta):
    path = folder / name
    known = {"system": "track_extrapolator", "case": "lr_plateau"}
    config = {"lr": 1.0, "factor": 0.5, "patience": 0}
    g.write(
        path,
        {**known, "config": config, "tolerance": {"lr": {"rtol": 0.0}}, **meta},
        inputs={"metric": np.array([1.0, 1.0, 0.5])},
        outputs={"lr": np.array([1.0, 0.5, 0.5])},
    )
    return str(path)


def test_command_exits_with_0_only_when_every_file_is_within_tolerance(
    tmp_path, capsys
):
    good = plateau_file(tmp_path, "good.npz")
    assert command_line.main([good]) == 0
    assert "1 of 1 files within tolerance" in capsys.readouterr().out
    case = plateau_file(tmp_path, "case.npz", case="lr_unknown")
    system = plateau_file(tmp_path, "system.npz", system="os")
    rule = plateau_file(tmp_path, "rule.npz", tolerance={"lr": "by eye"})
    wrong = plateau_file(
        tmp_path, "wrong.npz", config={"lr": 1.0, "factor": 0.1, "patience": 0}
    )
    for path, message in (
        (case, "unknown case 'lr_unknown'"),
        (system, "unknown system 'os'"),
        (rule, "unknown rule 'by eye'"),
        (wrong, "deviation"),
        (str(tmp_path / "absent.npz"), "absent.npz"),
    ):
        assert command_line.main([good, path]) == 1, path
        out = capsys.readouterr().out
        assert message in out
        assert "1 of 2 files within tolerance" in out
        assert f"missed: {path}" in out


def test_quiet_command_prints_misses_only(tmp_path, capsys):
    good = plateau_file(tmp_path, "good.npz")
    rule = plateau_file(tmp_path, "rule.npz", tolerance={"lr": "by eye"})
    assert command_line.main(["--quiet", good, rule]) == 1
    out = capsys.readouterr().out
    assert "by eye" in out
    assert "ok " not in out


def test_case_with_nothing_to_compare_is_not_a_pass(tmp_path):
    path = plateau_file(tmp_path, "none.npz", not_compared=["*"])
    assert command_line.main([path]) == 1


def test_case_that_fails_with_an_exception_is_a_miss_and_the_others_still_run(
    tmp_path, capsys
):
    broken = plateau_file(tmp_path, "broken.npz", config={"lr": 1.0, "colour": 3})
    good = plateau_file(tmp_path, "good.npz")
    assert command_line.main([broken, good]) == 1
    assert "1 of 2 files" in capsys.readouterr().out
