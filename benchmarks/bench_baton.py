"""What handing a commit from step to step costs, in milliseconds, on a repository with a bare remote on this machine.

    python benchmarks/bench_baton.py [FILES] [PATH]

FILES is the number of files of the repository that is made for it (default 300, 3.5 MB); with PATH, that
repository is taken instead, at its HEAD and the commit before.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from sdlc.domain import Repository
from sdlc.integrations.git import inspect_origin
from sdlc.integrations.workspace import Workspaces

ROUNDS = 15


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def made_repository(folder: Path, files: int) -> Path:
    """A repository of about 12 kB a file, with 20 commits that change a few files each."""
    words = random.Random(1)  # noqa: S311
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for commit in range(20):
        for number in range(files) if commit == 0 else words.sample(range(files), 5):
            file = folder / f"package_{number % 20}" / f"module_{number}.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text("".join(f"value_{words.randrange(10**9)} = {line}\n" for line in range(600)))
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", f"commit {commit}")
    git(folder, "tag", "v1.0", "HEAD~5")
    return folder


async def timed(name: str, do: Callable[[], Awaitable[object]], rounds: int = ROUNDS) -> None:
    """Print the median, and the slowest, of some rounds."""
    taken = []
    for _round in range(rounds):
        start = time.perf_counter()
        await do()
        taken.append((time.perf_counter() - start) * 1000)
    print(f"{name:<58} {statistics.median(taken):8.1f} ms   slowest {max(taken):8.1f}")


async def plain_git(folder: Path, remote: Path, shas: list[str]) -> None:
    """The same by hand, without any of the care, to compare with on a machine of unknown speed and load."""
    by_hand = folder / "by-hand"

    async def git_async(*arguments: str, cwd: Path = by_hand) -> None:
        process = await asyncio.create_subprocess_exec(
            *("git", "-c", "user.name=bench", "-c", "user.email=bench@example.org", *arguments),
            cwd=cwd,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await process.wait()

    number = 0

    async def commit_and_push() -> None:
        nonlocal number
        number += 1
        (by_hand / "bench.txt").write_text(f"{number}\n")
        await git_async("add", "--all")
        await git_async("commit", "--quiet", "--message", "bench")
        await git_async("push", "--quiet", "origin", f"HEAD:refs/sdlc/by-hand/{number}")

    async def reset() -> None:
        shas.reverse()
        await git_async("reset", "--quiet", "--hard", shas[0])

    await timed(
        "plain git: clone", lambda: git_async("clone", "--quiet", f"file://{remote}", str(by_hand), cwd=folder), 1
    )
    await timed("plain git: reset to another commit", reset)
    await timed("plain git: add, commit and push", commit_and_push)


async def bench(folder: Path, origin: Path) -> None:
    remote = folder / "remote.git"
    git(folder, "clone", "--quiet", "--bare", str(origin), str(remote))
    head, before = git(origin, "rev-parse", "HEAD"), git(origin, "rev-parse", "HEAD~1")
    repository = Repository(url=str(remote), name="bench", base_branch="main", base_sha=before)
    workspaces = Workspaces(folder / "cache")
    shas = [before, head]

    async def hand_out() -> None:
        async with workspaces.at(repository, head):
            pass

    async def hand_out_another() -> None:
        shas.reverse()
        async with workspaces.at(repository, shas[0]):
            pass

    async def one_more_workspace() -> None:
        held = workspaces.at(repository, head)
        kept.append(held)
        await held.__aenter__()

    await plain_git(folder, remote, [before, head])
    kept: list[object] = []
    await timed("a look at the origin", lambda: inspect_origin(str(origin)))
    await timed("the first workspace: clone and all files", hand_out, rounds=1)
    await timed("one more workspace beside it: all files", one_more_workspace, rounds=3)
    for held in kept:
        await held.__aexit__(None, None, None)  # type: ignore[attr-defined]
    await timed("a workspace at the commit where it is", hand_out)
    await timed("a workspace moved to another commit", hand_out_another)
    objects = await workspaces.objects(repository)
    await timed("changed files of a commit", lambda: objects.changed_files(before, head))
    await timed("changed lines of a commit", lambda: objects.changed_lines(before, head))
    async with workspaces.at(repository, head) as workspace:
        number = 0

        async def commit() -> None:
            nonlocal number
            number += 1
            (workspace.path / "bench.txt").write_text(f"{number}\n")
            await workspace.commit("bench")

        async def publish() -> None:
            await workspace.publish(f"refs/sdlc/bench/{number}", workspace.sha)

        async def commit_and_publish() -> None:
            await commit()
            await publish()

        await timed("commit", commit)
        await timed("commit and publish", commit_and_publish)
        await timed("publish what is there already", publish)
        await timed("the sandbox's .git, first for this base", workspace.sandbox_git, rounds=1)
        await timed("the sandbox's .git, again", workspace.sandbox_git)


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        origin = Path(sys.argv[2]) if len(sys.argv) > 2 else made_repository(folder / "origin", files)
        asyncio.run(bench(folder, origin))


if __name__ == "__main__":
    main()
