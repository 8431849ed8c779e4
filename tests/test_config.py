"""The configuration, its flags and its flagfile say the same thing."""

import dataclasses
from typing import ClassVar

import pytest
from absl import flags
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxphys import command_line, config
from jaxphys.config import option


@dataclasses.dataclass(frozen=True)
class Toy(config.RunConfig):
    EXPERIMENT = "toy"
    MODES: ClassVar = ("train", "evaluate", "simulate")
    RENAMED: ClassVar = {"num_samples": "--samples"}
    NO_EFFECT: ClassVar = {"pin_memory": "arrays are placed by the compiler"}
    samples: int = option(10, "how many", unit="tracks", minimum=1, maximum=1000)
    rate: float = option(0.1, "rate", change="structural")
    widths: tuple[int, ...] = option((3, 2), "widths", change="structural")
    scales: tuple[float, ...] = option((), "scales", unit="mm")
    names: tuple[str, ...] = option((), "names")
    epochs: int = option(5, "epochs", unit="rounds", change="extendable")
    schedule: tuple[str, ...] = option(("a",), "phases", change="extendable")
    kind: str = option("x", "kind", choices=("x", "y"))
    flag: bool = option(True, "switch")
    checked_on: str = option("", "validation data", change="training")


_words = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]))


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 1000),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    widths=st.lists(st.integers(-9, 9)).map(tuple),
    scales=st.lists(st.floats(-1e300, 1e300)).map(tuple),
    flag=st.booleans(),
    data=_words.map(str.strip),
)
def test_flagfile_round_trip_is_exact(tmp_path_factory, **values):
    path = tmp_path_factory.mktemp("flags") / "config.flags"
    before = Toy(**values)
    path.write_text(command_line.to_flagfile(before))
    assert command_line.read_flagfile(Toy, path) == before


def test_saved_flags_of_earlier_names_are_translated(tmp_path):
    path = tmp_path / "config.flags"
    path.write_text("# experiment: toy\n--num_samples=30\n--rate=0.5\n")
    assert command_line.read_flagfile(Toy, path) == Toy(samples=30, rate=0.5)


def test_last_value_wins_and_flagfile_is_expanded_in_place(tmp_path):
    path = tmp_path / "a.flags"
    path.write_text("# comment\n--samples=20\n--widths=7,8,9\n")
    parsed = command_line.parse_command_line(
        Toy, ["--samples=30", f"--flagfile={path}", "--rate=2"]
    )
    assert (parsed.samples, parsed.rate, parsed.widths) == (20, 2.0, (7, 8, 9))
    parsed = command_line.parse_command_line(
        Toy, [f"--flagfile={path}", "--samples=30"]
    )
    assert parsed.samples == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sampels=3"], "sampels"),
        (["--samples=0"], "--samples=0: expected at least 1 tracks"),
        (["--samples=1001"], "at most 1000"),
        (["--samples=1.5"], "samples"),
        (["--widths=1,b"], "--widths: 'b'"),
        (["--kind=z"], "kind"),
        (["--mode=predict"], "mode"),
        (["--rate=nan"], "--rate=nan: expected a finite"),
        (["samples=3"], "'samples=3' is not a flag"),
        (["--num-samples=3"], "--num-samples is --samples here"),
        (["--num_samples=3"], "--num_samples is --samples here"),
        (["--flagfile=/no/such/file"], "/no/such/file"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        command_line.parse_command_line(Toy, arguments)


def test_positional_line_in_flagfile_is_refused(tmp_path):
    path = tmp_path / "a.flags"
    path.write_text("--samples=20\nrate=3\n")
    with pytest.raises(ValueError, match="'rate=3' is not a flag"):
        command_line.parse_command_line(Toy, [f"--flagfile={path}"])


def test_run_of_another_experiment_is_refused(tmp_path):
    path = tmp_path / "config.flags"
    path.write_text("# experiment: other\n--samples=3\n")
    with pytest.raises(ValueError, match="expected a run of experiment 'toy'"):
        command_line.read_flagfile(Toy, path)


def test_resume_refuses_structural_changes_field_by_field():
    with pytest.raises(ValueError, match="cannot be resumed") as caught:
        config.check_resume(Toy(), Toy(rate=0.2, widths=(1,), epochs=4, seed=3))
    text = str(caught.value)
    for line in ("--rate: was 0.1", "--widths: was (3, 2)", "--epochs: 5", "--seed"):
        assert line in text


def test_resume_accepts_extensions_and_free_changes():
    config.check_resume(Toy(), Toy(epochs=9, schedule=("a", "b"), samples=7))
    with pytest.raises(ValueError, match="--schedule"):
        config.check_resume(Toy(), Toy(schedule=("b",)))


def test_what_belongs_to_the_training_may_change_in_other_modes():
    config.check_resume(Toy(), Toy(mode="evaluate", checked_on="other"))
    with pytest.raises(ValueError, match="--checked_on: was '', now 'other'"):
        config.check_resume(Toy(), Toy(checked_on="other"))


def test_options_need_help():
    @dataclasses.dataclass(frozen=True)
    class Bad(config.RunConfig):
        x: float = option(1.0, "")

    with pytest.raises(TypeError, match=r"Bad.x: needs option\(help\)"):
        Bad()


def test_help_text_carries_the_unit():
    values = flags.FlagValues()
    command_line.define_flags(Toy, values)
    assert values["samples"].help == "how many [tracks]"


@pytest.mark.parametrize("written", ["--pin_memory", "--nopin-memory", "-pin_memory=1"])
def test_flag_without_effect_is_dropped_with_the_reason(capsys, written):
    assert command_line.parse_command_line(Toy, [written, "--samples=7"]).samples == 7
    assert "has no effect here: arrays are placed" in capsys.readouterr().err
