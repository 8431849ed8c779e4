from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.report import figures
from jaxphys.track_extrapolator.physics.field import GaussSeed, UniformField
from jaxphys.track_extrapolator.report import plots


@pytest.fixture
def tracks():
    rng = np.random.default_rng(0)
    p_gev = np.exp(rng.uniform(np.log(2), np.log(100), 3000))
    state = rng.uniform(-1, 1, (3000, 5)) * [900, 750, 0.3, 0.25, 5e-4]
    errors = {
        "network": rng.lognormal(-3, 1, 3000) / p_gev,
        "RK4 8 steps": rng.lognormal(-8, 1, 3000) / p_gev,
    }
    return p_gev, state, errors


def _drawn(picture) -> Any:
    return picture.figure


def _renders(picture):
    return figures.png(_drawn(picture), dpi=40).startswith(b"\x89PNG")


def _axis_texts(picture):
    axes = _drawn(picture).axes
    return [a.get_xlabel() for a in axes] + [a.get_ylabel() for a in axes]


def test_every_track_is_counted_once_in_each_spectrum(tracks):
    _, _, errors = tracks
    picture = plots.error_histogram(errors)
    (ax,) = _drawn(picture).axes
    labels = ax.get_legend_handles_labels()[1]
    for patch, label in zip(ax.patches, labels, strict=True):
        below = int(label.split("(")[1].split(" below")[0]) if "below" in label else 0
        assert patch.get_data().values.sum() + below == 3000
    assert "mm" in ax.get_xlabel()
    assert _renders(picture)


def test_spectra_without_any_error_are_a_sentence():
    for error in (np.zeros(5), np.full(5, np.nan), np.zeros(0)):
        picture = plots.error_histogram({"network": error})
        assert picture.figure is None
        assert picture.reason.endswith(".")


def test_an_exact_method_beside_the_network_does_not_break_the_spectra(tracks):
    _, _, errors = tracks
    picture = plots.error_histogram({**errors, "exact": np.zeros(3000)})
    assert _renders(picture)


def test_momentum_profile_shows_five_wide_and_twenty_fine_bins(tracks):
    p_gev, _, errors = tracks
    picture = plots.momentum_profile(p_gev, errors)
    (ax,) = _drawn(picture).axes
    assert ax.get_xscale() == ax.get_yscale() == "log"
    counts = sorted({len(c[0].get_xdata()) for c in ax.containers if c[0]})
    assert counts == [20]
    bars = [c.has_xerr for c in ax.containers]
    assert bars.count(True) == 2  # mean and 95% quantile in the five bins
    legend = [t.get_text() for t in _drawn(picture).legends[0].get_texts()]
    assert legend == ["network: mean", "network: 95% quantile", "RK4 8 steps"]
    assert "GeV" in ax.get_xlabel()
    assert _renders(picture)


@pytest.mark.parametrize("n", [0, 1])
def test_momentum_figures_of_too_few_tracks_are_sentences(n):
    p_gev, error = np.full(n, 5.0), np.ones(n)
    assert plots.momentum_profile(p_gev, {"network": error}).figure is None
    assert plots.bias_profile(p_gev, np.ones((n, 4))).figure is None


def test_bias_is_shown_in_units_of_the_mean_error():
    p_gev = np.full(100, 7.0)
    difference = np.zeros((100, 4))
    difference[:, 0] = np.where(np.arange(100) < 75, 2.0, -2.0)
    picture = plots.bias_profile(p_gev, difference, log_bins=1)
    (ax,) = _drawn(picture).axes
    points = ax.containers[0][0].get_ydata()
    np.testing.assert_allclose(points, [0.5])
    low, high = ax.get_ylim()
    assert low == -high  # zero stays in the middle
    assert _renders(picture)


def test_maps_cover_entry_position_and_entry_slope(tracks):
    _, state, errors = tracks
    picture = plots.error_maps(state, errors["network"], z_in=3000)
    texts = _axis_texts(picture)
    assert "x at z = 3000 mm [mm]" in texts
    assert "slope $t_x$" in texts
    assert texts.count("median position error [mm]") == 2
    assert _renders(picture)


def test_maps_without_errors_are_a_sentence(tracks):
    _, state, _ = tracks
    assert plots.error_maps(state, np.full(3000, np.nan)).figure is None
    assert plots.error_maps(state[:0], np.zeros(0)).figure is None


def test_maps_of_a_single_track_still_render(tracks):
    _, state, errors = tracks
    assert _renders(plots.error_maps(state[:1], errors["network"][:1]))


def _points():
    return [
        plots.SpeedPoint(
            "network", 0.02, {1: 90.0, 1000: 0.5, 100_000: 0.3}, "network"
        ),
        plots.SpeedPoint("RK4 8 steps", 6e-4, {1: 80.0, 100_000: 0.03}, "rk4"),
        plots.SpeedPoint("RK4 40 steps", 1e-6, {1: 99.0, 100_000: 0.4}, "rk4"),
        plots.SpeedPoint("exact", 0.0, {1: 1.0}),
        plots.SpeedPoint("untimed", 1.0, {}),
    ]


def test_speed_figure_names_every_method_that_has_both_numbers():
    picture = plots.speed_accuracy(_points(), {"published": 0.327})
    (ax,) = _drawn(picture).axes
    names = {t.get_text() for t in ax.texts}
    assert names == {"network", "RK4 8 steps", "RK4 40 steps", "published"}
    joined = [line for line in ax.lines if len(set(line.get_ydata())) == 2]
    np.testing.assert_allclose(joined[0].get_xdata(), [0.4, 0.03])
    low, high = ax.get_ylim()
    assert low < 1e-6
    assert high > 0.327
    legend = [t.get_text() for t in _drawn(picture).legends[0].get_texts()]
    assert legend == ["batches of 100,000", "batches of 1,000", "batches of 1"]
    assert _renders(picture)


def test_speed_figure_without_points_is_a_sentence():
    assert plots.speed_accuracy([]).figure is None
    assert plots.speed_accuracy(_points()[3:]).figure is None


def test_integral_of_a_uniform_field_is_field_times_length():
    def uniform(x, y, z):
        return jnp.zeros_like(z), jnp.full_like(z, -0.7), jnp.zeros_like(z)

    np.testing.assert_allclose(plots.axis_integral(uniform, 3000, 7000), -2.8)
    np.testing.assert_allclose(plots.axis_integral(uniform, 7000, 3000), 2.8)


def test_integral_of_the_seed_field_is_the_known_one():
    assert abs(plots.axis_integral(GaussSeed(), 3000, 7000) - 3.597) < 5e-4


def test_field_profile_names_the_integral_between_the_planes():
    picture = plots.field_profile(GaussSeed(), 3000, 7000)
    texts = [t.get_text() for ax in _drawn(picture).axes for t in ax.texts]
    assert texts == ["3.597 T m"]
    assert "z [m]" in _axis_texts(picture)
    assert _renders(picture)
    assert plots.field_profile(None, 3000, 7000).figure is None


def test_field_profile_accepts_a_constant_field():
    assert _renders(plots.field_profile(UniformField(0.0, -1.0, 0.0), 0, 1000))
