"""Write clips as WebDataset tars: for each clip KEY.mp4 and KEY.json, which says what is on it."""

import io
import json
import tarfile
import tempfile
from pathlib import Path

from s2vc.pipeline.cache import Cache
from s2vc.pipeline.export.clips import Clip
from s2vc.pipeline.export.labels import clip_table
from s2vc.pipeline.export.video_files import write_mp4_clip
from s2vc.pipeline.reporting import report_within


def write_tar(path: Path, cache: Cache, clips: list[Clip]) -> None:
    """Write clips into a tar. The same clips give the same bytes.

    KEY is the row of the video in the cache, eight digits, and the number of the window: a video_id may have dots, at
    which WebDataset would cut it. Raises UserError if the cache is damaged.
    """
    described = json.loads(clip_table(cache, clips).to_json(orient="records"))
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar, tempfile.TemporaryDirectory() as folder:
        for number, (clip, words) in enumerate(zip(clips, described, strict=True), 1):
            key = f"{clip.row:08d}" + (f"_w{clip.window:03d}" if _has_windows(clip) else "")
            video = Path(folder) / "clip.mp4"
            write_mp4_clip(video, cache, clip)
            _add(tar, f"{key}.mp4", video.read_bytes())
            _add(tar, f"{key}.json", json.dumps(words, ensure_ascii=False).encode())
            report_within(number, sum(one.frames for one in clips[:number]))


def _has_windows(clip: Clip) -> bool:
    return clip.variant is not None and clip.variant.rule.scope == "clip"


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # It has no time, no owner and mode 0644.
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
