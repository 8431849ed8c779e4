"""--help says of every flag what it is, in groups, in whole phrases."""

import importlib
import re

import pytest

from jaxphys.flag_help import help_of
from jaxphys.options import GROUPS, declared, group_of
from tests.structure.checkout import systems

SYSTEMS = systems()
# a text that begins so belongs to the line above
FRAGMENT = re.compile(r"(of|its|their|last ones|likewise|these|those|such|also|as) ")


def config_of(system):
    return importlib.import_module(f"experiments.{system}.config").Config


@pytest.mark.parametrize("system", SYSTEMS)
def test_texts_are_whole_phrases(system):
    texts = {name: details.help for name, _, details in declared(config_of(system))}
    fragments = {
        name: text
        for name, text in texts.items()
        if FRAGMENT.match(text) or len(text.split()) < 3
    }
    assert fragments == {}
    assert len(set(texts.values())) == len(texts)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_flag_stands_in_one_known_group(system):
    kind = config_of(system)
    text = help_of(kind, {})
    for name, _, details in declared(kind):
        assert group_of(kind, name, details) in GROUPS, name
        assert len(re.findall(rf"^  --(?:\[no\])?{name}[= ]", text, re.M)) == 1, name
    assert max(map(len, text.splitlines())) < 120


def test_entry_says_default_unit_range_and_what_may_change():
    text = help_of(config_of("track_extrapolator"), {"mode": ("train", "predict")})
    entry = re.search(r"  --p_min=2.0\n((?:      .*\n)+)", text)
    assert entry is not None
    words = " ".join(entry.group(1).split())
    assert words.endswith("; GeV; at least 0.001; fixed: a run that goes on refuses "
                          "another value")  # fmt: skip
    assert "--[no]check_only (default: off)" in text
    assert "one of train, predict" in " ".join(text.split())
    assert text.index("run:\n") < text.index("data:\n") < text.index("model:\n")
