"""Images to fit a flow to: folders, tar shards and caches; damaged ones, other sizes, and what is held out."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.flow_fitting.images import read_images


def read(source: Path, resize: bool = False, **more: int):  # type: ignore[no-untyped-def]
    return read_images(source, resize, 0, **more)


def picture(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images in folders, one of them damaged, and two more in a tar file."""
    (tmp_path / "a").mkdir()
    picture(0).save(tmp_path / "a" / "0.png")
    picture(1).save(tmp_path / "1.png")
    whole = io.BytesIO()
    picture(2).save(whole, "png")
    (tmp_path / "cut.png").write_bytes(whole.getvalue()[:2000])
    (tmp_path / "notes.txt").write_text("no image")
    with tarfile.open(tmp_path / "more.tar", "w") as archive:
        for seed in (3, 4):
            content = io.BytesIO()
            picture(seed).save(content, "png")
            member = tarfile.TarInfo(f"x/{seed}.png")
            member.size = len(content.getvalue())
            content.seek(0)
            archive.addfile(member, content)
    return tmp_path


def test_images_of_folders_and_tar_files_are_read_and_damaged_ones_are_named(folder: Path) -> None:
    images = read(folder)
    assert len(images.skipped) + len(images) == 5 and len(images) == 4
    for pixels, seed in zip(images.pixels, (1, 0, 3, 4), strict=True):  # by name: 1.png, a/0.png, more.tar
        np.testing.assert_array_equal(pixels.permute(1, 2, 0), np.asarray(picture(seed)))
    (told,) = images.skipped
    assert told.startswith("cut.png: ")
    assert len(read(folder / "more.tar")) == 2
    assert len(read(folder, most=2).pixels) + len(read(folder, most=2).skipped) == 2


def test_other_sizes_are_refused_or_cut_to_the_middle_square(tmp_path: Path) -> None:
    wide = np.zeros((128, 200, 3), np.uint8)
    wide[:, 36:164] = 200  # the middle square is grey, the rest black
    Image.fromarray(wide).save(tmp_path / "w.png")
    with pytest.raises(UserError, match=r"w.png is 200x128, not 64x64: give --resize"):
        read(tmp_path)
    (pixels,) = read(tmp_path, resize=True).pixels
    assert pixels.shape == (3, 64, 64) and (pixels == 200).all()


def test_frames_of_a_cache_are_its_small_ones_and_videos_are_held_out_whole(cache_path: Path) -> None:
    cache = Cache(cache_path)
    images = read(cache_path)
    assert len(images) == int(cache.index["frames"].sum())
    row = cache.index["video_id"].tolist().index("orbit/a.mp4")
    of = images.pixels[images.group == row]
    np.testing.assert_array_equal(of.permute(0, 2, 3, 1), cache.small("orbit/a.mp4"))
    train, held = images.held_out(10, seed=0)
    assert len(train) + len(held) == len(images) and len(held) >= 10
    sizes = {int((images.group == g).sum()) for g in images.group.unique()}
    assert any(len(held) == a or len(held) == a + b for a in sizes for b in sizes)
    fewer = read(cache_path, most=50)
    assert 40 <= len(fewer) <= 50 and torch.unique(fewer.group).numel() >= 4


def test_what_is_no_source_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder, tar file or cache"):
        read(tmp_path / "nothing")
    with pytest.raises(UserError, match="holds no images"):
        read(tmp_path)
    (tmp_path / "bad.tar").write_bytes(b"x" * 3000)
    with pytest.raises(UserError, match=r"bad.tar cannot be read"):
        read(tmp_path)
