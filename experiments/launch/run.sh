#!/usr/bin/env bash
# Starts a mode of an experiment on a node: run.sh <experiment> --flag=value ...
# Set JAXPHYS_VENV to the virtual environment that jaxphys is installed in.
set -euo pipefail
if [[ -n "${JAXPHYS_VENV:-}" ]]; then
    source "$JAXPHYS_VENV/bin/activate"
fi
exec python -m "experiments.$1" "${@:2}"
