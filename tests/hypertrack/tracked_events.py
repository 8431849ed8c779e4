"""A run on toy events for tests of what is done with it."""

import numpy as np

from jaxphys.hypertrack.inference import tracker as inference
from jaxphys.hypertrack.inference.clustering import ClusterSettings
from jaxphys.hypertrack.model.fast_net import FastNet
from jaxphys.hypertrack.model.set_transformer import SetTransformer
from jaxphys.hypertrack.model.voxel_training import gather_tracks, train_voxels
from jaxphys.hypertrack.training import objective, step

NET = FastNet(nstack=1, width=8, z_dim=5)
TRANSFORMER = SetTransformer(in_features=8, h_dim=8, nstack_dec=0, num_heads=2)
SETTINGS = objective.Settings(net=NET, transformer=TRANSFORMER)
CLUSTERING = ClusterSettings(edge_threshold=0.4, fixed_threshold=0.3)


def voxels_of(events, ncell=40):
    """Returns cells trained on the events."""
    return train_voxels(gather_tracks(events), ncell, niter=4)


def variables_of(key):
    """Returns untrained variables of both nets."""
    return step.initial_variables(key, SETTINGS)


def tracker_of(voxels, variables, algorithm="transformer", **options):
    """Returns a tracker with the nets above."""
    params = variables["params"]
    return inference.Tracker(
        voxels,
        NET,
        {"params": params["net"], "batch_stats": variables["batch_stats"]},
        TRANSFORMER,
        params["transformer"],
        algorithm=algorithm,
        settings=CLUSTERING,
        options=options,
        chunk=4096,
    )


def truthful_outputs(event):
    """Returns a function in place of the net that knows the truth of an event."""

    def outputs(net, variables, position, edge_index, **settings):
        del net, variables, settings
        label = event.label
        same = (label[edge_index[0]] == label[edge_index[1]]) & (
            label[edge_index[0]] >= 0
        )
        latents = np.zeros((len(position), NET.z_dim), np.float32)
        return latents, np.where(same, 5.0, -5.0).astype(np.float32)

    return outputs
