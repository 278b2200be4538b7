"""`s2vc-eval people`."""

from pathlib import Path

import click
import numpy as np

from s2vc.eval.cli.checkpoint_options import label_option, out_option
from s2vc.eval.cli.print_saved import print_saved
from s2vc.eval.cli.print_shares import print_shares
from s2vc.eval.defaults import YOLO_CONFIDENCE, YOLO_SIZE
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.console.options import EXISTING_FILE, cache_argument
from s2vc.pipeline.console.progress import progress
from s2vc.pipeline.console.terminal import make_console
from s2vc.pipeline.console.verbosity import json_option
from s2vc.pipeline.storage.files import sha256
from s2vc.training.choices import ALL_ROWS


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
    from s2vc.eval.analyses.people_regions import people_examples, people_shares
    from s2vc.eval.analyses.person_detectors import hog_detector, yolo_detector
    from s2vc.eval.analyses.share_figure import class_means, plot_class_shares
    from s2vc.eval.labelled import label_entry
    from s2vc.eval.paper import PEOPLE_SHARE_BELOW
    from s2vc.eval.results import describe_result, save_result
    from s2vc.eval.videos import stored_rows
    from s2vc.pipeline.cache import Cache
    from s2vc.training.labels import read_labels

    console, opened = make_console(), Cache(cache)
    finder = yolo_detector(detector, detector_size, confidence) if detector else hog_detector()
    names, rows = read_labels(opened, label).names, stored_rows(opened)
    with progress("people", len(rows), "videos", console) as advance:
        shares, seen = people_shares(opened, rows, finder, every, advance)
    ids = opened.index["video_id"].to_numpy()[rows]
    per_class = class_means(shares, names[rows].tolist())
    how = {"detector": finder.name, "every": every, "videos": len(rows), **label_entry(label)}
    if detector:
        how |= {
            "detector_hash": sha256(detector)[:16],
            "detector_size": detector_size or 0,
            "confidence": str(confidence),
        }
    description = describe_result("people", opened, ALL_ROWS, **how)
    numbers = {
        "people": float(shares.mean()),
        "people_median": float(np.median(shares)),
        "frames_with_people": float(seen.mean()),
    }
    details = {"per_class": per_class, "per_video": dict(zip(ids.tolist(), shares.tolist(), strict=True))}
    path = save_result(out, description, numbers, details)
    title = f"{shares.mean():.1%} of the frame shows people, and {seen.mean():.0%} of frames any ({finder.name})"
    shown = people_examples(opened, rows, shares, finder)
    plot_class_shares("people", shares, per_class, shown, title, path.with_suffix(".png"))
    print_shares("people", shares, per_class, title, console)
    console.print(
        f"The paper: less than {PEOPLE_SHARE_BELOW:g} % of the frame on three public datasets, by YOLOv5 "
        "(supplement, Fig. 1)"
    )
    print_saved(console, path, path.with_suffix(".png"))
