"""`s2vc-train CACHE`."""

import dataclasses
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from s2vc.pipeline.console.completion import complete_folder, complete_variant
from s2vc.pipeline.console.exit_codes import EXIT_INTERRUPTED, Exit
from s2vc.pipeline.console.options import EXISTING_FILE, FOLDER, Channel, address_option, device_option, threads_option
from s2vc.pipeline.console.terminal import make_console, print_next
from s2vc.training.choices import LABEL, NORMALISATIONS
from s2vc.training.regimes import REGIMES, SMALL
from s2vc.training.setting_fields import value_kind
from s2vc.training.settings import PRESETS, TrainingSettings, read_settings_file


def settings_options(without: tuple[str, ...] = ("cache",)) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command with an option for each field of TrainingSettings but those named, and with --normalise, which
    names a mean and std; None is not given."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "--normalise", type=click.Choice(list(NORMALISATIONS)), help="Mean and std by a name; --mean, --std win."
        )(command)
        kinds = typing.get_type_hints(TrainingSettings)
        for item in reversed(dataclasses.fields(TrainingSettings)):
            if item.name not in without:
                command = _option(item, kinds[item.name])(command)
        return command

    return decorate


def settings_layers(preset: str | None, config: Path | None, given: dict[str, Any]) -> list[dict[str, Any]]:
    """Order what a command line says of settings: a preset, a file over it, and the options that were given over both.
    A normalisation by name stands for its numbers, which are given by themselves where both are.

    Raises UserError for a file that cannot be read.
    """
    flags = {k: v for k, v in given.items() if v is not None and v != ()}
    if name := flags.pop("normalise", None):
        flags = dict(zip(("mean", "std"), NORMALISATIONS[name], strict=True)) | flags
    return [PRESETS[preset] if preset else {}, read_settings_file(config) if config else {}, flags]


def _option(item: "dataclasses.Field[Any]", kind: Any) -> Callable[..., Any]:
    name, choices = "--" + item.name.replace("_", "-"), item.metadata["choices"]
    help_text = item.metadata["help"]
    default, small = _as_text(item.default), REGIMES[SMALL].get(item.name)
    if item.default not in (None, "", ()) and kind is not bool:
        help_text += (
            f"  [default: {default}]" if small is None else f"  [default: {default}; regime small: {_as_text(small)}]"
        )
    if kind is bool:
        return click.option(name, is_flag=True, default=None, help=help_text)
    if typing.get_origin(kind) is tuple:
        types = typing.get_args(kind)
        if types == (float, float, float):
            types = (Channel(),) * 3
        if types[-1] is Ellipsis:
            offered = complete_variant if item.name == "variant" else None
            kind = click.Choice(choices) if choices else types[0]
            return click.option(name, type=kind, multiple=True, help=help_text, shell_complete=offered)
        return click.option(
            name, type=types, default=None, help=help_text, metavar="LO HI" if len(types) == 2 else "R G B"
        )
    value = str if isinstance(item.metadata["unset"], str) else value_kind(kind)
    return click.option(name, type=click.Choice(choices) if choices else value, default=None, help=help_text)


def _as_text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


@click.command("run")
@click.argument("cache", shell_complete=complete_folder)
@click.option("--out", type=FOLDER, default=None, help="Folder of the run.  [default: runs/, named by the settings]")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="The paper's regime, epochs and queue for a dataset.")
@click.option("--config", type=EXISTING_FILE, help="YAML file of settings; flags go over it.")
@device_option
@threads_option
@address_option
@settings_options()
def run_command(
    cache: str,
    out: Path | None,
    preset: str | None,
    config: Path | None,
    device: str | None,
    ray_address: str | None,
    **given: Any,
) -> None:
    """Pre-train a backbone on CACHE: MoCo, with motion-preserved clips as the positives of their originals.

    Writes checkpoint.pt, metrics.csv, curves.png, TensorBoard events and the resolved settings.yaml. Run again with
    the same settings and --out, it goes on where it was stopped.
    """
    from s2vc.pipeline.device import choose_device
    from s2vc.training.cli.session import train_with_progress
    from s2vc.training.prepare import prepare_run
    from s2vc.training.selection import parts_to_test

    console = make_console()
    layers = settings_layers(preset, config, given)
    torch_device = choose_device(device)
    run = prepare_run([*layers, {"cache": cache}], out, torch_device, given=layers[-1])
    on_cpus = device is not None and torch_device.type == "cpu"
    if not train_with_progress(run, torch_device, console, ray_address, on_cpus):
        raise Exit(EXIT_INTERRUPTED)
    # On another split, some of the tested videos would be such as were trained on.
    if parts_to_test(run.clips.cache, run.settings.split, LABEL):
        split = ("--split", run.settings.split) if run.settings.split else ()
        print_next(console, "s2vc-eval", "retrieval", cache, run.folder.root, *split)
