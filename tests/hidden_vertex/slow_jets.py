"""Jets, frames and observables of one event by plain loops in float64."""

import math

import numpy as np


def jetty_events(sizes, seed=0, prongs=2):
    """Returns events (particles [N, 3] float32, offset) with back-to-back sprays."""
    rng = np.random.default_rng(seed)
    parts = []
    for size in sizes:
        pt = rng.exponential(10.0, size) + 0.1
        axis = np.array([[rng.normal(), rng.uniform(-np.pi, np.pi)]] * prongs)
        axis[1:, 0] = rng.normal(size=prongs - 1)
        axis[:, 1] += np.arange(prongs) * np.pi
        near = axis[rng.integers(prongs, size=size)]
        place = near + rng.normal(size=(size, 2)) * rng.choice(
            [0.1, 0.5, 1.5], (size, 1)
        )
        parts.append(np.column_stack([pt, place[:, 0], wrap(place[:, 1])]))
    offset = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return np.concatenate(parts).astype(np.float32), offset


def wrap(phi):
    return (np.asarray(phi) + np.pi) % (2 * np.pi) - np.pi


def four_vector(particles):
    """Returns the sum (E, px, py, pz) of massless particles [n, 3]."""
    total = np.zeros(4)
    for pt, eta, phi in np.asarray(particles, np.float64):
        direction = math.cosh(eta), math.cos(phi), math.sin(phi), math.sinh(eta)
        total += pt * np.array(direction)
    return total


def pt_of(p):
    return math.hypot(p[1], p[2])


def mass_of(p):
    return math.sqrt(max(p[0] ** 2 - p[1] ** 2 - p[2] ** 2 - p[3] ** 2, 0))


def distance_squared(eta, phi, axis):
    return (eta - axis[0]) ** 2 + float(wrap(phi - axis[1])) ** 2


def cones(event, radius=1.0):
    """Returns two lists of indices, that of the jet of larger pT first."""
    event = np.asarray(event, np.float64)
    left = sorted(range(len(event)), key=lambda i: -event[i, 0])
    jets = []
    for _ in range(2):
        members = []
        if left:
            axis = event[left[0], 1:].copy()
            for _ in range(3):
                members = [
                    i
                    for i in left
                    if distance_squared(*event[i, 1:], axis) <= radius**2
                ]
                pt = event[members, 0]
                shift = wrap(event[members, 2] - axis[1])
                axis[0] = (pt * event[members, 1]).sum() / pt.sum()
                axis[1] += (pt * shift).sum() / pt.sum()
        jets.append(members)
        left = [i for i in left if i not in members]
    return sorted(jets, key=lambda m: -pt_of(four_vector(event[m])))


def cluster(event, power, radius, exclusive=0):
    """Returns the jets of generalised kT (-1 anti-kT, 1 kT) as sets of indices.

    Inclusive jets by falling pT, or so many exclusive ones.
    """
    pseudo = [({i}, four_vector(event[[i]])) for i in range(len(event))]
    jets = []
    while pseudo and len(pseudo) > exclusive:
        found = []
        for a, (_, p) in enumerate(pseudo):
            found.append((pt_of(p) ** (2 * power), a, None))
            for b, (_, q) in enumerate(pseudo[:a]):
                apart = distance_squared(
                    rapidity(p), phi_of(p), (rapidity(q), phi_of(q))
                )
                scale = min(pt_of(p) ** (2 * power), pt_of(q) ** (2 * power))
                found.append((scale * apart / radius**2, a, b))
        _, a, b = min(found, key=lambda f: f[0])
        members, p = pseudo.pop(a)
        if b is None:
            jets.append((members, p))
        else:
            other, q = pseudo.pop(b)
            pseudo.append((members | other, p + q))
    jets = pseudo if exclusive else jets
    return [m for m, _ in sorted(jets, key=lambda jet: -pt_of(jet[1]))]


def rapidity(p):
    return 0.5 * math.log((p[0] + p[3]) / (p[0] - p[3]))


def phi_of(p):
    return math.atan2(p[2], p[1])


def tau(event, axes):
    """Returns tau_N of one jet [n, 3] about its exclusive kT jets."""
    event = np.asarray(event, np.float64)
    jets = [four_vector(event[sorted(m)]) for m in cluster(event, 1, 1.5, axes)]
    total = 0.0
    for pt, eta, phi in event:
        places = [(rapidity(p), phi_of(p)) for p in jets]
        total += pt * math.sqrt(min(distance_squared(eta, phi, a) for a in places))
    return total / event[:, 0].sum()


def frame(jet, most=48):
    """Returns one jet [n, 3], hardest first, in its frame, [most, 3]."""
    jet = np.asarray(jet, np.float64)
    out = np.zeros((most, 3))
    if not len(jet):
        return out
    w = jet[:, 0] / jet[:, 0].sum()
    e = jet[:, 1] - (w * jet[:, 1]).sum()
    p = wrap(jet[:, 2] - jet[0, 2])
    p = p - (w * p).sum()
    theta = 0.5 * math.atan2(2 * (w * e * p).sum(), (w * e**2).sum() - (w * p**2).sum())
    x = e * math.cos(theta) + p * math.sin(theta)
    y = -e * math.sin(theta) + p * math.cos(theta)
    x = -x if (w * x**3).sum() < 0 else x
    y = -y if (w * y**3).sum() < 0 else y
    kept = np.column_stack([w, x, y])[:most]
    out[: len(kept)] = kept
    return out


def event_frame(event, jet, most=128):
    """Returns an event [n, 3] turned to the axis of a jet [m, 3], [most, 3]."""
    event, jet = np.asarray(event, np.float64), np.asarray(jet, np.float64)
    w = jet[:, 0] / jet[:, 0].sum()
    axis = (w * jet[:, 1]).sum(), jet[0, 2] + (w * wrap(jet[:, 2] - jet[0, 2])).sum()
    turned = event[np.argsort(-event[:, 0], kind="stable")][:most].copy()
    turned[:, 1] *= -1 if axis[0] < 0 else 1
    turned[:, 2] = wrap(turned[:, 2] - axis[1])
    out = np.zeros((most, 3))
    out[: len(turned)] = turned
    return out
