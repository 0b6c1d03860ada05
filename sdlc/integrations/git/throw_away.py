"""Removing what sandboxed code has made, whatever it did to make that hard."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import stat
import uuid
from contextlib import suppress
from pathlib import Path

from sdlc.errors import WorkspaceBroken
from sdlc.integrations import process

_REMOVE_SECONDS = 600.0
_TRASH = ".trash-"
log = logging.getLogger(__name__)


async def throw_away(path: Path, *, by_way_of: Path | None = None) -> None:
    """Remove a file or folder, also without permissions in it and deeper than a path can be long.

    It is moved to `by_way_of` first, a folder on the same file system; default: the one it is in. So it is
    out of the way when this returns, even where something of it could not be deleted.
    Raises WorkspaceBroken if it can't even be moved.
    """
    trash = _moved(path, by_way_of or path.parent)
    if trash is not None:
        await _delete(trash)


def _moved(path: Path, folder: Path) -> Path | None:
    """Where in `folder` it is now; None if it did not exist."""
    trash = folder / f"{_TRASH}{uuid.uuid4().hex[:12]}"
    try:
        if not os.path.lexists(path):
            return None
        if path.is_dir() and not path.is_symlink():
            path.chmod(path.stat().st_mode | stat.S_IRWXU)  # a folder that is moved is written to
        path.rename(trash)
    except OSError as error:
        raise WorkspaceBroken(f"{path} can't be removed ({error.strerror}); remove it by hand.") from error
    return trash


async def empty_trash(folder: Path) -> None:
    """Remove what an interrupted `throw_away` left in `folder`."""
    for entry in _trash_in(folder):
        await _delete(entry)


def _trash_in(folder: Path) -> list[Path]:
    return list(folder.glob(f"{_TRASH}*"))


async def _delete(trash: Path) -> None:
    try:
        await asyncio.to_thread(_remove, trash)
        return
    except (OSError, RecursionError):
        await asyncio.to_thread(open_up, trash)
    # coreutils' rm goes as deep as the file system does.
    done = await process.run(("rm", "-rf", "--", str(trash)), timeout=_REMOVE_SECONDS)
    if done.exit_code != 0:
        log.warning("something of %s could not be deleted: %s", trash, done.stderr.decode(errors="replace")[:200])


def _remove(trash: Path) -> None:
    if trash.is_dir() and not trash.is_symlink():
        shutil.rmtree(trash)
    else:
        trash.unlink(missing_ok=True)


def open_up(root: Path) -> None:
    """Give ourselves back the permissions on everything in `root` that is ours."""
    folders = [os.fspath(root)]
    while folders:
        folder = folders.pop()
        with suppress(OSError):
            _grant(folder, stat.S_IRWXU)
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        with suppress(OSError):
                            _grant(entry.path, stat.S_IRUSR | stat.S_IWUSR)


def _grant(path: str, bits: int) -> None:
    mode = os.lstat(path).st_mode
    if not stat.S_ISLNK(mode) and mode & bits != bits:
        os.chmod(path, stat.S_IMODE(mode) | bits)
