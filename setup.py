"""Installs jaxphys: physics training systems in JAX, Flax and Optax."""

import pathlib

from setuptools import find_packages, setup

REQUIRED = [
    "jax>=0.10",
    "flax>=0.12",
    "optax>=0.2.8",
    "orbax-checkpoint>=0.12",
    "jraph>=0.0.6.dev0",  # only pre-releases carry the current API
    "numpy>=2",
    "pyarrow>=17",
    "grain>=0.2.18",
    "tensorboardX>=2.6",
    "absl-py>=2",
    "matplotlib>=3.8",
    "mplhep>=0.3.50",
    "scipy>=1.11",
    "scikit-learn>=1.4",
    "h5py>=3.10",
    "hdf5plugin>=4.3",
    "faiss-cpu>=1.8",
    "fsspec>=2024.2",
    "pyyaml>=6",
    "jinja2>=3.1",
    "tqdm>=4.66",
    "flatbuffers>=24",  # jax.export serialises with it
]

ODE = ["diffrax>=0.7"]
ONNX = ["onnx>=1.17", "onnxruntime>=1.20"]
EXTRAS = {
    "cuda12": ["jax[cuda12]>=0.10"],
    "cuda13": ["jax[cuda13]>=0.10"],
    "events": [
        "pythia8mc==8.317.2",  # newer ones are published as source only
        "fastjet>=3.5.2",
        "awkward>=2.6",
        "vector>=1.4",
        "importlib_metadata<8.8",
        "pyacts==48.1.0",
    ],
    "md": ["MDAnalysis>=2.7", "ase>=3.23", "matscipy>=1.1"],
    "remote": ["pelicanfs>=1.0"],
    "corsika": ["corsikaio>=0.6"],
    "ode": ODE,
    "onnx": ONNX,
    "wandb": ["wandb>=0.17"],
    "test": [
        "torch==2.13.0",
        "torch_geometric==2.8.1",
        "pytest>=8",
        "pytest-xdist>=3.5",
        "hypothesis>=6.100",
        *ODE,
        *ONNX,
    ],
    "dev": ["ruff==0.17.5", "pyright==1.1.414"],
}

setup(
    name="jaxphys",
    version="0.1.0",
    description="Physics training systems in JAX: tracks, jets, muons, molecules",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    # a plain path for editable installs: else a clone named jaxphys, seen from its
    # parent folder, hides the package
    package_dir={"": "."},
    packages=find_packages(include=["jaxphys", "jaxphys.*", "experiments*"]),
    package_data={
        "jaxphys.report": ["*.jinja"],
        "jaxphys.hidden_vertex.data": ["sample.parquet"],
        "jaxphys.hypertrack.data": ["sample-*.parquet"],
        "jaxphys.hypertrack.simulation": ["detector.npz"],
        "experiments": ["*/flags/*.flags", "*/README.md", "launch/*"],
    },
    install_requires=REQUIRED,
    extras_require=EXTRAS,
)
