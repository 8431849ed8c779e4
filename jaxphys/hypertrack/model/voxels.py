"""The Voxel-Dynamics estimator: cells of space, and which of them tracks connect.

Space is divided by nearest centre. Two cells are connected if in the training data a
true pair of hits lay in them; two hits of an event are joined if their cells are. The
matrix of connected cells is symmetric, boolean and sparse.
"""

import dataclasses
import functools
import hashlib
import io
import os
import pathlib
import pickle
import warnings
import zipfile
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.spatial import KDTree

from jaxphys.data.files import replace_file
from jaxphys.hypertrack.physics.kmeans import nearest
from jaxphys.hypertrack.physics.truth_graph import require_node2node

VERSION = 1
# signs of x, y, z in the eight octants; an octant's bits say which are negative
OCTANTS = 1 - 2 * ((np.arange(8)[:, None] >> np.arange(3)) & 1)
_ARRAYS = ("centroids", "indptr", "indices", "ncell", "node2node", "nhits", "version")


@dataclasses.dataclass(frozen=True, eq=False)
class VoxelModel:
    """Cells and their connections.

    Attributes:
        centroids: `[ncell, 3]` float32, mm.
        indptr: `[ncell + 1]` int64; cell c is connected to
            `indices[indptr[c]:indptr[c + 1]]`.
        indices: `[nnz]` int32, ascending in each row.
        node2node: the true pairs it was trained with: hyper, eom or cricket.
        num_hits: training hits, reflections not counted.
        augment: 8 if reflected tracks were taken too, else 1.
    """

    centroids: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    node2node: str
    num_hits: int
    augment: int = 1

    @property
    def num_cells(self) -> int:
        """Number of cells, ncell."""
        return len(self.centroids)

    @property
    def density(self) -> float:
        """Connected pairs of cells as a fraction of all."""
        return len(self.indices) / self.num_cells**2

    @functools.cached_property
    def matrix(self) -> sp.csr_array:
        """The connections as a sparse boolean matrix `[ncell, ncell]`."""
        values = np.ones(len(self.indices), bool)
        shape = (self.num_cells, self.num_cells)
        return sp.csr_array((values, self.indices, self.indptr), shape=shape)

    @functools.cached_property
    def folded(self) -> bool:
        """Whether the cells are one set of centres with its seven reflections."""
        return self.num_cells % 8 == 0 and np.array_equal(
            self.centroids, unfold(np.abs(self.centroids[: self.num_cells // 8]))
        )

    @functools.cached_property
    def _tree(self):
        count = self.num_cells // 8 if self.folded else self.num_cells
        return KDTree(self.centroids[:count].astype(np.float64))

    def cells(self, position: np.ndarray) -> np.ndarray:
        """Finds the nearest cell of each hit.

        Args:
            position: `[N, 3]`, mm, never normalised.

        Returns:
            `[N]` int32.

        Raises:
            ValueError: a position is not finite.
        """
        wrong = np.flatnonzero(~np.isfinite(position).all(axis=1))
        if len(wrong):
            raise ValueError(
                f"position: row {wrong[0]}: expected finite numbers, got "
                f"{np.asarray(position)[wrong[0]].tolist()}"
            )
        if not self.folded:
            return nearest(self._tree, position)[0]
        # the nearest one lies in the hit's octant: mirroring another one into it
        # brings it no further away
        first = nearest(self._tree, np.abs(position))[0]
        return octants(position) * np.int32(self.num_cells // 8) + first

    @functools.cached_property
    def fingerprint(self) -> str:
        """A short hash of everything, to recognise the model by."""
        found = hashlib.sha256(f"{self.node2node} {self.augment}".encode())
        for array in (self.centroids, self.indptr, self.indices):
            found.update(array.tobytes())
        return found.hexdigest()[:16]


def octants(position: np.ndarray) -> np.ndarray:
    """Returns the octant of each point `[N, 3]`, `[N]` int32."""
    negative = np.asarray(position) < 0
    return (negative @ np.array([1, 2, 4], np.int32)).astype(np.int32)


def unfold(centroids: np.ndarray) -> np.ndarray:
    """Returns centres of the first octant `[n, 3]` with all reflections, `[8 n, 3]`."""
    signs = OCTANTS.astype(centroids.dtype)
    return (signs[:, None] * centroids).reshape(-1, 3)


def write_voxels(path: str | os.PathLike, model: VoxelModel) -> None:
    """Writes a model as an npz file; the file is whole or not there."""
    with replace_file(path) as file:
        np.savez(
            file,
            centroids=model.centroids,
            indptr=model.indptr,
            indices=model.indices,
            ncell=np.int64(model.num_cells),
            node2node=np.array(model.node2node),
            nhits=np.int64(model.num_hits),
            augment=np.int64(model.augment),
            version=np.int64(VERSION),
        )


def read_voxels(path: str | os.PathLike) -> VoxelModel:
    """Reads what `write_voxels` wrote.

    Raises:
        ValueError: there is no such file, or it is not a voxel model.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such voxel file: make one with --mode=voxels")
    try:
        # numpy leaves a damaged file open if it opened it
        with open(path, "rb") as file, np.load(file) as found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: expected a voxel file (npz), got one that cannot be read: {error}"
        ) from error
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise ValueError(f"{path}: expected a voxel file, misses {', '.join(missing)}")
    if int(arrays["version"]) != VERSION:
        raise ValueError(
            f"{path}: version: expected {VERSION}, got {int(arrays['version'])}"
        )
    model = VoxelModel(
        arrays["centroids"],
        arrays["indptr"],
        arrays["indices"],
        str(arrays["node2node"]),
        int(arrays["nhits"]),
        int(arrays.get("augment", 1)),
    )
    return _checked(model, int(arrays["ncell"]), path)


def _checked(model, ncell, path):
    require_node2node(model.node2node)
    indptr, indices = model.indptr, model.indices
    if model.centroids.shape != (ncell, 3) or indptr.shape != (ncell + 1,):
        raise ValueError(
            f"{path}: ncell={ncell}: expected centroids [{ncell}, 3] and indptr "
            f"[{ncell + 1}], got {model.centroids.shape} and {indptr.shape}"
        )
    ends = (int(indptr[0]), int(indptr[-1]))
    in_range = not len(indices) or (indices.min() >= 0 and indices.max() < ncell)
    if ends != (0, len(indices)) or (np.diff(indptr) < 0).any() or not in_range:
        raise ValueError(
            f"{path}: indptr, indices: expected rows of cells below {ncell}, got "
            f"pointers from {ends[0]} to {ends[1]} for {len(indices)} entries"
        )
    if not np.isfinite(model.centroids).all():
        raise ValueError(f"{path}: centroids: expected finite numbers")
    return model


class _PlainUnpickler(pickle.Unpickler):
    """Loads numpy arrays and scipy matrices, nothing that could run other code."""

    _NUMPY = frozenset({"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"})

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Refuses every name that is not one of an array or sparse matrix."""
        package, last = module_name.split(".")[0], global_name.rsplit("_", 1)[-1]
        matrix = module_name.startswith("scipy.sparse") and last in ("matrix", "array")
        if matrix or (package == "numpy" and global_name in self._NUMPY):
            return super().find_class(module_name, global_name)
        if (module_name, global_name) == ("_codecs", "encode"):
            return super().find_class(module_name, global_name)
        raise ValueError(
            f"expected numpy and scipy types only, got {module_name}.{global_name}"
        )


def read_original_voxels(
    path: str | os.PathLike, trust_pickle: bool = False
) -> VoxelModel:
    """Reads the pickle of the original program.

    Args:
        path: of the pickle, a dictionary of ncell, centroids, C, node2node, nhits.
        trust_pickle: has to be set: a pickle is a program. Even then only arrays and
            sparse matrices are loaded.

    Raises:
        ValueError: the flag is missing, or the file holds something else.
    """
    path = pathlib.Path(path)
    if not trust_pickle:
        raise ValueError(f"{path}: a pickle is read only if that is asked for")
    try:
        found = _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
        matrix = sp.csr_array(sp.csr_array(found["C"]), dtype=bool)
        centroids = np.ascontiguousarray(found["centroids"], np.float32)
        ncell, mode = int(found["ncell"]), str(found["node2node"])
        num_hits = int(np.sum(found["nhits"]))
    except (OSError, pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected a pickled dictionary of ncell, centroids, C, node2node "
            f"and nhits, got {type(error).__name__}: {error}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if (matrix != matrix.T).nnz:
        raise ValueError(f"{path}: C: expected a symmetric matrix")
    indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
    model = VoxelModel(centroids, indptr, indices, mode, num_hits)
    return _checked(model, ncell, path)


def require_match(
    model: VoxelModel,
    node2node: str,
    ncell: int,
    allow_mismatch: bool = False,
    where: str = "voxels",
) -> None:
    """Checks that a model is the one that the settings speak of.

    Args:
        model: as read.
        node2node: expected mode.
        ncell: expected number of cells; 0 takes any.
        allow_mismatch: warn instead.
        where: file, for the message.

    Raises:
        ValueError: the mode or the number of cells differs.
    """
    expected = {"node2node": node2node, "ncell": ncell or model.num_cells}
    got = {"node2node": model.node2node, "ncell": model.num_cells}
    wrong = [k for k in expected if expected[k] != got[k]]
    if not wrong:
        return
    text = "; ".join(f"{k}: expected {expected[k]!r}, got {got[k]!r}" for k in wrong)
    if not allow_mismatch:
        raise ValueError(
            f"{where}: {text} (train such voxels, or --allow_voxels_mismatch)"
        )
    warnings.warn(f"{where}: {text}", stacklevel=2)
