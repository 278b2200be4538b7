"""What the tests of training share."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result


@pytest.fixture(scope="session")
def train_cli() -> Callable[..., Result]:
    """Runs `s2vc-train` in this process: train_cli(CACHE, …) -> result with exit_code and output."""
    from s2vc.training.cli import main

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(a) for a in arguments])

    return run
