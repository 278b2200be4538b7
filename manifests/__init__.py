"""Which videos: one table, and readers of UCF101, HMDB51, Kinetics, plain lists and plain folders."""

from manifests.errors import UserError
from manifests.folder import read_folder
from manifests.found import VIDEO_EXTENSIONS, Reading, write_missing
from manifests.hmdb51 import read_hmdb51
from manifests.kinetics import kinetics200, read_kinetics
from manifests.lists import read_lists
from manifests.table import build_table, check_manifest, read_manifest, split_columns, write_manifest
from manifests.ucf101 import read_ucf101

__all__ = [
    "VIDEO_EXTENSIONS",
    "Reading",
    "UserError",
    "build_table",
    "check_manifest",
    "kinetics200",
    "read_folder",
    "read_hmdb51",
    "read_kinetics",
    "read_lists",
    "read_manifest",
    "read_ucf101",
    "split_columns",
    "write_manifest",
    "write_missing",
]
