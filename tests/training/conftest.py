"""What the tests of training share."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

SMALL_RUN = [
    "--split",
    "all",
    "--batch",
    4,
    "--size",
    32,
    "--clip-length",
    4,
    "--loader-workers",
    1,
    "--backbone",
    "s3d",
]
"""Settings of a run that takes seconds: five videos of the shared cache, two steps an epoch... of S3D, the smaller."""


@pytest.fixture(scope="session")
def train_cli() -> Callable[..., Result]:
    """Runs `s2vc-train` in this process: train_cli(CACHE, …) -> result with exit_code and output."""
    from training.cli import main

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments])

    return run
