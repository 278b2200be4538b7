"""Decode all videos of a folder with this program and with PyAV, and print where the two differ.

python -m tests.robustness.conformance FOLDER [FOLDER ...] [--all]

Both read the same stream and give frames of 96x128. Compared are their number, their order and their pixels, frame by
frame. PyAV does not turn frames, which is done here by what their side data says. Exit code 1: some differ.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation

from s2vc.manifests.on_disk import is_video
from s2vc.pipeline.stages.declared_size import missing_end
from s2vc.pipeline.stages.ingest_shard import judge
from s2vc.pipeline.stages.video import Decoded, DecodeError, decode_video

HEIGHT, WIDTH = 96, 128

CLOSE = 8.0
"""Decoders that convert and scale by themselves differ by less, in levels of 255 on average over a frame: by 6.0 at
most over the 256 videos beside this repository, on test charts whose saturated colours change from pixel to pixel."""


@dataclass(frozen=True)
class Comparison:
    """Holds what came of a file: status and reason as in a receipt, and the number of frames here and in PyAV.

    worst: mean absolute difference of the frames that differ most, in levels of 255. moved: how many of PyAV's frames
    are nearer to the frame before or after, by half and more, than to that of their own number. stopped: why PyAV
    stopped, if it did.
    """

    path: Path
    status: str
    reason: str
    ours: int
    theirs: int
    worst: float
    moved: int
    stopped: str

    @property
    def differs(self) -> bool:
        return self.ours != self.theirs or self.worst > CLOSE or self.moved > 0

    def __str__(self) -> str:
        frames = f"{self.ours} frames" if self.ours == self.theirs else f"{self.ours} frames, {self.theirs} in PyAV"
        order = f", {self.moved} nearer to a neighbour" if self.moved else ""
        notes = [note for note in (self.reason, self.stopped) if note]
        return "; ".join([f"{self.path.name}: {self.status}, {frames}, differ by {self.worst:.1f}{order}", *notes])


def compare(path: Path) -> Comparison:
    """Decode a file twice and compare what came."""
    ours: list[np.ndarray] = []
    try:
        decoded = decode_video(path, HEIGHT, WIDTH, lambda frames: ours.extend(frames.copy()))
    except DecodeError as error:
        decoded = Decoded(refused=repr(error))
    status, reason = judge(decoded, missing_end(path))
    theirs, worst, moved, stopped = 0, 0.0, 0, ""
    try:
        for theirs, frame in enumerate(frames_of(path, decoded.stream), 1):
            near = [float(np.abs(frame.astype(np.int16) - o).mean()) for o in ours[max(theirs - 2, 0) : theirs + 1]]
            if theirs <= len(ours):
                own = near[0 if theirs == 1 else 1]
                worst, moved = max(worst, own), moved + (own > 2 * min(near) + 0.5)
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        stopped = f"PyAV: {type(error).__name__} after {theirs} frames"
    return Comparison(path, status, reason, len(ours), theirs, worst, moved, stopped)


def frames_of(path: Path, stream: int | None) -> Iterator[np.ndarray]:
    """Yield PyAV's frames of a stream, the first of video unless it is given: (96, 128, 3) uint8 RGB, turned upright.

    A packet that cannot be decoded is passed over, as a player does.
    """
    with av.open(str(path)) as container:
        chosen = container.streams.video[0] if stream is None else container.streams[stream]
        for packet in container.demux(chosen):
            try:
                decoded = packet.decode()
            except av.error.InvalidDataError:
                continue
            for frame in decoded:
                yield upright(frame)


def upright(frame: av.VideoFrame) -> np.ndarray:
    quarters = round(frame.rotation / 90) % 4
    height, width = (HEIGHT, WIDTH) if quarters % 2 == 0 else (WIDTH, HEIGHT)
    small = frame.reformat(width, height, "rgb24", interpolation=Interpolation.BICUBIC)
    return np.ascontiguousarray(np.rot90(small.to_ndarray(), quarters))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--all", action="store_true", help="print files that do not differ, too")
    options = parser.parse_args()
    files = sorted(path for folder in options.folders for path in folder.rglob("*") if is_video(path.name))
    different = 0
    for path in files:
        found = compare(path)
        different += found.differs
        if found.differs or options.all:
            print(found, flush=True)
    print(f"{len(files)} files, {different} differ")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
