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


def test_a_job_that_shares_gpus_takes_all_or_none() -> None:
    result = CliRunner().invoke(click.command()(shared_device_option(lambda device: None)), ["--device", "cuda:1"])
    assert result.exit_code == 2 and "cuda:1" in result.output
