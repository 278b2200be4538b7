"""Find people in frames with progress, and print their share: the work of `s2vc-eval people`."""

from pathlib import Path

import numpy as np

from s2vc.eval.analyses.people_regions import people_examples, people_shares
from s2vc.eval.analyses.person_detectors import hog_detector, yolo_detector
from s2vc.eval.analyses.share_figure import class_means, plot_class_shares
from s2vc.eval.cli.print_saved import print_saved
from s2vc.eval.cli.print_shares import print_shares
from s2vc.eval.labelled import label_entry
from s2vc.eval.paper import PEOPLE_SHARE_BELOW
from s2vc.eval.results import describe_result, save_result
from s2vc.eval.videos import stored_rows
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.cache_storage import CacheStorage
from s2vc.pipeline.console.progress import progress
from s2vc.pipeline.console.terminal import make_console
from s2vc.pipeline.storage.files import sha256
from s2vc.training.choices import ALL_ROWS
from s2vc.training.labels import read_labels


def find_people(
    cache: Path | CacheStorage,
    detector: Path | None,
    detector_size: int | None,
    confidence: float,
    every: int,
    label: str,
    out: Path,
) -> None:
    """Compute the share of the frame that shows people, save it with its figure, and print it by class."""
    console, opened = make_console(), Cache(cache)
    finder = yolo_detector(detector, detector_size, confidence) if detector else hog_detector()
    names, rows = read_labels(opened, label).names, stored_rows(opened)
    with progress("people", len(rows), "videos", console) as advance:
        people_area, seen = people_shares(opened, rows, finder, every, advance)
    ids = opened.index["video_id"].to_numpy()[rows]
    per_class = class_means(people_area, names[rows].tolist())
    how = {"detector": finder.name, "every": every, "videos": len(rows), **label_entry(label)}
    if detector:
        how |= {
            "detector_hash": sha256(detector)[:16],
            "detector_size": detector_size or 0,
            "confidence": str(confidence),
        }
    description = describe_result("people", opened, ALL_ROWS, **how)
    numbers = {
        "people": float(people_area.mean()),
        "people_median": float(np.median(people_area)),
        "frames_with_people": float(seen.mean()),
    }
    details = {"per_class": per_class, "per_video": dict(zip(ids.tolist(), people_area.tolist(), strict=True))}
    path = save_result(out, description, numbers, details)
    title = f"{people_area.mean():.1%} of the frame shows people, and {seen.mean():.0%} of frames any ({finder.name})"
    shown = people_examples(opened, rows, people_area, finder)
    plot_class_shares("people", people_area, per_class, shown, title, path.with_suffix(".png"))
    print_shares("people", people_area, per_class, title, console)
    console.print(
        f"The paper: less than {PEOPLE_SHARE_BELOW:g}% of the frame on three public datasets, by YOLOv5 "
        "(supplement, Fig. 1)"
    )
    if not detector:
        console.print(
            "HOG misses many people, so that the share is more than this: --detector takes a YOLO's ONNX file"
        )
    print_saved(console, path, path.with_suffix(".png"))
