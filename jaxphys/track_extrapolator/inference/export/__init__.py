"""Files of a trained network for other programs."""

import pathlib

from jaxphys.track_extrapolator.model.surrogate import Surrogate

ENDINGS = {
    "v2": ".bin",
    "A": "_A.bin",
    "cpp_colmajor": "_cpp_colmajor.bin",
    "onnx": ".onnx",
    "stablehlo": ".stablehlo",
}


def write(
    folder: str | pathlib.Path, name: str, surrogate: Surrogate, form: str
) -> pathlib.Path:
    """Writes a network in one form.

    Args:
      folder: where; made when missing.
      name: of the model, the stem of the file.
      surrogate: the network.
      form: a key of `ENDINGS`.

    Returns:
      The file.

    Raises:
      ValueError: unknown form, or one that cannot hold this parametrisation.
      ImportError: the extra `onnx` is missing.
    """
    if form not in ENDINGS:
        raise ValueError(f"form {form!r}: expected one of {', '.join(ENDINGS)}")
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{ENDINGS[form]}"
    # imported here: each form brings what the others do not need
    if form == "onnx":
        from jaxphys.track_extrapolator.inference.export import onnx

        onnx.export(surrogate, path)
    elif form == "stablehlo":
        from jaxphys.track_extrapolator.inference.export import stablehlo

        stablehlo.export(surrogate, path)
    else:
        from jaxphys.track_extrapolator.inference.export import binary

        binary.write(path, surrogate, form)
    return path
