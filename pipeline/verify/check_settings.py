"""Checks of what a cache has once: cache.json and the flow."""

from typing import Any

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.cache.settings import Settings, read_settings
from s2vc.pipeline.flow import FlowFileError, fingerprint, load_flow
from s2vc.pipeline.flow.model import PRECISIONS
from s2vc.pipeline.verify.problem import Checks, Problem


def check_settings(layout: Layout) -> Checks[Settings | None]:
    """cache.json is readable, of this version, and holds values that can be; without it nothing can be checked."""
    where = layout.settings.name
    try:
        settings = read_settings(layout)
        fault = _fault(settings)
    except UserError as error:
        yield Problem(where, str(error))
    except (OSError, RecursionError) as error:
        yield Problem(where, f"cannot be read ({error})")
    else:
        if not fault:
            return settings
        yield Problem(where, f"is damaged: {fault}")
    return None


def _fault(settings: Settings) -> str:
    """What cannot be in the settings, which anybody may have written by hand; empty where all is well."""
    size, segments = settings.frame_size, settings.segments
    if len(size) != 2 or not all(_whole(n, 1) for n in size):
        return f"frame_size is {list(size)}, which is no height and width"
    if not segments or not all(_whole(n, 1) for n in segments):
        return "segments are no numbers of manifest rows"
    for name in ("jpeg_quality", "frame_step", "shard_size"):
        if not _whole(getattr(settings, name), 1):
            return f"{name} is {getattr(settings, name)!r}, a number of 1 or more is expected"
    if settings.jpeg_quality > 100:
        return f"jpeg_quality is {settings.jpeg_quality}, 100 is the highest"
    for name in ("flow_name", "flow_fingerprint"):
        if not isinstance(getattr(settings, name), str):
            return f"{name} is {getattr(settings, name)!r}, a text is expected"
    if settings.precision not in PRECISIONS:
        return f"precision is {settings.precision!r}, one of {', '.join(PRECISIONS)} is expected"
    return ""


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_flow(layout: Layout, settings: Settings) -> Checks[None]:
    """flow.safetensors is the flow that cache.json names."""
    where = layout.flow.name
    try:
        flow = load_flow(layout.flow)
    except FlowFileError as error:
        yield Problem(where, str(error))
        return
    found = fingerprint(flow)
    if found != settings.flow_fingerprint:
        yield Problem(
            where,
            f"is another flow than the one the latents were made with: its fingerprint is {found[:12]}, "
            f"in cache.json it is {settings.flow_fingerprint[:12]}",
        )
