"""What set-up leaves in the source tree: version files, compiled modules. Kept beside the environment and
put into every workspace, where an editable install expects them.

Both sides are hostile ground: the tree that set-up worked on and the workspace hold whatever
a repository put there. Nothing is followed, nothing is overwritten, and only what git ignores is put
anywhere, so that none of it can get into a commit.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from sdlc.integrations.git.runner import Git

_LARGEST = 256 * 1024**2
_MOST = 2_000
_LEFT_OUT = frozenset(
    {"__pycache__", ".git", ".venv", "venv", "node_modules", "target", ".pytest_cache", ".ruff_cache", ".mypy_cache"}
)


def keep_products(tree: Path, known: Collection[str], store: Path) -> list[str]:
    """Copy the regular files below `tree` that are not `known` to `store`; their paths.

    Build folders, caches and metadata are left out, and everything if it is more than 256 MiB.
    """
    known = frozenset(known)
    found = [path for path in _regular_files(tree) if path not in known]
    if len(found) > _MOST or sum((tree / path).lstat().st_size for path in found) > _LARGEST:
        return []
    for path in found:
        target = store / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / path, target, follow_symlinks=False)
        target.chmod(0o644)
    return found


def _regular_files(tree: Path) -> list[str]:
    found: list[str] = []
    for folder, names, files in os.walk(tree):
        at_the_top = Path(folder) == tree
        names[:] = [
            name
            for name in names
            if name not in _LEFT_OUT
            and not name.endswith((".egg-info", ".dist-info"))
            and not (at_the_top and name == "build")
        ]
        for name in files:
            path = Path(folder, name)
            if stat.S_ISREG(path.lstat().st_mode) and not name.endswith((".pyc", ".o")):
                found.append(path.relative_to(tree).as_posix())
    return found


async def put_products(products: list[str], store: Path, workspace: Path, git: Git) -> None:
    """Put kept files into a workspace, where they are missing and git ignores them. `git` is on that workspace."""
    wanted = await asyncio.to_thread(_missing, products, workspace)
    if not wanted:
        return
    listed = b"".join(os.fsencode(path) + b"\0" for path in wanted)
    asked = ("check-ignore", "-z", "--stdin", "--no-index")
    # It takes paths only, and refuses to be told that they are to be taken as they are.
    ignored = await git.run(*asked, stdin=listed, env={"GIT_LITERAL_PATHSPECS": "0"}, accept=(0, 1))
    await asyncio.to_thread(_put, [os.fsdecode(raw) for raw in ignored.records], store, workspace)


def _put(paths: list[str], store: Path, workspace: Path) -> None:
    for path in paths:
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store / path, workspace / path, follow_symlinks=False)


def _missing(products: list[str], workspace: Path) -> list[str]:
    return [path for path in products if _has_plain_parents(workspace, path) and not os.path.lexists(workspace / path)]


def _has_plain_parents(workspace: Path, path: str) -> bool:
    """No folder on the way is a symlink, which could lead out of the workspace."""
    at = workspace
    for part in PurePosixPath(path).parts[:-1]:
        if part in ("..", ".git"):
            return False
        at = at / part
        if os.path.lexists(at) and (at.is_symlink() or not at.is_dir()):
            return False
    return True
