"""Do the parts one after another, each in a process of its own, and write what each says into one JSON file.

python -m tests.gpu OUT.json [--device cuda] [--minutes 9.5] [--only NAME ...] [--tiny] [--work DIRECTORY]

The most valuable parts come first. A part that fails or takes too long is noted with the end of what it printed, and
the next one begins. Parts that OUT.json has figures of are not done again. --tiny, with --device cpu, tries the script.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from s2vc.pipeline.storage import files
from tests.benchmarks.measure import machine
from tests.gpu.parts import PARTS, Place

TAIL = 4000
"""So many characters of the output of a part that failed are kept."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT.json")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.5, help="no part may go on after so many")
    parser.add_argument("--only", nargs="+", default=[], choices=list(PARTS), metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--tiny", action="store_true", help="few frames and steps: does the script itself work?")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "s2vc-gpu")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    place = Place(options.work, options.device, options.tiny)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.part:
        files.write_text(result_file(place, options.part), json.dumps(PARTS[options.part].ask(place)))
        return
    deadline = time.monotonic() + 60 * options.minutes
    answers = json.loads(options.out.read_text()) if options.out.exists() else {"machine": describe(options.device)}
    for name in options.only or PARTS:
        if "figures" in answers.get(name, {}):
            continue
        left = deadline - time.monotonic()
        if left < PARTS[name].least_seconds and not options.tiny:
            print(f"{name}: {left:.0f} s are left, it takes {PARTS[name].least_seconds:.0f} or more")
            continue
        answers[name] = in_process(name, place, left)
        files.write_text(options.out, json.dumps(answers, indent=1) + "\n")
        print(f"{name}: {json.dumps(answers[name])}")


def describe(device: str) -> str:
    """Name the GPU, its memory and its compute capability beside the processor."""
    if not device.startswith("cuda"):
        return machine()
    gpu = torch.cuda.get_device_properties(device)
    return f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, compute {gpu.major}.{gpu.minor}; {machine()}"


def in_process(name: str, place: Place, limit: float) -> dict[str, Any]:
    """Do a part; return its figures and seconds, or how it failed."""
    command = [sys.executable, "-m", "tests.gpu", os.devnull, "--part", name, "--device", place.device]
    command += ["--work", str(place.work), *["--tiny"] * place.tiny]
    result_file(place, name).unlink(missing_ok=True)
    started = time.monotonic()
    with (place.work / f"{name}.log").open("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        log.seek(0)
        said = log.read()
    spent = {"seconds": round(time.monotonic() - started, 1)}
    if code == 0:
        return spent | {"figures": json.loads(result_file(place, name).read_text())}
    return spent | {"code": code, "said": said[-TAIL:]}


def result_file(place: Place, name: str) -> Path:
    return place.work / f"{name}.json"


if __name__ == "__main__":
    main()
