"""Make the oracle's key clips: the originals with grey in place of what the drawn masks call background."""

import shutil
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from s2vc.pipeline.cache.corrections import WindowRecord, write_corrections
from s2vc.pipeline.cache.frames import read_small
from s2vc.pipeline.cache.layout import ENCODE, Layout, motion_stage
from s2vc.pipeline.cache.receipts import make_receipt, read_receipt
from s2vc.pipeline.flow.architecture import SMALL
from s2vc.pipeline.stages.render_shard import shard_windows
from s2vc.pipeline.storage import files
from s2vc.pipeline.variants import Variant

GREY = 0.5


def make_oracle(cache: Path, out: Path, variant: Variant, masks: Path) -> None:
    """Copy a cache, and put the corrections that remove the background in the place of the variant's.

    cache: has frames, latents and index. out: is made, unless it is complete. masks: the folder of the set's masks.
    The name of the variant says nothing of what its corrections are here, so the copy is for this study only.
    """
    layout = Layout(out)
    if layout.variant_settings(variant).exists():
        return
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(cache, out, ignore=shutil.ignore_patterns("motion", "latents"))
    for shard in range(len(list(Layout(cache).frames(0).parent.glob("*.h5")))):
        oracle_shard(layout, shard, variant, masks)
    files.write_json(layout.variant_settings(variant), variant.to_json())


def oracle_shard(layout: Layout, shard: int, variant: Variant, masks: Path) -> None:
    """Write the corrections of a shard and their receipt."""
    encoded = read_receipt(layout, ENCODE, shard)
    assert encoded is not None
    path = layout.motion(variant, shard)
    with write_corrections(path) as writer:
        for window in shard_windows(encoded, variant.rule):
            change = removal(layout, shard, window.frames, masks / Path(window.video_id).with_suffix(".npz"))
            record = WindowRecord(window.video, window.frames, 0.0, 1.0)
            writer.add(record, float(np.abs(change).max()), iter([change]))
    stage = motion_stage(variant)
    make_receipt(layout, stage, shard, encoded.videos, encoded.files, [path]).write(layout)


def removal(layout: Layout, shard: int, frames: np.ndarray, mask_file: Path) -> np.ndarray:
    """Return the change that turns the small frames of a video into grey where the mover is not, (T, 64, 64, 3)
    float32."""
    small = read_small(layout.small(shard), int(frames[0]), int(frames[-1]) + 1).astype(np.float32) / 255
    with np.load(mask_file) as stored:
        mover = torch.from_numpy(stored["mask"][: len(frames)].astype(np.float32))
    share = functional.interpolate(mover[:, None], size=(SMALL, SMALL), mode="area")[:, 0, :, :, None].numpy()
    return ((GREY - small) * (1 - share)).astype(np.float32)
