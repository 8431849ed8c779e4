"""What is computed of events follows from what is asked for."""

import pickle

import pytest

from jaxphys.hidden_vertex.data.reading import Reading


@pytest.mark.parametrize(
    ("contents", "k", "radius", "views"),
    [
        (("knn",), 4, 0.0, ()),
        (("radius",), 0, 0.3, ()),
        (("jets",), 0, 0.0, ("jets",)),
        (("event", "jets", "knn", "radius"), 4, 0.3, ("event", "jets")),
    ],
)
def test_recipe_holds_what_is_asked_for_and_nothing_else(contents, k, radius, views):
    recipe = Reading(k=4, radius=0.3).recipe(contents, read_rows=7)
    assert (recipe.k, recipe.radius, recipe.views) == (k, radius, views)
    assert recipe.with_ax == bool(k)
    assert recipe.read_rows == 7
    assert pickle.loads(pickle.dumps(recipe)) == recipe


def test_observables_are_those_of_the_jets():
    cones, fastjet = (Reading(jets=kind).recipe(("knn",)) for kind in
                      ("cones", "fastjet"))  # fmt: skip
    assert cones.observables is not fastjet.observables
    assert fastjet.jets == "fastjet"
