"""The M nearest neighbours of every atom in periodic cells, all images counted.

An atom may be its own neighbour through an image, and an image of one atom may stand
beside another of the same: a cell of 5 atoms with 20 neighbours needs both.
"""

import concurrent.futures
import importlib
import itertools
import math
import multiprocessing
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import KDTree

from jaxphys.gdynet.physics.cells import (
    Pbc,
    full_cells,
    periodic_axes,
    shifts_within,
    with_images,
)

BACKENDS = ("auto", "images", "kdtree", "matscipy")
# below so many candidates per frame a table of all pairs is faster than a tree
TABLE = 2**16
_CHUNK = 2**17  # candidates of a table that are held at a time
_SLACK = 1.05  # of the reach over the distance that the frame before needed
# (positions [N, 3], cell [3, 3] or None, periodic, M, reach) -> lists, distances;
# an infinite distance where there is no neighbour within reach
Search = Callable[[np.ndarray, Any, np.ndarray, int, float], "Found"]


class Found(NamedTuple):
    """Neighbours, nearest first.

    Attributes:
        lists: [F, N, M] or [N, M] int32 atoms.
        dists: The same shape, float32, A.
    """

    lists: np.ndarray
    dists: np.ndarray


def neighbours(
    positions: np.ndarray,
    cell: np.ndarray | None,
    n_nbrs: int = 20,
    radius: float | str = 7.0,
    backend: str = "auto",
    *,
    pbc: Pbc = True,
    workers: int = 1,
    first_frame: int = 0,
) -> Found:
    """Finds the M nearest neighbours of every atom within a radius.

    Args:
        positions: [F, N, 3] A; they need not lie in the cell.
        cell: [F, 3, 3] or [3, 3] A, rows are vectors; None: no images.
        n_nbrs: M.
        radius: A; "auto" goes as far as the M-th neighbour.
        backend: "images": a table of all pairs and shifts, for small cells; "kdtree":
            a tree over the atoms and their images near the cell; "matscipy": cell
            lists of that package; "auto" chooses of the first two by size. They agree.
        pbc: Whether the cell repeats, or one answer for each of its vectors.
        workers: Processes over chunks of frames.
        first_frame: Number of the first frame, for messages.

    Returns:
        lists [F, N, M] int32 and dists [F, N, M] float32, sorted by distance.

    Raises:
        ValueError: If an atom has too few neighbours (frame, atom, found and wanted
            are named), or if an argument is out of range.
        ImportError: If matscipy is asked for and not there (extra md).
    """
    positions, cells, limit = _checked(positions, cell, n_nbrs, radius, backend)
    if workers > 1 and len(positions) > 1:
        return _in_processes(
            positions, cells, n_nbrs, radius, backend, pbc, workers, first_frame
        )
    periodic = periodic_axes(cells, pbc)
    if not periodic.any():
        cells = None
    if cells is not None:
        cells = _completed(cells, periodic)
    reach = min(limit, _guess(positions[0], cells, periodic, n_nbrs))
    if backend == "auto":
        backend = _choose(positions, cells, periodic, reach)
    if backend == "images":
        found = _search_table(positions, cells, periodic, n_nbrs, reach, limit)
    else:
        search = _tree if backend == "kdtree" else _matscipy()
        found = _search_frames(search, positions, cells, periodic, n_nbrs, reach, limit)
    _require_all(found, limit, first_frame)
    return found


def _checked(positions, cell, n_nbrs, radius, backend):
    positions = np.asarray(positions, np.float64)
    if positions.ndim != 3 or positions.shape[2] != 3 or not positions.size:
        raise ValueError(f"positions: expected [F, N, 3], got {positions.shape}")
    bad = np.argwhere(~np.isfinite(positions))
    if len(bad):
        raise ValueError(
            f"positions: expected finite numbers, got {positions[tuple(bad[0])]} at "
            f"(frame, atom, axis) {tuple(bad[0].tolist())}"
        )
    if backend not in BACKENDS:
        raise ValueError(f"backend={backend!r}: expected one of {', '.join(BACKENDS)}")
    limit = math.inf if radius == "auto" else float(radius)
    if n_nbrs < 1 or not limit > 0:
        raise ValueError(
            f"n_nbrs, radius: expected >= 1 and > 0, got {n_nbrs}, {radius}"
        )
    if cell is None:
        return positions, None, limit
    cells = np.asarray(cell, np.float64)
    if cells.shape not in ((3, 3), (len(positions), 3, 3)):
        raise ValueError(
            f"cell: expected [3, 3] or [{len(positions)}, 3, 3], got {cells.shape}"
        )
    return positions, np.broadcast_to(cells, (len(positions), 3, 3)), limit


def _completed(cells, periodic):
    """Returns full cells; one that serves all frames stays a view of one."""
    if cells.strides[0] == 0 or (cells == cells[:1]).all():
        return np.broadcast_to(full_cells(cells[0], periodic), cells.shape)
    return full_cells(cells, periodic)


def _guess(positions, cells, periodic, n_nbrs):
    """Returns a distance within which most atoms have M neighbours."""
    count = len(positions)
    extent = np.ptp(positions, axis=0)
    if cells is not None and periodic.all():
        volume = abs(np.linalg.det(cells[0]))
    else:
        volume = float(np.prod(np.maximum(extent, 1.0)))
    # a quarter more than a uniform density would need
    return 1.25 * (3 * (n_nbrs + 1) * volume / (4 * math.pi * count)) ** (1 / 3)


def _choose(positions, cells, periodic, reach):
    count, shifts = positions.shape[1], 1
    if count**2 > TABLE:
        return "kdtree"
    if cells is not None:
        shifts = len(shifts_within(cells[:1], periodic, reach))
    return "images" if count**2 * shifts <= TABLE else "kdtree"


def _search_frames(search, positions, cells, periodic, n_nbrs, reach, limit):
    """Searches frame by frame; the reach follows what the frames need."""
    shape = (*positions.shape[:2], n_nbrs)
    found = Found(np.empty(shape, np.int32), np.empty(shape, np.float32))
    for f, frame in enumerate(positions):
        cell = None if cells is None else cells[f]
        while True:
            lists, dists = search(frame, cell, periodic, n_nbrs, reach)
            furthest = dists[:, -1].max()
            if np.isfinite(furthest) or reach >= limit or _is_all(frame, cell, reach):
                break
            reach = min(limit, 1.4 * reach)
        found.lists[f], found.dists[f] = lists, dists
        if np.isfinite(furthest):
            reach = min(limit, _SLACK * furthest + 1e-3)
    return found


def _is_all(frame, cell, reach):
    """Whether no larger reach can find more: there are no images."""
    return cell is None and reach > np.linalg.norm(np.ptp(frame, axis=0))


def _tree(frame, cell, periodic, n_nbrs, reach) -> Found:
    """Searches a tree over the atoms and the images near the cell."""
    points, atom = frame, np.arange(len(frame))
    if cell is not None:
        points, atom = with_images(frame, cell, periodic, reach)
    count = len(frame)
    tree = KDTree(points, balanced_tree=False, compact_nodes=False)
    bound = np.nextafter(reach, math.inf)
    k: Any = np.arange(1, n_nbrs + 2)
    found = tree.query(points[:count], k, distance_upper_bound=bound)
    dists, index = map(np.asarray, found)
    own = np.asarray(index == np.arange(count)[:, None])
    # with many atoms at one place the atom itself may be missing: drop the last then
    own[~own.any(axis=1), -1] = True
    dists, index = (a[~own].reshape(count, n_nbrs) for a in (dists, index))
    atom = np.append(atom, -1)  # the tree's number of "none" is the number of points
    return Found(atom[index].astype(np.int32), dists.astype(np.float32))


def _matscipy() -> Search:
    try:
        module = importlib.import_module("matscipy.neighbours")
    except ImportError as error:
        raise ImportError(
            "backend=matscipy: the package is not there: pip install 'jaxphys[md]', "
            "or use backend=kdtree"
        ) from error

    def search(frame, cell, periodic, n_nbrs, reach) -> Found:
        given = {} if cell is None else {"cell": cell, "pbc": periodic}
        if cell is not None and not periodic.all():
            given.update(_boxed(frame, cell, periodic))
            frame = given.pop("positions")
        i, j, d = module.neighbour_list("ijd", positions=frame, cutoff=reach, **given)
        order = np.lexsort((d, i))
        i, j, d = i[order], j[order], d[order]
        counts = np.bincount(i, minlength=len(frame))
        within = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = within < n_nbrs
        shape = (len(frame), n_nbrs)
        lists, dists = np.full(shape, -1, np.int32), np.full(shape, np.inf, np.float32)
        lists[i[kept], within[kept]] = j[kept]
        dists[i[kept], within[kept]] = d[kept]
        return Found(lists, dists)

    return search


def _boxed(frame, cell, periodic):
    """Returns atoms and cell such that all lie within it where it does not repeat."""
    fraction = frame @ np.linalg.inv(cell)
    low, extent = fraction.min(axis=0), np.ptp(fraction, axis=0) + 1e-3
    fraction[:, ~periodic] -= low[~periodic] - 5e-4
    scale = np.where(periodic, 1.0, extent)
    return {
        "positions": fraction @ cell,
        "cell": cell * scale[:, None],
        "pbc": periodic,
    }


def _search_table(positions, cells, periodic, n_nbrs, reach, limit):
    """Searches tables of all pairs and shifts, many frames at a time."""
    shape = (*positions.shape[:2], n_nbrs)
    found = Found(np.empty(shape, np.int32), np.empty(shape, np.float32))
    todo = np.arange(len(positions))
    while True:
        shifts = np.zeros((1, 3))
        if cells is not None:
            shifts = shifts_within(_rows(cells, todo), periodic, reach)
        step = max(1, _CHUNK // (positions.shape[1] ** 2 * len(shifts)))
        for start in range(0, len(todo), step):
            part = todo[start : start + step]
            given = None if cells is None else _rows(cells, part)
            lists, dists = _table(positions[part], given, periodic, n_nbrs, shifts)
            # what lies further than the shifts reach may be incomplete
            dists[dists > reach] = np.inf
            found.lists[part], found.dists[part] = lists, dists
        short = ~np.isfinite(found.dists[todo, :, -1]).all(axis=1)
        todo = todo[short]
        if not len(todo) or reach >= limit or _is_all(positions[todo[0]], cells, reach):
            return found
        reach = min(limit, 1.25 * reach)


def _table(positions, cells, periodic, n_nbrs, shifts):
    """Returns the nearest of all pairs and shifts of some frames."""
    frames, count, _ = positions.shape
    # row i, candidate j: from atom i to atom j
    pairs = positions[:, None] - positions[:, :, None]  # [C, N, N, 3]
    images = shifts[None]
    if cells is not None:
        # one product for all frames where one cell serves them
        fraction = (pairs.reshape(len(cells), -1, 3) @ np.linalg.inv(cells)).reshape(
            pairs.shape
        )
        fraction -= np.where(periodic, np.round(fraction), 0)
        pairs = (fraction.reshape(len(cells), -1, 3) @ cells).reshape(pairs.shape)
        images = shifts @ cells  # [C or 1, I, 3]
    # |p + s|^2 through one product in float32; its rounding only decides near ties
    flat = pairs.reshape(len(images), -1, 3).astype(np.float32)
    turned = (2 * images.transpose(0, 2, 1)).astype(np.float32)
    table: Any = flat @ turned  # [C or 1, .., I]
    squares: Any = np.sum(images**2, axis=-1, dtype=np.float32)
    table += squares[:, None]
    table += np.sum(flat**2, axis=-1, keepdims=True)
    table = table.reshape(frames, count, count, len(shifts))
    table[:, np.arange(count), np.arange(count), _zero(shifts)] = np.inf
    table = table.reshape(frames, count, -1)
    width = table.shape[-1]
    best = np.zeros((frames, count, min(n_nbrs, width)), np.int64)
    if n_nbrs < width:
        best[...] = np.argpartition(table, n_nbrs - 1, axis=-1)[..., :n_nbrs]
    else:
        best[...] = np.arange(width)
    atom, shift = np.divmod(best, len(shifts))
    frame, row = np.arange(frames)[:, None, None], np.arange(count)[:, None]
    image = images[np.minimum(frame, len(images) - 1), shift]
    vectors = pairs[frame, row, atom] + image  # [C, N, M, 3]
    dists = np.sqrt(np.sum(vectors**2, axis=-1))
    dists[np.isinf(np.take_along_axis(table, best, axis=-1))] = np.inf
    order = np.argsort(dists, axis=-1, kind="stable")
    lists, dists = (np.take_along_axis(a, order, axis=-1) for a in (atom, dists))
    missing = ((0, 0), (0, 0), (0, n_nbrs - best.shape[-1]))
    lists = np.pad(lists.astype(np.int32), missing, constant_values=-1)
    dists = np.pad(dists, missing, constant_values=np.inf)
    return lists, dists.astype(np.float32)


def _rows(cells, part):
    """Returns the cells of some frames, or one [1, 3, 3] that serves them all."""
    return cells[:1] if cells.strides[0] == 0 else cells[part]


def _zero(shifts):
    return int(np.flatnonzero(~shifts.any(axis=1))[0])


def _require_all(found, limit, first_frame):
    missing = ~np.isfinite(found.dists)
    if not missing.any():
        return
    frame, atom = np.argwhere(missing[:, :, -1])[0]
    count = int(np.sum(~missing[frame, atom]))
    where = f"within radius {limit:g} A" if math.isfinite(limit) else "in all"
    raise ValueError(
        f"frame {first_frame + frame}, atom {atom}: {count} neighbours {where}, "
        f"expected n_nbrs={missing.shape[2]}: raise radius (radius=auto goes as far "
        "as needed) or lower n_nbrs"
    )


def _in_processes(
    positions, cells, n_nbrs, radius, backend, pbc, workers, first_frame
) -> Found:
    bounds = np.linspace(0, len(positions), min(4 * workers, len(positions)) + 1)
    bounds = bounds.astype(int).tolist()

    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [
            pool.submit(
                neighbours,
                positions[start:stop],
                None if cells is None else cells[start:stop],
                n_nbrs,
                radius,
                backend,
                pbc=pbc,
                first_frame=first_frame + start,
            )
            for start, stop in itertools.pairwise(bounds)
        ]
        try:
            parts = [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return Found(*(np.concatenate(a) for a in zip(*parts, strict=True)))
