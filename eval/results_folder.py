"""A folder of results, which is looked at before anything is computed, and its table."""

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from s2vc.manifests.errors import UserError
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.failures import STORAGE_FAILS

if TYPE_CHECKING:
    import pandas as pd

TABLE = "results.csv"


def check_results_folder(folder: Path) -> None:
    """Raise UserError where results cannot be written into a folder, or its table is damaged: a command finds that out
    before it computes for hours. A folder that is not there yet is not left behind."""
    check_writable(folder)
    if (folder / TABLE).exists():
        read_table(folder)


def check_writable(folder: Path) -> None:
    """Raise UserError where no file can be written into a folder, which need not be there yet, and is not left behind
    then."""
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in STORAGE_FAILS:
            raise
        raise UserError(f"{folder} cannot be written into: {files.describe_os_error(error)}") from None
    finally:
        with suppress(OSError):  # Another command may have begun to write there.
            for path in absent:
                path.rmdir()


def read_table(folder: Path) -> "pd.DataFrame":
    """Read the rows of all results in a folder, in the order they were made; columns of other tasks are empty.

    Raises UserError for a file that is no such table.
    """
    import pandas as pd  # A usage error need not wait for it.

    try:
        table = pd.read_csv(folder / TABLE)
    except (OSError, ValueError) as error:  # Pandas' own errors are ValueErrors.
        raise UserError(f"{folder / TABLE} is damaged: {error}") from None
    if "result" not in table:
        raise UserError(f"{folder / TABLE} is damaged: it has no column 'result'")
    return table
