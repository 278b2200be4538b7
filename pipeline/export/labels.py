"""Write the tables that say what is on exported clips, as other toolboxes read them.

metadata.csv is what Hugging Face's `videofolder` reads: `file_name`, then whatever is known. SPLIT_PART.txt, such as
split1_train.txt, is an annotation file of mmaction2: path and class number, and for folders of JPEGs their number
before it.
"""

from pathlib import Path

import pandas as pd

from s2vc.manifests.table import FIRST_COLUMNS, SPLIT_VALUES, split_columns
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.export.clips import Clip
from s2vc.pipeline.storage import files

METADATA = "metadata.csv"


def clip_table(cache: Cache, clips: list[Clip]) -> pd.DataFrame:
    """Return a row for each clip: file_name, video_id, window, frames, fps, label, class_name, split columns and
    whatever else the manifest held, except columns of these names."""
    index = cache.index
    rows = index.iloc[[clip.row for clip in clips]].reset_index(drop=True)
    own = pd.DataFrame(
        {
            "file_name": [clip.name.as_posix() for clip in clips],
            "video_id": [clip.video_id for clip in clips],
            "window": [clip.window for clip in clips],
            "frames": [clip.frames for clip in clips],
            "fps": [clip.fps for clip in clips],
        }
    )
    more = [name for name in index.columns if name not in (*own.columns, *FIRST_COLUMNS, *_OF_THE_INDEX)]
    return pd.concat([own, rows[["label", "class_name", *more]]], axis=1)


_OF_THE_INDEX = ("shard", "first_frame", "frames", "status", "reason")


def write_label_tables(folder: Path, cache: Cache, clips: list[Clip], form: str) -> list[str]:
    """Write the tables of clips that lie in a folder; return lines on clips that they leave out."""
    table = clip_table(cache, clips)
    files.write_text(folder / METADATA, table.to_csv(index=False, lineterminator="\n"))
    # A line of mmaction2 ends a path at the first blank, and a class is a number.
    listed = table[table["label"].notna() & ~table["file_name"].str.contains(r"\s", regex=True)]
    for split in split_columns(table):
        for part in SPLIT_VALUES:
            chosen = listed[listed[split] == part]
            path = folder / f"{split}_{part}.txt"
            if chosen.empty:
                files.remove(path)
                continue
            columns = ["file_name", "frames", "label"] if form == "frames" else ["file_name", "label"]
            files.write_text(path, "".join(" ".join(map(str, row)) + "\n" for row in chosen[columns].to_numpy()))
    missing = len(table) - len(listed) if split_columns(table) else 0
    lost = f"in {METADATA} alone, for want of a class or for blanks in the name: {missing} of the clips"
    return [lost] if missing else []
