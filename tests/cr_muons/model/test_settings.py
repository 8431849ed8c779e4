"""Settings are checked where they are made."""

import pytest

from jaxphys.cr_muons.model.settings import GanSettings
from tests.cr_muons.recipes import NEW, PUBLISHED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score_head", "tanh"),
        ("critic_pooling", "max"),
        ("critic_steps", 0),
        ("learning_rate", -1.0),
        ("gp_sample_fraction", 1.5),
    ],
)
def test_a_wrong_value_is_refused_with_its_flag(name, value):
    with pytest.raises(ValueError, match=f"--{name}={value!r}: expected "):
        GanSettings(**{name: value})


def test_rotation_needs_x_and_y():
    with pytest.raises(ValueError, match="rotate_output"):
        GanSettings(feat_dim=2, rotate_output=True)


def test_published_configurations_are_those_of_the_record():
    nogp = PUBLISHED["sgd_nogp_cs5"]
    assert not nogp.penalised
    assert (nogp.optimizer, nogp.learning_rate, nogp.momentum) == ("sgd", 2e-5, 0.5)
    assert (nogp.critic_steps, nogp.grad_clip_norm) == (5, 1e7)
    assert PUBLISHED["adam_gp_cs1"] == GanSettings()
    assert all(s.gp_max_pairs == 4096 and s.gp_every == 2 for s in PUBLISHED.values())


def test_heads_choose_the_layers_of_the_critic():
    assert GanSettings(score_head="sqrt_tanh").decision_widths == (128,)
    assert not GanSettings(score_head="sqrt_clamp").normed_critic
    assert NEW.decision_widths == (128, 64)
