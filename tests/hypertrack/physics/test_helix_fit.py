import numpy as np
import pytest

from jaxphys.hypertrack.physics.helix_fit import fit_helices

FIRST = {"pt": 0.7, "eta": 1.2, "phi": 2.0, "charge": 1, "z0": 30.0}
OTHERS = [
    {"pt": 0.7, "eta": 1.2, "phi": 2.0, "charge": -1, "z0": 30.0},
    {"pt": 5.0, "eta": -2.0, "phi": -3.1, "charge": 1, "z0": -80.0},
    {"pt": 0.3, "eta": 0.0, "phi": 0.1, "charge": -1, "z0": 0.0},
]


def hits_of(pt, eta, phi, charge, z0, radii=(32, 72, 116, 172, 260, 360, 500)):
    """Returns where a particle from the beam line crosses cylinders, by small steps.

    The equation of motion dp/dt = q v x B is followed, not a circle.
    """
    curvature = 0.299792458e-3 * 2.0 * charge / pt  # 1 / mm
    step = 0.01
    x = y = arc = 0.0
    angle, found = phi, []
    for radius in radii:
        while np.hypot(x, y) < radius:
            middle = angle - curvature * step / 2
            x += step * np.cos(middle)
            y += step * np.sin(middle)
            angle -= curvature * step
            arc += step
        found.append((x, y, z0 + arc * np.sinh(eta)))
    return np.array(found)


def test_a_particle_is_found_again():
    tracks = [FIRST, *OTHERS]
    hits = [hits_of(**t) for t in tracks]
    labels = np.repeat(np.arange(len(hits)), [len(h) for h in hits])
    position = np.concatenate([*hits, np.full((3, 3), 900.0)])
    labels = np.append(labels, [-1] * 3)
    order = np.random.default_rng(0).permutation(len(labels))
    found = fit_helices(position[order], labels[order])
    for number, track in enumerate(tracks):
        assert found.pt[number] == pytest.approx(track["pt"], rel=1e-3)
        assert found.eta[number] == pytest.approx(track["eta"], abs=1e-3)
        assert found.phi[number] == pytest.approx(track["phi"], abs=1e-3)
        assert found.z0[number] == pytest.approx(track["z0"], abs=0.1)
        assert found.charge[number] == track["charge"]
        assert found.d0[number] < 0.05


def test_too_few_or_straight_hits_have_no_momentum():
    line = np.outer(np.arange(1, 6), [30.0, 40.0, 10.0])
    position = np.concatenate([line, line[:2]])
    found = fit_helices(position, np.array([0] * 5 + [1] * 2), num_tracks=3)
    assert np.isnan(found.pt[1:]).all()
    assert found.charge[1:].tolist() == [0, 0]
    assert not found.pt[0] < 1000
    assert len(fit_helices(np.zeros((0, 3)), np.zeros(0, int)).pt) == 0
