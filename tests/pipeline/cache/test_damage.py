"""Damage of a cache is told from a store that does not answer."""

import errno
import os
from pathlib import Path

import pytest

from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache.cache_storage import LocalStorage
from s2vc.pipeline.cache.damage import damage_as_user_error
from s2vc.pipeline.stages.ingest_shard import StorageError
from s2vc.pipeline.storage.failures import speaks_of_damage
from s2vc.pipeline.storage.object_store import StoreError


def test_damaged_data_is_reported_with_the_command_that_checks_it(tmp_path: Path) -> None:
    said = r"a clip cannot be read \(truncated\): run `s2vc-prep verify .*cache`"
    with (
        pytest.raises(UserError, match=said),
        damage_as_user_error("a clip", LocalStorage(tmp_path / "cache")),
    ):
        raise OSError("truncated")


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO])
def test_storage_that_fails_is_no_damage(number: int, tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=os.strerror(number)),
        damage_as_user_error("a clip", LocalStorage(tmp_path / "cache")),
    ):
        raise OSError(number, os.strerror(number), "frames/00000.h5")


def test_a_store_that_does_not_answer_is_no_damage(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match=r"^no answer$") as error,
        damage_as_user_error("a clip", LocalStorage(tmp_path / "cache")),
    ):
        raise StoreError("no answer")
    assert error.value.exit_code == 1


def test_only_errors_about_one_file_speak_of_damage() -> None:
    assert speaks_of_damage(FileNotFoundError(errno.ENOENT, "No such file or directory"))
    assert speaks_of_damage(OSError("Can't synchronously read data (filter returned failure during read)"))
    for storage in (OSError(errno.EIO, "x"), PermissionError(errno.EACCES, "x"), StoreError("x"), StorageError("x")):
        assert not speaks_of_damage(storage)
    assert not speaks_of_damage(OSError("Can't read data (file read failed: errno = 5, error message = 'I/O error')"))
