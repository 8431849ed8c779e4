"""Small events for tests, and TrackML files of them."""

import gzip

import numpy as np

from jaxphys.hypertrack.physics.events import Event, Particles

HIT_HEAD = "hit_id,x,y,z,volume_id,layer_id,module_id"
TRUTH_HEAD = "hit_id,particle_id,tx,ty,tz,tpx,tpy,tpz,weight"
PARTICLE_HEAD = "particle_id,vx,vy,vz,px,py,pz,q,nhits"


def random_event(seed=0, num_tracks=12, num_noise=9, event_id=7) -> Event:
    """Returns an event of tracks of 1 to 14 hits whose files are in any order."""
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 15, num_tracks)
    label = rng.permutation(
        np.concatenate([np.repeat(np.arange(num_tracks), count), [-1] * num_noise])
    ).astype(np.int32)
    size = len(label)
    # bits that float64 would lose, and several vertices
    identity = (rng.integers(1, 5, num_tracks) << 52) + np.arange(num_tracks) * 2 + 1
    weight = np.where(label < 0, 0, rng.random(size)).astype(np.float32)
    return Event(
        event_id=event_id,
        position=rng.normal(0, 300, (size, 3)).astype(np.float32),
        hit_id=np.sort(rng.choice(5 * size, size, replace=False)) + 6,
        label=label,
        weight=weight / weight.sum(),
        particles=Particles(
            particle_id=identity.astype(np.int64),
            vertex=rng.normal(0, 5, (num_tracks, 3)).astype(np.float32),
            momentum=rng.normal(0, 1, (num_tracks, 3)).astype(np.float32),
            charge=rng.choice([-1, 1], num_tracks).astype(np.int32),
            num_hits=count.astype(np.int32),
            particle_type=rng.choice([11, -211], num_tracks).astype(np.int32),
        ),
        volume_id=rng.choice([7, 8, 13], size).astype(np.int32),
        layer_id=rng.choice([2, 4], size).astype(np.int32),
        module_id=rng.integers(1, 3000, size).astype(np.int32),
        truth_order=rng.permutation(size),
    )


def tables(event, particle_type=True):
    """Returns the lines of the files of an event, name -> list of lists of text."""
    axis = event.position.astype(str)
    hits = [
        [str(event.hit_id[i]), *axis[i], *(str(v[i]) for v in _places(event))]
        for i in range(event.num_hits)
    ]
    own = event.particles
    truth = []
    for i in np.argsort(event.truth_order):
        label = event.label[i]
        identity = own.particle_id[label] if label >= 0 else 0
        weight = str(event.weight[i])
        truth.append([str(event.hit_id[i]), str(identity), *["0.5"] * 6, weight])
    particles = [
        [
            str(own.particle_id[p]),
            *([str(own.particle_type[p])] if particle_type else []),
            *own.vertex[p].astype(str),
            *own.momentum[p].astype(str),
            str(own.charge[p]),
            "99",  # never to be trusted
        ]
        for p in range(len(own))
    ]
    # a particle without hits in the middle
    lost = ["4611686018427387905", *(["13"] if particle_type else []), *["0"] * 6]
    particles.insert(len(own) // 2, [*lost, "1", "0"])
    head = PARTICLE_HEAD
    if particle_type:
        head = head.replace("particle_id,", "particle_id,particle_type,")
    return {
        "hits": [HIT_HEAD.split(","), *hits],
        "truth": [TRUTH_HEAD.split(","), *truth],
        "particles": [head.split(","), *particles],
    }


def _places(event):
    return event.volume_id, event.layer_id, event.module_id


def write_tables(folder, event_id, lines, ending=".csv"):
    """Writes the files of an event."""
    folder.mkdir(exist_ok=True, parents=True)
    for kind, rows in lines.items():
        text = "".join(",".join(row) + "\n" for row in rows).encode()
        path = folder / f"event{event_id:09d}-{kind}{ending}"
        path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    return folder


def write_event(folder, event, ending=".csv", particle_type=True):
    """Writes an event as TrackML files."""
    lines = tables(event, particle_type)
    return write_tables(folder, event.event_id, lines, ending)


def require_same(found, expected):
    """Fails where two events differ in a number or in a type."""
    for name in vars(expected):
        own, other = getattr(found, name), getattr(expected, name)
        if name == "particles":
            require_same(own, other)
        elif other is None:
            assert own is None, name
        else:
            np.testing.assert_array_equal(own, other, err_msg=name)
            if isinstance(other, np.ndarray):
                assert own.dtype == other.dtype, name
