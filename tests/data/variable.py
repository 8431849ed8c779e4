"""A data set whose batches have one of two shapes, and epochs of unequal length."""

import numpy as np


class BucketBatches:
    """Batches of 8 or 16 rows by a rule of (epoch, index); weight 0 pads."""

    def __init__(self, small=8, large=16, resident=False):
        self.sizes = (small, large)
        self.keep = {"offset": np.full(3, 0.5, np.float32)} if resident else None
        self.reads = []

    def num_batches(self, epoch):
        return 5 + epoch % 3

    def shape_key(self, epoch, index):
        return self.sizes[(index // 2 + epoch) % 2]

    def batch(self, epoch, index, part):
        self.reads.append((epoch, index))
        rows = self.shape_key(epoch, index)
        rng = np.random.default_rng([epoch, index])
        x = rng.normal(size=(rows, 3)).astype(np.float32)
        weight = np.ones(rows, np.float32)
        weight[rows - index % 3 :] = 0
        y = np.sin(x.sum(axis=1, keepdims=True))
        return {"x": x[part], "y": y[part], "weight": weight[part]}

    def resident(self, epoch):
        return self.keep

    def expand(self, resident, batch):
        if resident is None:
            return batch
        return {**batch, "x": batch["x"] + resident["offset"][None]}
