"""Files that are either complete or absent, also after a power cut."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

TEMPORARY_SUFFIX = ".partial"


def write_whole_file(path: Path, write: Callable[[str], object]) -> None:
    """Lets `write` fill a temporary file beside `path`, syncs it and renames it into place.

    `path` holds its old content or the new one, never a part. Whatever `write` raises is passed on, and the
    temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        write(str(temporary))
        _sync(temporary, os.O_RDONLY)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The rename itself is only on disk once its directory is.
    _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)


def remove_partial_files(directory: Path) -> None:
    """Clears what a killed predecessor left half-written. Only one process may use the directory at a time."""
    for leftover in directory.glob(f".*{TEMPORARY_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
