"""Check the files that a cache has once: cache.json and the flow."""

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.settings import Settings, read_settings
from s2vc.pipeline.flow import FlowFileError, fingerprint, load_flow
from s2vc.pipeline.flow.architecture import PRECISIONS
from s2vc.pipeline.verify.problem import Checks, Problem


def check_settings(storage: CacheStorage) -> Checks[Settings | None]:
    """Check that cache.json can be read, has this version and holds possible values.

    Returns the settings, or None where there is a problem with them and nothing else can be checked.
    """
    where = storage.layout.settings.name
    try:
        settings = read_settings(storage)
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
    """Return which value is impossible although `read_settings` accepts it; empty if none is."""
    if not settings.segments:
        return "segments are no numbers of manifest rows"
    if settings.jpeg_quality > 100:
        return f"jpeg_quality is {settings.jpeg_quality}, 100 is the highest"
    if settings.precision not in PRECISIONS:
        return f"precision is {settings.precision!r}, one of {', '.join(PRECISIONS)} is expected"
    return ""


def check_flow(storage: CacheStorage, settings: Settings) -> Checks[None]:
    """Check that flow.safetensors is the flow whose fingerprint cache.json has."""
    path = storage.fetch(storage.layout.flow)
    try:
        flow = load_flow(path)
    except FlowFileError as error:
        yield Problem(path.name, str(error))
        return
    found = fingerprint(flow)
    if found != settings.flow_fingerprint:
        yield Problem(
            path.name,
            f"is another flow than the one the latents were made with: its fingerprint is {found[:12]}, "
            f"in cache.json it is {settings.flow_fingerprint[:12]}",
        )
