"""What tests of the real command share: six videos, and the cache of a run that nothing disturbed."""

from pathlib import Path

import pytest

from tests.support.clips import moving_square, write_clip
from tests.support.processes import finish, start
from tests.support.reference_run import SHARDS, encode_command, render_command


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos in three shards, m.csv, and `quiet`, the cache of an undisturbed run, not to be written into."""
    folder = tmp_path_factory.mktemp("undisturbed")
    rows = ["video_id"]
    for number in range(2 * SHARDS):
        write_clip(folder / "videos" / f"{number}.mp4", moving_square(40, seed=number))
        rows.append(f"{number}.mp4")
    (folder / "m.csv").write_text("\n".join(rows) + "\n")
    for command in (encode_command(folder, folder / "quiet"), render_command(folder / "quiet")):
        assert finish(start(command)) == 0
    return folder
