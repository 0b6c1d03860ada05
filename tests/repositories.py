"""Real git repositories for tests, made by the machine's own git with a configuration of no one's."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from sdlc.domain import Repository

_ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "LC_ALL": "C",
}


def git(folder: Path, *arguments: str | bytes, stdin: bytes | None = None, **env: str) -> str:
    """The output of a git command in `folder`; a failing one fails the test."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env={**_ENV, **env}, input=stdin, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode(errors="replace").strip()


@dataclass
class Checkout:
    """A person's checkout."""

    path: Path

    def write(self, files: dict[str, str | bytes | None]) -> None:
        """Content by path; None removes the file."""
        for name, content in files.items():
            file = self.path / name
            if content is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, files: dict[str, str | bytes | None], message: str = "a change") -> str:
        """Commit these files and everything else that is new; returns the sha."""
        self.write(files)
        git(self.path, "add", "--all")
        git(self.path, "commit", "--quiet", "--allow-empty", "--message", message)
        return self.head

    @property
    def head(self) -> str:
        return git(self.path, "rev-parse", "HEAD")

    def as_repository(self, url: str | None = None) -> Repository:
        return Repository(url=url or str(self.path), name="acme/parcel", base_branch="main", base_sha=self.head)


def new_checkout(path: Path, files: dict[str, str | bytes | None] | None = None) -> Checkout:
    path.mkdir(parents=True)
    git(path, "init", "--quiet", "--initial-branch=main")
    checkout = Checkout(path)
    if files is not None:
        checkout.commit(files, "the first")
    return checkout


def new_bare(checkout: Checkout, path: Path) -> Path:
    """A bare repository with what the checkout has, as the local forge keeps one."""
    git(checkout.path, "clone", "--quiet", "--bare", str(checkout.path), str(path))
    return path
