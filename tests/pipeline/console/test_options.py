"""Options that several commands share."""

import click
import pytest
from click.testing import CliRunner

from s2vc.pipeline.console.options import device_option, shared_device_option


@pytest.mark.parametrize("option", [device_option, shared_device_option])
@pytest.mark.parametrize(("given", "taken"), [([], None), (["auto"], None), (["cpu"], "cpu"), (["cuda"], "cuda")])
def test_auto_is_the_device_that_a_command_takes_by_itself(option: object, given: list[str], taken: str | None) -> None:
    assert callable(option)
    found: list[str | None] = []
    command = click.command()(option(lambda device: found.append(device)))
    result = CliRunner().invoke(command, [part for name in given for part in ("--device", name)])
    assert result.exit_code == 0, result.output
    assert found == [taken]


@pytest.mark.parametrize(("given", "exit_code"), [("cuda:1", 0), ("cuda:0", 0), ("cuda:", 2), ("gpu", 2), ("mps", 2)])
def test_a_job_that_shares_gpus_takes_one_of_them_by_its_number(given: str, exit_code: int) -> None:
    found: list[str | None] = []
    command = click.command()(shared_device_option(lambda device: found.append(device)))
    result = CliRunner().invoke(command, ["--device", given])
    assert result.exit_code == exit_code, result.output
    assert found == [given] * (exit_code == 0)
    assert exit_code == 0 or repr(given) in result.output
