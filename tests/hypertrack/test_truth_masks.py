"""The oracle of the transformer."""

import numpy as np

from tests.hypertrack.truth_masks import pivot_majority, truth_masks


def test_the_most_frequent_label_wins_and_the_smallest_of_equals():
    labels = np.array([[4, 4, 7], [7, 4, 9], [-1, -1, 3], [5, 3, -1], [2, 2, 2]])
    assert pivot_majority(labels).tolist() == [4, 4, -1, -1, 2]


def test_truth_marks_the_hits_of_the_pivots_track():
    track = np.array([0, 0, 1, -1, 0])
    rows = np.array([[0, 2, 4, 3], [3, 0, 1, 0]])
    mask = np.array([[True] * 4, [True, True, True, False]])
    found = truth_masks(track)(rows, mask, np.array([[0, 1, 2], [3, 3, 0]]))
    assert found.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]
