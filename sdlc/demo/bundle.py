"""The demo's repository and ticket, made from the files beside this module."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdlc.errors import RepositoryInvalid
from sdlc.integrations.process import run

FILES = Path(__file__).parent / "repository"
TICKET = Path(__file__).parent / "ticket.md"
TICKET_KEY = "DEMO-1"
BRANCH = "main"
AUTHOR, EMAIL = "Mara Lindqvist", "mara@parcel.example"

_GENERATED = shutil.ignore_patterns("__pycache__", ".*_cache", ".coverage")


@dataclass(frozen=True)
class _Commit:
    message: str
    date: str
    paths: tuple[str, ...]


HISTORY = (
    _Commit(
        "Rate card, tiers, and the weight that is charged",
        "2024-11-19T10:12:00+01:00",
        (
            ".gitignore",
            "pyproject.toml",
            "parcel/money.py",
            "parcel/parcels.py",
            "parcel/tariff.py",
            "parcel/rates.py",
            "tests/test_money.py",
            "tests/test_parcels.py",
        ),
    ),
    _Commit("Quotes for shipments, on the command line too", "2025-02-11T16:40:00+01:00", ("parcel", "tests")),
    _Commit("House rules, changelog and rate card in the README", "2025-02-12T09:05:00+01:00", (".",)),
)
"""What each commit adds: with fixed dates and author, the shas are the same on every machine."""


def ticket_text() -> str:
    """The ticket as Markdown with front matter."""
    return TICKET.read_text(encoding="utf-8")


async def make_repository(folder: Path) -> Path:
    """Make the demo's git repository at `folder` and return it; one that is there already is left as it is.

    Raises RepositoryInvalid if `folder` holds anything else or git fails, ConfigurationError if there is no git.
    """
    if await asyncio.to_thread(_is_made, folder):
        return folder
    # Made beside its place and then renamed: a broken-off start leaves nothing half made.
    with tempfile.TemporaryDirectory(prefix=".demo-", dir=folder.parent) as temporary:
        made = Path(temporary) / "repository"
        await asyncio.to_thread(_copy_files, made)
        await _commit_history(made)
        await asyncio.to_thread(made.replace, folder)
    return folder


def _is_made(folder: Path) -> bool:
    if (folder / ".git").is_dir():
        return True
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RepositoryInvalid(
            f"{folder} is not empty and not the demo's repository; name another folder, or remove it."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    return False


def _copy_files(target: Path) -> None:
    """Files 0644 and folders 0755, whatever the installation had: modes are part of a tree's sha."""
    shutil.copytree(FILES, target, ignore=_GENERATED)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


async def _commit_history(repository: Path) -> None:
    # No template: it could bring hooks along.
    await _git(repository, "init", "--quiet", "--template=", f"--initial-branch={BRANCH}", "--object-format=sha1")
    for commit in HISTORY:
        await _git(repository, "add", "--", *commit.paths)
        dates = {"GIT_AUTHOR_DATE": commit.date, "GIT_COMMITTER_DATE": commit.date}
        await _git(repository, "commit", "--quiet", f"--message={commit.message}", dates=dates)


async def _git(repository: Path, *arguments: str, dates: Mapping[str, str] | None = None) -> None:
    """Run git in the repository, free of the user's and the system's configuration."""
    fixed = ("core.autocrlf=false", "core.fileMode=true", "core.hooksPath=/dev/null", "commit.gpgSign=false")
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(repository),
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": AUTHOR,
        "GIT_AUTHOR_EMAIL": EMAIL,
        "GIT_COMMITTER_NAME": AUTHOR,
        "GIT_COMMITTER_EMAIL": EMAIL,
        **(dates or {}),
    }
    options = [part for setting in fixed for part in ("-c", setting)]
    done = await run(["git", *options, *arguments], cwd=repository, env=environment, timeout=60)
    if done.exit_code:
        said = done.stderr.decode(errors="replace").strip()
        raise RepositoryInvalid(f"git {arguments[0]} failed while the demo's repository was made: {said}")
