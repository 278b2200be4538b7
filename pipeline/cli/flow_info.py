"""Define the command `s2vc-prep flow-info`."""

import dataclasses
import time

import click

from s2vc.pipeline.console.options import threads_option
from s2vc.pipeline.console.terminal import make_console
from s2vc.pipeline.flow.architecture import LATENTS

TIMED_FRAMES = 64


@click.command("flow-info")
@click.argument("flow", metavar="FILE")
@threads_option
def flow_info_command(flow: str) -> None:
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
    console.print(f"fingerprint {fingerprint(loaded)}")
    for name, value in {**dataclasses.asdict(loaded.architecture), "parameters": parameters}.items():
        console.print(f"{name}: {value:,}")
    for name, value in flow_record(flow).items():
        console.print(f"{name}: {value}")
    device = choose_device()
    precision = choose_precision("auto", device)
    loaded = load_flow(flow, device, precision)
    z = torch.randn(TIMED_FRAMES, LATENTS, generator=torch.Generator().manual_seed(0)).to(device)
    x = loaded.decode(z)  # this call also warms up, before anything is timed
    for what, call in (("encode", lambda: loaded.encode(x)), ("decode", lambda: loaded.decode(z))):
        started = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        speed = TIMED_FRAMES / (time.perf_counter() - started)
        cores = torch.get_num_threads()
        on = f"on {cores} core{'s' * (cores > 1)}" if device.type == "cpu" else f"on {device.type}"
        console.print(f"{what}: {speed:.0f} frames/s here, {on}, {precision} subnets")
