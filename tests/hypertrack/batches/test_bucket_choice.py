"""The sizes of a run hold every graph that it may draw."""

import numpy as np

from jaxphys.hypertrack.batches.bucket_choice import (
    evaluation_buckets,
    training_buckets,
)
from tests.hypertrack.batches.test_graph_batches import draws


def holds(bucket, sizes):
    return all(np.array([bucket.nodes, bucket.edges, bucket.tracks]) >= sizes)


def test_every_training_graph_finds_a_bucket_and_few_find_the_first():
    made = draws()
    buckets = training_buckets(made, 2, 1000)
    assert [b.edges for b in buckets] == sorted(b.edges for b in buckets)
    sizes = [made.sizes(i, 0) for i in range(50)]
    assert all(holds(buckets[-1], size) for size in sizes)
    assert 0 < sum(holds(buckets[0], size) for size in sizes) < 50


def test_graphs_of_an_evaluation_fit():
    made = draws()
    buckets = evaluation_buckets(made, 2)
    for place in range(len(made.events)):
        assert holds(buckets[-1], made.fixed_sizes(place))
