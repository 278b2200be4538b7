"""Do the parts one after another, each in a process of its own, and write what each says into one JSON file.

python -m tests.gpu OUT.json [--device cuda] [--minutes 9.5] [--only NAME ...] [--tiny] [--work DIRECTORY]

The most valuable parts come first. Every answer is in OUT.json before the next question is asked; a part that takes too
long is killed, the end of what it printed is noted, and the next one begins. Called again, questions that OUT.json has
answers to are not asked again, those that failed are: parts that were never begun come first. The folder of OUT.json
also gets the flows that are fitted. --tiny, with --device cpu, tries the script.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from s2vc.pipeline.storage import files
from tests.benchmarks.measure import machine
from tests.gpu.asking import is_done, place_as_text, read_answers, write_part
from tests.gpu.parts import PARTS, Part, Place
from tests.gpu.processes import kill_tree, let_be_found, tail

PATIENCE = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT.json")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.5, help="no part may go on after so many")
    parser.add_argument("--only", nargs="+", default=[], choices=list(PARTS), metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--tiny", action="store_true", help="few frames and steps: does the script itself work?")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "s2vc-gpu")
    parser.add_argument("--images", type=Path, help="tar file or folder of 64x64 images for the fit")
    options = parser.parse_args()
    out = options.out.absolute()
    images = options.images.absolute() if options.images else None
    place = Place(options.work.absolute(), out.parent, options.device, options.tiny, images)
    for folder in (options.work, out.parent):
        folder.mkdir(parents=True, exist_ok=True)
    let_be_found(options.work / "installed")
    if not read_answers(out):
        files.write_text(out, json.dumps({"machine": describe(options.device)}))
    parts = {name: PARTS[name] for name in options.only or PARTS}
    ask_all(parts, place, out, time.monotonic() + 60 * options.minutes)


def ask_all(parts: dict[str, Part], place: Place, out: Path, deadline: float) -> None:
    """Do the parts that are not done, until `deadline` on the monotonic clock: first those that were never begun."""
    answers = read_answers(out)
    left_over = [name for name in parts if not is_done(answers.get(name, {}))]
    for name in sorted(left_over, key=lambda name: name in answers):
        left = deadline - time.monotonic()
        if left < parts[name].least_seconds:
            print(f"{name}: {left:.0f} s are left, it takes {parts[name].least_seconds:.0f} or more", flush=True)
            continue
        # A small machine that tries the script is slow.
        most = parts[name].most_seconds * (PATIENCE if place.tiny else 1)
        do_part(name, parts[name], place, out, min(left, most))
        print(f"{name}: {json.dumps(read_answers(out)[name])}", flush=True)


def describe(device: str) -> str:
    """Name the GPU, its memory and its compute capability beside the processor."""
    if not device.startswith("cuda"):
        return machine()
    gpu = torch.cuda.get_device_properties(device)
    return f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, compute {gpu.major}.{gpu.minor}; {machine()}"


def do_part(name: str, part: Part, place: Place, out: Path, limit: float) -> None:
    """Do a part, which writes its answers to OUT.json; note how it ended, and the end of what it printed, if it did not
    end well. It is killed after `limit` seconds."""
    asked = Place(place.work, place.out, place.device, place.tiny, place.images, limit)
    command = [sys.executable, "-m", "tests.gpu.asking", name, part.function, place_as_text(asked), str(out)]
    started = time.monotonic()
    log = place.work / f"{name}.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            code = process.wait(limit)
            ended = "well" if code == 0 else f"with code {code}"
        except subprocess.TimeoutExpired:
            kill_tree(process.pid)
            code = process.wait()
            ended = f"killed after {limit:.0f} s"
    seconds = round(time.monotonic() - started, 1)
    write_part(out, name, {"ended": ended, "seconds": seconds, "said": "" if code == 0 else tail(log)})


if __name__ == "__main__":
    main()
