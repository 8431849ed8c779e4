"""Predictions of every system for fixed inputs, to hold old runs against."""

import pathlib
import tempfile

import numpy as np

from tests.hidden_vertex.samples import lhco_rows, write_lhco


def tracks(run):
    """Returns the exit states of 50 tracks."""
    rng = np.random.default_rng(0)
    scale = [300.0, 250.0, 0.2, 0.15, 1e-4]
    return {"states": run.predict(rng.uniform(-1, 1, (50, 5)) * scale)}


def scores(run):
    """Returns the scores of eight events."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "events.h5"
        write_lhco(path, lhco_rows([8, 5, 30, 12, 7, 22, 9, 14]))
        found = run.predict(str(path))
    return dict(found.scores)


def muons(run):
    """Returns the bundles of 60 primaries."""
    rng = np.random.default_rng(0)
    energy = 10 ** rng.uniform(5, 7, 60)
    primaries = np.stack(
        [energy, rng.uniform(0, 0.6, 60), np.full(60, 0.938), np.full(60, 1950.0)], 1
    )
    found = run.predict(primaries, seed=1)
    return {"num_muons": found.num_muons, "muons": found.muons}


def states(run):
    """Returns the probabilities of the atoms in ten random frames."""
    rng = np.random.default_rng(0)
    atoms = len(run.atom_types)
    shape = (10, atoms, run.n_nbrs)
    return {
        "probabilities": run.probabilities(
            rng.integers(0, atoms, shape).astype(np.int32),
            np.sort(rng.uniform(3, 6, shape), axis=-1).astype(np.float32),
            rng.normal(size=(10, atoms, 3)).astype(np.float32),
        )
    }


def hits(run):
    """Returns the tracks of the first event of the package."""
    (one,) = run.predict("", [1], [1], seed=0)
    # an untrained net assigns few hits: its edges say more
    edges = one.reconstruction.edges
    return {"labels": one.labels, "probability": np.asarray(edges.prob)[::200]}


PREDICT = {
    "track_extrapolator": tracks,
    "hidden_vertex": scores,
    "cr_muons": muons,
    "gdynet": states,
    "hypertrack": hits,
}
