"""Define the command `s2vc-prep encode`."""

from pathlib import Path
from typing import Any

import click

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.opening import open_storage
from s2vc.pipeline.cache.receipts import FAILED
from s2vc.pipeline.console.cache_options import encode_options
from s2vc.pipeline.console.options import (
    CACHE,
    EXISTING_FILE,
    address_option,
    root_option,
    shared_device_option,
    with_local_cache,
    workers_option,
)
from s2vc.pipeline.console.terminal import make_console, print_json, print_next
from s2vc.pipeline.console.verbosity import json_option
from s2vc.pipeline.jobs.encode_options import EncodeOptions

NEXT_ALPHA = 0.5
"""The next command is suggested with this alpha, the paper's default (Fig. 3)."""


@click.command("encode")
@click.argument("manifest", type=EXISTING_FILE)
@root_option
@with_local_cache(
    click.option("--out", type=CACHE, required=True, help="The cache: a new folder or URL, or one to go on with.")
)
@encode_options
@json_option
@shared_device_option
@workers_option
@address_option
def encode_command(
    manifest: Path,
    root: Path | None,
    out: Path | CacheStorage,
    ray_address: str | None,
    workers: int | None,
    device: str | None,
    retry: tuple[str, ...],
    retry_failed: bool,
    **options: Any,
) -> None:
    """Decode the videos of MANIFEST once, store frames, and cache latents and STDs in --out.

    Run again, it resumes where it was stopped. If rows were added to the end of the manifest, it encodes those as well.
    Exit code 3: some videos failed (they are listed); 1: some shards are not done; 2: a mistake in the call.
    """
    from s2vc.manifests.table import root_of
    from s2vc.pipeline.console.run_jobs import run_encode

    console = make_console()
    asked = EncodeOptions(retry=(*retry, *[FAILED] * retry_failed), **options)
    run_encode(manifest, root or root_of(manifest), out, asked, ray_address, workers, console, print_json, device)
    if not open_storage(out).variant_names():
        print_next(console, "s2vc-prep", "render", out, "--alpha", NEXT_ALPHA)
