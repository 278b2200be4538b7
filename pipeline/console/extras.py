"""Libraries that only some commands need: which of our extras brings one that is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from s2vc.manifests.errors import UserError

EXTRA_OF = {
    "kornia": "train",
    "matplotlib": "train",
    "mlflow": "log",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "tensorboard": "train",
    "wandb": "log",
    "yaml": "train",
    "PIL": "eval",
    "cv2": "eval",
    "jinja2": "eval",
    "scipy": "eval",
}
"""By the name of import: the smallest extra of pyproject.toml that brings it. eval brings all of train."""


@contextmanager
def extras_named() -> Iterator[None]:
    """Raises UserError, which says what to install, where a library of an extra is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in EXTRA_OF:
            raise
        hint = f"pip install 's2vc[{EXTRA_OF[library]}]'"
        raise UserError(f"this needs {library}, which is not installed: {hint}") from error
