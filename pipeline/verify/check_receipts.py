"""Check receipts, and the files that they name against their SHA-256."""

import stat
from collections.abc import Mapping
from pathlib import Path

from s2vc.pipeline.cache.layout import Layout
from s2vc.pipeline.cache.receipts import Receipt, VideoRecord, load_receipt, receipt_fault
from s2vc.pipeline.storage import files
from s2vc.pipeline.verify.problem import Checks, Problem


def receipt_name(layout: Layout, stage: str, shard: int) -> str:
    """Return the path of a receipt relative to the cache."""
    return layout.key(layout.receipt(stage, shard))


def check_receipt(layout: Layout, stage: str, shard: int, video_ids: list[str]) -> Checks[Receipt | None]:
    """Check that the receipt file is a receipt of this stage and shard, with these videos in this order.

    Returns the receipt, or None where there is a problem with it.
    """
    where = receipt_name(layout, stage, shard)
    try:
        receipt = load_receipt(layout, stage, shard)
    except (OSError, RecursionError) as error:
        yield Problem(where, f"cannot be read ({error})")
        return None
    if receipt is None:
        yield Problem(where, "is no receipt: the shard counts as not done")
        return None
    fault = receipt_fault(receipt, stage, shard) or _other_videos(receipt.videos, video_ids)
    if fault:
        yield Problem(where, fault)
        return None
    return receipt


def _other_videos(videos: list[VideoRecord], video_ids: list[str]) -> str:
    if len(videos) != len(video_ids):
        return f"its videos are {len(videos)}, those of the shard in index.csv {len(video_ids)}"
    for number, (video, video_id) in enumerate(zip(videos, video_ids, strict=True), 1):
        if video.video_id != video_id:
            return f"video {number} is {video.video_id}, in index.csv it is {video_id}"
    return ""


def check_inputs(layout: Layout, receipt: Receipt, before: Receipt, inputs: list[str]) -> Checks[bool]:
    """Check that a receipt's stage read the files that the receipt of the stage before it names now.

    inputs: the names of the files that the stage reads. Returns whether it did.
    """
    where = receipt_name(layout, receipt.stage, receipt.shard)
    command = "render" if receipt.stage.startswith("motion/") else "encode"
    if receipt.videos != before.videos:
        other = receipt_name(layout, before.stage, before.shard)
        yield Problem(where, f"what became of its videos is not what {other} says")
        return False
    for name in sorted(receipt.inputs.keys() | set(inputs)):
        if name not in inputs or receipt.inputs.get(name) != before.files.get(name):
            what = f"was not made from the {name} that is there now; run `s2vc-prep {command}` again"
            yield Problem(where, what)
            return False
    return True


def check_files(layout: Layout, receipt: Receipt, sizes: Mapping[str, int | None], quick: bool) -> Checks[set[str]]:
    """Check the files of a stage of a shard: each is named in the receipt, exists, has its size where that is known
    and, unless `quick`, has the SHA-256 of the receipt.

    sizes: every file that must exist, by its path relative to the cache, with its size in bytes or None. Returns the
    names of the files without a problem.
    """
    where = receipt_name(layout, receipt.stage, receipt.shard)
    for name in sorted(receipt.files.keys() - sizes.keys()):
        yield Problem(where, f"names {name}, which is no file of this shard")
    well = set()
    for name, size in sizes.items():
        if name not in receipt.files:
            yield Problem(where, f"does not name {name}")
            continue
        fault = _file_fault(layout.root / name, size, None if quick else receipt.files[name])
        if fault:
            yield Problem(name, fault)
        else:
            well.add(name)
    return well


def _file_fault(path: Path, size: int | None, sha256: str | None) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return "is no regular file"
        if size is not None and status.st_size != size:
            return f"has {status.st_size} bytes, {size} are expected"
        if sha256 is not None and files.sha256(path) != sha256:
            return "is not as it was written (its SHA-256 is not the one in its receipt)"
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""
