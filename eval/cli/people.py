"""`s2vc-eval people`."""

from pathlib import Path

import click

from s2vc.eval.cli.checkpoint_options import label_option, out_option
from s2vc.eval.defaults import YOLO_CONFIDENCE, YOLO_SIZE
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.console.options import EXISTING_FILE, cache_argument
from s2vc.pipeline.console.verbosity import json_option


@click.command("people")
@cache_argument
@click.option("--detector", type=EXISTING_FILE, help="ONNX file of a YOLO, v5 or later.  [default: OpenCV's HOG]")
@click.option(
    "--detector-size",
    type=click.IntRange(32, 4096),
    help=f"Side of a YOLO's square, in pixels.  [default: the file's, or {YOLO_SIZE}]",
)
@click.option("--confidence", type=click.FloatRange(0, 1), default=YOLO_CONFIDENCE, help="Of a YOLO: boxes of less go.")
@click.option("--every", type=click.IntRange(1), default=1, help="Look at one frame of so many.")
@label_option
@out_option
@json_option
def people_command(
    cache: Path | CacheStorage,
    detector: Path | None,
    detector_size: int | None,
    confidence: float,
    every: int,
    label: str,
    out: Path,
) -> None:
    """Share of the frame that shows people in the videos of CACHE, by a person detector (supplement, Fig. 1).

    What is inside a box counts, once. The mean over frames, then over videos, and over the videos of each class. All
    videos are looked at, whatever their split. HOG misses people who do not stand or walk, or are cut off.
    """
    from s2vc.eval.cli.people_session import find_people

    find_people(cache, detector, detector_size, confidence, every, label, out)
