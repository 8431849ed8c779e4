"""How well reconstructed tracks agree with the true ones.

Every definition starts from the table of hits that a reconstructed and a true track
share; it is kept sparse, so that an event with 10,000 tracks costs as much as its hits.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

HITS_MIN = 4
LHC_SHARE = 0.75


@dataclasses.dataclass(frozen=True, eq=False)
class Matching:
    """Reconstructed tracks R of an event beside its true tracks T.

    Attributes:
      reco_size: hits of each R, [K].
      true_size: hits of each T, [P].
      match_index: T of each R by double majority, or -1, [K].
      majority: T with most hits of each R (the first of equals), or -1, [K].
      majority_share: part of the hits of each R that it has, [K].
      passed: whether a T is matched by double majority, [P].
      perfect: whether a T is matched and R = T, [P].
      lhc: whether more than 75 % of the hits of some R come from a T, [P].
      fake: R of at least `hits_min` hits without a match that is no duplicate, [K].
      duplicate: R of at least `hits_min` hits without a match, more than half of whose
        hits come from a T that another R matches, [K].
      hit_efficiency: part of the hits of each matched T that its R has, or -1, [P].
      hit_purity: part of the hits of its R that a matched T has, or -1, [P].
      matched_weight: weight of the shared hits of all matches.
      wanted_weight: weight of the hits of every T of at least `hits_min` hits.
      trackml_weight: as `matched_weight`, without a least number of hits.
      total_weight: weight of all hits.
      hits_min: least number of hits of an R and of a T.
    """

    reco_size: np.ndarray
    true_size: np.ndarray
    match_index: np.ndarray
    majority: np.ndarray
    majority_share: np.ndarray
    passed: np.ndarray
    perfect: np.ndarray
    lhc: np.ndarray
    fake: np.ndarray
    duplicate: np.ndarray
    hit_efficiency: np.ndarray
    hit_purity: np.ndarray
    matched_weight: float
    wanted_weight: float
    trackml_weight: float
    total_weight: float
    hits_min: int

    @property
    def wanted(self) -> np.ndarray:
        """Whether a T has at least `hits_min` hits, [P]."""
        return self.true_size >= self.hits_min

    @property
    def shown(self) -> np.ndarray:
        """Whether an R has at least `hits_min` hits, [K]."""
        return self.reco_size >= self.hits_min

    def hit_mixing(self, size: int = 30) -> np.ndarray:
        """Returns how many matches have (true hits, reco hits), [size, size]."""
        rows = np.flatnonzero(self.match_index >= 0)
        true = self.true_size[self.match_index[rows]]
        pairs = np.stack([true, self.reco_size[rows]])
        pairs = pairs[:, (pairs < size).all(axis=0)]
        table = np.zeros((size, size), np.float32)
        np.add.at(table, tuple(pairs), 1)
        return table


def match(
    labels: np.ndarray,
    track: np.ndarray,
    weight: np.ndarray,
    num_tracks: int,
    hits_min: int = HITS_MIN,
) -> Matching:
    """Compares the reconstructed tracks of an event with the true ones.

    Args:
      labels: reconstructed track of each hit, -1 for none, [N]. The tracks need no
        consecutive numbers; row k of the result is the k-th smallest number.
      track: true track of each hit, -1 for noise, [N].
      weight: of each hit, [N].
      num_tracks: number of true tracks P.
      hits_min: least number of hits of a reconstructed and of a true track.

    Raises:
      ValueError: the arrays do not belong to the same hits.
    """
    labels, track = np.asarray(labels), np.asarray(track)
    weight = np.asarray(weight, np.float64)
    if not len(labels) == len(track) == len(weight):
        raise ValueError(
            f"labels, track, weight: expected one each per hit, got {len(labels)}, "
            f"{len(track)}, {len(weight)}"
        )
    if track.max(initial=-1) >= num_tracks:
        raise ValueError(f"track: expected below {num_tracks}, got {track.max()}")
    assigned = labels >= 0
    names, reco = np.unique(labels[assigned], return_inverse=True)
    true = track[assigned].astype(np.int64)
    num_reco = len(names)
    reco_size = np.bincount(reco, minlength=num_reco)
    true_size = np.bincount(track[track >= 0], minlength=num_tracks)
    signal = true >= 0
    keys = reco[signal] * max(num_tracks, 1) + true[signal]
    keys, place, shared = np.unique(keys, return_inverse=True, return_counts=True)
    shared_weight = np.bincount(place, weight[assigned][signal], len(keys))
    pair = keys // max(num_tracks, 1), keys % max(num_tracks, 1)
    of_reco, of_true = reco_size[pair[0]], true_size[pair[1]]
    majority = (2 * shared > of_reco) & (2 * shared > of_true)
    large = (of_reco >= hits_min) & (of_true >= hits_min)
    matched = majority & large
    match_index = np.full(num_reco, -1)
    match_index[pair[0][matched]] = pair[1][matched]
    passed = _flags(num_tracks, pair[1][matched])
    whole = matched & (shared == of_reco) & (shared == of_true)
    mostly = large & (shared > LHC_SHARE * of_reco)
    best, share = _majority(pair, shared, reco_size)
    lost = (reco_size >= hits_min) & (match_index < 0)
    again = lost & (2 * share > 1) & passed[best] if num_tracks else lost & False
    hit_efficiency, hit_purity = np.full((2, num_tracks), -1.0)
    hit_efficiency[pair[1][matched]] = shared[matched] / of_true[matched]
    hit_purity[pair[1][matched]] = shared[matched] / of_reco[matched]
    wanted = (track >= 0) & (np.append(true_size, 0)[track] >= hits_min)
    return Matching(
        reco_size=reco_size,
        true_size=true_size,
        match_index=match_index,
        majority=best,
        majority_share=share,
        passed=passed,
        perfect=_flags(num_tracks, pair[1][whole]),
        lhc=_flags(num_tracks, pair[1][mostly]),
        fake=lost & ~again,
        duplicate=again,
        hit_efficiency=hit_efficiency,
        hit_purity=hit_purity,
        matched_weight=float(shared_weight[matched].sum()),
        wanted_weight=float(weight[wanted].sum()),
        trackml_weight=float(shared_weight[majority].sum()),
        total_weight=float(weight.sum()),
        hits_min=hits_min,
    )


def _flags(size: int, rows: np.ndarray) -> np.ndarray:
    flags = np.zeros(size, bool)
    flags[rows] = True
    return flags


def _majority(
    pair: tuple[np.ndarray, np.ndarray], shared: np.ndarray, reco_size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the true track with most hits of each R and the part that it has."""
    best, share = np.full(len(reco_size), -1), np.zeros(len(reco_size))
    order = np.lexsort((pair[1], -shared, pair[0]))
    rows, first = np.unique(pair[0][order], return_index=True)
    best[rows] = pair[1][order][first]
    share[rows] = shared[order][first] / reco_size[rows]
    return best, share


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else 0.0


def score(
    matchings: Matching | Sequence[Matching],
    acceptance: Sequence[np.ndarray] | None = None,
) -> dict[str, float]:
    """Returns the scores of events, as ratios of sums over all of them.

    Args:
      matchings: of an event or of several.
      acceptance: which true tracks of each event count for the entries `*_accepted`
        (pT > 0.9 GeV and |eta| < 2.5, say), [P] each.

    Returns:
      dms, efficiency, purity: of the original (purity: matches / all R).
      perfect_efficiency, lhc_efficiency: parts of the T of at least `hits_min` hits.
      fake_rate: 1 - matches / R of at least `hits_min` hits, duplicates included.
      duplicate_rate: duplicates / R of at least `hits_min` hits.
      trackml_score, hit_efficiency, hit_purity (means over matches), num_true, num_reco
      and, with `acceptance`, efficiency_accepted, perfect_accepted, lhc_accepted and
      num_accepted. A ratio without denominator is 0.
    """
    if isinstance(matchings, Matching):
        matchings = [matchings]
    matches = sum(int(m.passed.sum()) for m in matchings)
    true = sum(int(m.wanted.sum()) for m in matchings)
    reco = sum(len(m.reco_size) for m in matchings)
    shown = sum(int(m.shown.sum()) for m in matchings)
    found = {
        "dms": _ratio(
            sum(m.matched_weight for m in matchings),
            sum(m.wanted_weight for m in matchings),
        ),
        "efficiency": _ratio(matches, true),
        "purity": _ratio(matches, reco),
        "perfect_efficiency": _ratio(sum(m.perfect.sum() for m in matchings), true),
        "lhc_efficiency": _ratio(sum(m.lhc.sum() for m in matchings), true),
        "fake_rate": _ratio(shown - matches, shown),
        "duplicate_rate": _ratio(sum(m.duplicate.sum() for m in matchings), shown),
        "trackml_score": _ratio(
            sum(m.trackml_weight for m in matchings),
            sum(m.total_weight for m in matchings),
        ),
        "hit_efficiency": _ratio(
            sum(m.hit_efficiency[m.passed].sum() for m in matchings), matches
        ),
        "hit_purity": _ratio(
            sum(m.hit_purity[m.passed].sum() for m in matchings), matches
        ),
        "num_true": float(true),
        "num_reco": float(reco),
    }
    if acceptance is not None:
        found |= _accepted(matchings, acceptance)
    return found


def _accepted(
    matchings: Sequence[Matching], acceptance: Sequence[np.ndarray]
) -> dict[str, float]:
    if len(acceptance) != len(matchings):
        raise ValueError(
            f"acceptance: expected one array for each of {len(matchings)} events, got "
            f"{len(acceptance)}"
        )
    chosen = [m.wanted & a for m, a in zip(matchings, acceptance, strict=True)]
    total = sum(int(c.sum()) for c in chosen)
    result = {"num_accepted": float(total)}
    for name, field in (
        ("efficiency", "passed"),
        ("perfect", "perfect"),
        ("lhc", "lhc"),
    ):
        hits = sum(
            int((c & getattr(m, field)).sum())
            for c, m in zip(chosen, matchings, strict=True)
        )
        result[f"{name}_accepted"] = _ratio(hits, total)
    return result
