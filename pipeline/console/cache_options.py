"""Define the options of `s2vc-prep encode` that say what a cache holds, and how videos are read."""

from collections.abc import Callable
from typing import Any

import click

from s2vc.pipeline.cache.quantise import FLOAT16, KINDS
from s2vc.pipeline.cache.receipts import FAILED, PARTIAL
from s2vc.pipeline.cache.settings import FITS, SQUEEZE
from s2vc.pipeline.choices import SILENCE_SECONDS
from s2vc.pipeline.console.options import Size
from s2vc.pipeline.flow.architecture import PRECISIONS
from s2vc.pipeline.jobs.encode_options import FLOW, FRAME_SIZE, SHARD_SIZE

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--size", "frame_size", type=Size(), help=f"Stored frames.  [default: {FRAME_SIZE[0]}x{FRAME_SIZE[1]}]"
    ),
    click.option(
        "--fit",
        type=click.Choice(FITS),
        help="Frames of another shape than --size. squeeze: stretched; crop: their centre of that shape; short-side: "
        f"the shorter side scaled to --size's shorter one, the longer cut, or filled with black.  [default: {SQUEEZE}]",
    ),
    click.option("--frame-step", type=click.IntRange(1), help="Store every n-th frame only.  [default: 1]"),
    click.option(
        "--stream",
        type=click.IntRange(0),
        help="Index of the stream that is read of each file.  [default: as players choose: the one marked as default, "
        "then the one with the most pixels, then with the most frames]",
    ),
    click.option("--shard-size", type=click.IntRange(1), help=f"Videos of a shard.  [default: {SHARD_SIZE}]"),
    click.option(
        "--flow", help=f"'default', 'steady', a safetensors file or a published checkpoint.  [default: {FLOW}]"
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", *PRECISIONS]),
        default="auto",
        help="Of the flow's subnets. auto: bfloat16-centred on a GPU, or with AMX or AVX-512 BF16; else float32.",
    ),
    click.option(
        "--latents",
        type=click.Choice(KINDS),
        help="How they are stored. q8, in steps of 1/8, takes less than a quarter of float16; at alpha 0.5 a pixel "
        f"moves by less than 1/255 on average. In scope clip, alphas near 0.1 want float16.  [default: {FLOAT16}]",
    ),
    click.option(
        "--retry",
        type=click.Choice([FAILED, PARTIAL]),
        multiple=True,
        help="Do shards again that have such videos, as after a new download; repeatable.",
    ),
    click.option("--retry-failed", is_flag=True, help="The same as --retry failed."),
    click.option(
        "--silence",
        type=click.FloatRange(0.1),
        default=SILENCE_SECONDS,
        help="Seconds without a byte after which a decoder is taken for hung.",
    ),
    click.option(
        "--follow-links",
        is_flag=True,
        help="Read links that lead out of --root, too, as those of a Hugging Face or DVC cache do; kept in the cache.",
    ),
)


def encode_options(command: Any) -> Any:
    """Decorate a command with them; a recipe has them, too."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
