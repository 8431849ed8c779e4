"""Conditions and features that the networks see, of physical numbers, and back.

Every function takes numpy or jax arrays and returns the same kind.
"""

import dataclasses
import json
from typing import Any

import jax.numpy as jnp
import numpy as np

Array = Any
ENERGY_SCALE = 1e6  # GeV
LENGTH_SCALE = 500.0  # m
DEPTH_SCALE = 1000.0  # m
ENERGY_EPSILON = 1e-10  # of E / ENERGY_SCALE; keeps E = 0 finite, is not undone
CENTRE_OF_EARTH = 6374134.0  # m, distance to the surface of the ice
DEPTH_KINDS = ("vertical", "slant")
FEATURE_NORMS = ("original", "standardized", "log_radius")
LEAST_RADIUS = 1e-3  # m; keeps the logarithm finite
MOST_MUONS = 1_000_000  # that a mean and a spread are taken from


def _module(array):
    return np if isinstance(array, np.ndarray) else jnp


def normalise_conditions(primaries: Array, depth_kind: str = "vertical") -> Array:
    """Returns log10(E / PeV), cos(zenith), log10(mass / GeV), depth in km.

    Args:
        primaries: [..., 4] energy GeV, zenith rad, mass GeV, vertical depth m.
        depth_kind: "vertical", or "slant" for the length of the track in ice.
    """
    xp = _module(primaries)
    energy, zenith, mass, depth = (primaries[..., i] for i in range(4))
    if depth_kind == "slant":
        depth = slant_depth(depth, zenith)
    elif depth_kind != "vertical":
        raise ValueError(
            f"depth_kind: expected {' or '.join(DEPTH_KINDS)}, got {depth_kind!r}"
        )
    columns = (
        xp.log10(energy / ENERGY_SCALE),
        xp.cos(zenith),
        xp.log10(mass),
        depth / DEPTH_SCALE,
    )
    return xp.stack(columns, axis=-1)


def slant_depth(depth: Array, zenith: Array) -> Array:
    """Returns the length of a straight track from the surface to a vertical depth.

    Args:
        depth: Vertical depth d in m.
        zenith: Angle at the detector in rad.

    Reference:
        sqrt(2 R d + cos^2(zenith) (R - d)^2 - d^2) - (R - d) cos(zenith).
    """
    xp = _module(depth)
    cosine, radius = xp.cos(zenith), CENTRE_OF_EARTH
    along = (radius - depth) * cosine
    # the difference of two nearly equal numbers, without the loss of digits
    square = depth * (2 * radius - depth)
    return square / (xp.sqrt(square + along**2) + along)


def normalise_muons(muons: Array) -> Array:
    """Returns log10(E / PeV + 1e-10), x / 500 m, y / 500 m of muons [..., 3]."""
    xp = _module(muons)
    energy = xp.log10(muons[..., :1] / ENERGY_SCALE + ENERGY_EPSILON)
    return xp.concatenate([energy, muons[..., 1:] / LENGTH_SCALE], axis=-1)


def denormalise_muons(features: Array) -> Array:
    """Returns energy in GeV and x, y in m of features [..., 3].

    The 1e-10 of `normalise_muons` is not undone: 0 GeV come back as 1e-4 GeV.
    """
    xp = _module(features)
    energy = ENERGY_SCALE * 10.0 ** features[..., :1]
    return xp.concatenate([energy, features[..., 1:] * LENGTH_SCALE], axis=-1)


@dataclasses.dataclass(frozen=True)
class FeatureNorm:
    """Turns muons into features of the networks and back.

    Attributes:
        kind: "original": see `normalise_muons`; "standardized": that, then less a mean
            and divided by a spread, one spread for x and y so that no direction is
            preferred; "log_radius": log10 of energy and of the distance from the axis,
            standardised: two features, because only the distance is physical.
        mean: of the features before they are standardised.
        std: of the same.
    """

    kind: str = "original"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.kind not in FEATURE_NORMS:
            raise ValueError(
                f"feature_norm: expected one of {', '.join(FEATURE_NORMS)}, got "
                f"{self.kind!r}"
            )
        sizes = {len(self.mean), len(self.std)}
        finite = all(np.isfinite(self.mean)) and all(s > 0 for s in self.std)
        if sizes != {self.num_features} or not finite:
            raise ValueError(
                f"feature_norm={self.kind}: expected {self.num_features} finite means "
                f"and spreads > 0, got {self.mean} and {self.std}"
            )

    @property
    def num_features(self) -> int:
        """Features of a muon."""
        return 2 if self.kind == "log_radius" else 3

    def apply(self, muons: Array) -> Array:
        """Returns features [..., 3] (log_radius: [..., 2]) of muons in GeV and m."""
        features = _features(muons, self.kind)
        if self.kind == "original":
            return features
        return (features - self._row(self.mean, muons)) / self._row(self.std, muons)

    def invert(self, features: Array, angle: Array | None = None) -> Array:
        """Returns the muons [..., 3] in GeV and m of features.

        Args:
            features: as `apply` returns them.
            angle: [...] around the axis in rad, for log_radius; None: all at y = 0.
        """
        if self.kind != "original":
            scaled = features * self._row(self.std, features)
            features = scaled + self._row(self.mean, features)
        if self.kind != "log_radius":
            return denormalise_muons(features)
        xp = _module(features)
        radius = 10.0 ** features[..., 1]
        cosine, sine = (1.0, 0.0) if angle is None else (xp.cos(angle), xp.sin(angle))
        energy = ENERGY_SCALE * 10.0 ** features[..., 0]
        return xp.stack([energy, radius * cosine, radius * sine], axis=-1)

    @staticmethod
    def _row(values, like):
        # of the same rank and type, so that nothing is promoted
        row = np.asarray(values, like.dtype)
        return row.reshape((1,) * (like.ndim - 1) + (len(values),))

    def to_json(self) -> str:
        """Returns the norm as text; numbers keep every digit."""
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def from_json(text: str) -> "FeatureNorm":
        """Returns the norm of a text from `to_json`."""
        found = json.loads(text)
        try:
            kind, mean, std = found["kind"], found["mean"], found["std"]
            return FeatureNorm(kind, tuple(mean), tuple(std))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"feature norm: expected kind, mean and std, got {text}"
            ) from error


def _features(muons, kind):
    features = normalise_muons(muons)
    if kind != "log_radius":
        return features
    xp = _module(muons)
    square = xp.sum(xp.square(muons[..., 1:]), axis=-1)
    radius = xp.log10(xp.maximum(square, LEAST_RADIUS**2)) / 2
    return xp.stack([features[..., 0], radius], axis=-1)


def fit_feature_norm(muons: np.ndarray, kind: str = "standardized") -> FeatureNorm:
    """Takes mean and spread of the first million muons.

    Args:
        muons: [M, 3] energy GeV, x m, y m; E = 0 stands for no muon and is left out.
        kind: "original" needs no numbers; "standardized"; "log_radius".

    Returns:
        The norm; x and y have mean 0 (only the distance from the axis is physical) and
        the same spread; log10 of a radius has its own.

    Raises:
        ValueError: If there are too few muons.
    """
    if kind == "original":
        return FeatureNorm()
    used = muons[:MOST_MUONS]
    used = used[used[:, 0] > 0]
    if len(used) < 2:
        raise ValueError(
            f"feature_norm={kind}: expected at least 2 muons with energy, got "
            f"{len(used)}"
        )
    features = _features(used.astype(np.float64), kind)
    if kind == "log_radius":
        mean, std = features.mean(axis=0), features.std(axis=0)
        return FeatureNorm(kind, tuple(map(float, mean)), _spreads(std))
    energy, across = features[:, 0], features[:, 1:]
    spread = float(np.sqrt(np.mean(across**2)))
    mean = float(energy.mean()), 0.0, 0.0
    return FeatureNorm(kind, mean, _spreads([energy.std(), spread, spread]))


def _spreads(values):
    """Returns plain numbers that can be divided by."""
    return tuple(float(value) or 1.0 for value in values)
