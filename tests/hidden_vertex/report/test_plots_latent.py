import dataclasses
from typing import Any

import numpy as np
import pytest

from jaxphys.hidden_vertex.analysis.evaluation import principal_components
from jaxphys.hidden_vertex.report.plots_latent import latent_pairs, latent_pca
from jaxphys.report import figures
from tests.hidden_vertex.scored_events import make_scored


@pytest.fixture(scope="module")
def scored():
    return make_scored()


def _drawn(picture) -> Any:
    return picture.figure


def _renders(picture):
    return figures.png(_drawn(picture), dpi=40).startswith(b"\x89PNG")


def _points(ax):
    return np.asarray(ax.collections[0].get_offsets())


def test_pca_shows_the_principal_components_by_label_and_by_score(scored):
    picture = latent_pca(scored)
    left, right, _ = _drawn(picture).axes
    expected, share = principal_components(scored.code.reshape(400, -1))
    for ax in (left, right):
        np.testing.assert_allclose(
            np.sort(_points(ax), axis=0), np.sort(expected, axis=0)
        )
    assert f"{100 * share[0]:.0f}%" in left.get_xlabel()
    colors, counts = np.unique(
        left.collections[0].get_facecolors(), axis=0, return_counts=True
    )
    assert sorted(counts) == [100, 300]
    assert len(colors) == 2
    # the most anomalous events lie on top
    assert np.all(np.diff(right.collections[0].get_array()) >= 0)
    assert _renders(picture)


def test_codes_of_one_number_are_a_spectrum_and_a_score():
    scored = make_scored(codes=(1, 1))
    picture = latent_pca(scored)
    left, right, _ = _drawn(picture).axes
    assert "events" in left.get_ylabel()
    np.testing.assert_array_equal(np.sort(_points(right)[:, 1]), np.sort(scored.score))
    assert _renders(picture)
    assert latent_pairs(scored).figure is None


def test_pairs_are_of_the_components_that_vary_most():
    base = make_scored(codes=(2, 3))
    assert base.code is not None
    scored = dataclasses.replace(base, code=base.code * [[1, 9, 8], [1, 7, 6]])
    picture = latent_pairs(scored, most=4)
    axes = _drawn(picture).axes
    assert len(axes) == 4 * 4 + 1  # and the bar of the colours
    names = [ax.get_xlabel() for ax in axes if ax.get_xlabel()]
    expected = ["jet 1 $z_{2}$", "jet 1 $z_{3}$", "jet 2 $z_{2}$", "jet 2 $z_{3}$"]
    assert names == expected
    assert picture.caption.endswith("(background in blue, signal in red).")
    assert _renders(picture)


def test_pairs_and_components_without_labels_render(scored):
    alone = dataclasses.replace(scored, label=None)
    assert _renders(latent_pca(alone))
    picture = latent_pairs(alone, most=2)
    assert "all events in grey" in picture.caption
    assert _renders(picture)


def test_many_events_are_thinned_and_broken_codes_left_out(scored):
    many = make_scored(background=4000, signal=500)
    assert many.code is not None
    many.code[:300] = np.nan
    for ax in _drawn(latent_pca(many)).axes[:2]:
        assert len(_points(ax)) == 4000
    few = dataclasses.replace(scored, code=np.where(scored.label == 1, 1, np.nan))
    few = dataclasses.replace(few, code=few.code[:, None, None] * np.ones((1, 1, 3)))
    assert len(_points(_drawn(latent_pca(few)).axes[0])) == 100


def test_no_codes_are_a_sentence(scored):
    for code in (None, np.zeros((400, 0, 0)), np.full((400, 1, 2), np.nan)):
        alone = dataclasses.replace(scored, code=code)
        assert latent_pca(alone).figure is None
        assert latent_pairs(alone).figure is None
