"""Define the command `s2vc-prep encode`."""

from pathlib import Path
from typing import Any

import click

from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.cache.opening import open_storage
from s2vc.pipeline.cache.quantise import FLOAT16, KINDS
from s2vc.pipeline.cache.receipts import FAILED, PARTIAL
from s2vc.pipeline.cache.settings import FITS, SQUEEZE
from s2vc.pipeline.choices import SILENCE_SECONDS
from s2vc.pipeline.console.options import (
    CACHE,
    EXISTING_FILE,
    Size,
    address_option,
    root_option,
    shared_device_option,
    with_local_cache,
    workers_option,
)
from s2vc.pipeline.console.terminal import make_console, print_json, print_next
from s2vc.pipeline.console.verbosity import json_option
from s2vc.pipeline.flow.architecture import PRECISIONS
from s2vc.pipeline.jobs.encode_options import FLOW, FRAME_SIZE, SHARD_SIZE, EncodeOptions

NEXT_ALPHA = 0.5
"""The next command is suggested with this alpha, the paper's default (Fig. 3)."""


@click.command("encode")
@click.argument("manifest", type=EXISTING_FILE)
@root_option
@with_local_cache(
    click.option("--out", type=CACHE, required=True, help="The cache: a new folder or URL, or one to go on with.")
)
@click.option("--size", "frame_size", type=Size(), help=f"Stored frames.  [default: {FRAME_SIZE[0]}x{FRAME_SIZE[1]}]")
@click.option(
    "--fit",
    type=click.Choice(FITS),
    help="Frames of another shape than --size. squeeze: stretched; crop: their centre of that shape; short-side: the "
    f"shorter side scaled to --size's shorter one, the longer cut, or filled with black.  [default: {SQUEEZE}]",
)
@click.option("--frame-step", type=click.IntRange(1), help="Store every n-th frame only.  [default: 1]")
@click.option(
    "--stream",
    type=click.IntRange(0),
    help="Index of the stream that is read of each file.  [default: as players choose: the one marked as default, then "
    "the one with the most pixels, then with the most frames]",
)
@click.option("--shard-size", type=click.IntRange(1), help=f"Videos of a shard.  [default: {SHARD_SIZE}]")
@click.option("--flow", help=f"'default', 'steady', a safetensors file or a published checkpoint.  [default: {FLOW}]")
@click.option(
    "--precision",
    type=click.Choice(["auto", *PRECISIONS]),
    default="auto",
    help="Of the flow's subnets. auto: bfloat16-centred on a GPU, or with AMX or AVX-512 BF16; else float32.",
)
@click.option(
    "--latents",
    type=click.Choice(KINDS),
    help="How they are stored. q8, in steps of 1/8, takes less than a quarter of float16; at alpha 0.5 a pixel moves "
    f"by less than 1/255 on average. In scope clip, alphas near 0.1 want float16.  [default: {FLOAT16}]",
)
@click.option(
    "--retry",
    type=click.Choice([FAILED, PARTIAL]),
    multiple=True,
    help="Do shards again that have such videos, as after a new download; repeatable.",
)
@click.option("--retry-failed", is_flag=True, help="The same as --retry failed.")
@click.option(
    "--silence",
    type=click.FloatRange(0.1),
    default=SILENCE_SECONDS,
    help="Seconds without a byte after which a decoder is taken for hung.",
)
@click.option(
    "--follow-links",
    is_flag=True,
    help="Read links that lead out of --root, too, as those of a Hugging Face or DVC cache do; kept in the cache.",
)
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
