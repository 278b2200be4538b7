"""Define the command `s2vc-prep flow-info`."""

import dataclasses
import time
from typing import TYPE_CHECKING

import click

from s2vc.pipeline.console.options import device_option, threads_option
from s2vc.pipeline.console.progress import count
from s2vc.pipeline.console.terminal import make_console, print_json, print_result
from s2vc.pipeline.console.verbosity import json_option

if TYPE_CHECKING:
    import torch

    from s2vc.pipeline.flow import Flow

TIMED_FRAMES = 64


@click.command("flow-info")
@click.argument("flow", metavar="FILE")
@json_option
@device_option
@threads_option
def flow_info_command(flow: str, device: str | None) -> None:
    """Print what the flow in FILE is: its architecture, the figures of its fit, and its speed on this machine.

    FILE may also be 'default' or 'steady', the built-in flows.
    """
    import torch

    from s2vc.pipeline.device import choose_device
    from s2vc.pipeline.flow import choose_precision, fingerprint, load_flow
    from s2vc.pipeline.flow.checkpoints import flow_record

    console = make_console()
    loaded = load_flow(flow)
    parameters = sum(p.numel() for p in loaded.parameters())
    sizes = {**dataclasses.asdict(loaded.architecture), "parameters": parameters}
    known = {"fingerprint": fingerprint(loaded), **sizes, **flow_record(flow)}
    print_result(console, f"fingerprint {known['fingerprint']}")
    print_result(console, *(f"{name}: {value:,}" for name, value in sizes.items()))
    print_result(console, *(f"{name}: {value}" for name, value in flow_record(flow).items()))
    on = choose_device(device)
    precision = choose_precision("auto", on)
    speeds = measure_speed(load_flow(flow, on, precision), on)
    cores = torch.get_num_threads()
    where = f"on {count(cores, 'core')}" if on.type == "cpu" else f"on {on.type}"
    for what, speed in speeds.items():
        print_result(console, f"{what}: {speed:.0f} frames/s here, {where}, {precision} subnets")
    print_json({**known, "device": str(on), "precision": precision, "frames_per_second": speeds})


def measure_speed(flow: "Flow", device: "torch.device") -> dict[str, float]:
    """Return the frames per second that a flow encodes and decodes on a device."""
    import torch

    from s2vc.pipeline.flow import LATENTS

    z = torch.randn(TIMED_FRAMES, LATENTS, generator=torch.Generator().manual_seed(0)).to(device)
    x = flow.decode(z)  # this call also warms up, before anything is timed
    speeds = {}
    for what, call in (("encode", lambda: flow.encode(x)), ("decode", lambda: flow.decode(z))):
        started = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        speeds[what] = TIMED_FRAMES / (time.perf_counter() - started)
    return speeds
