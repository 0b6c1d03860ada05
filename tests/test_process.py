"""Trusted commands and heartbeats."""

from __future__ import annotations

import asyncio
import os
import time
import uuid

import pytest
from temporalio.testing import ActivityEnvironment

from sdlc.errors import ConfigurationError, ServiceUnavailable
from sdlc.integrations import process
from sdlc.integrations.heartbeat import heartbeats
from tests.processes import alive, until


def sleeper() -> str:
    """A number of seconds that no other test sleeps for."""
    return f"600.{uuid.uuid4().int % 10**12:012d}"


async def test_a_command_gives_its_exit_code_and_both_streams():
    done = await process.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=10)
    assert (done.exit_code, done.stdout, done.stderr, done.dropped_bytes) == (3, b"out\n", b"err\n", 0)


async def test_a_command_reads_what_it_is_given_and_nothing_otherwise():
    assert (await process.run(["cat"], stdin=b"x" * 300_000, timeout=10)).stdout == b"x" * 300_000
    assert (await process.run(["cat"], timeout=10)).stdout == b""
    assert (await process.run(["true"], stdin=b"x" * 300_000, timeout=10)).exit_code == 0


async def test_a_command_runs_in_the_folder_and_with_the_environment_given(tmp_path):
    done = await process.run(["/bin/sh", "-c", "pwd; echo $A$HOME"], cwd=tmp_path, env={"A": "a"}, timeout=10)
    assert done.stdout.decode() == f"{tmp_path}\na\n"


async def test_output_beyond_the_limit_is_counted_and_thrown_away():
    done = await process.run(["head", "-c", "30000000", "/dev/zero"], timeout=20, max_output=1000)
    assert (len(done.stdout), done.dropped_bytes) == (1000, 29_999_000)


async def test_a_command_killed_by_a_signal_has_the_exit_code_of_a_shell():
    assert (await process.run(["sh", "-c", "kill -9 $$"], timeout=10)).exit_code == 137


async def test_a_time_out_kills_the_whole_group_and_says_what_was_running():
    seconds = sleeper()
    with pytest.raises(ServiceUnavailable, match=r"`sh -c .*` did not end within 0.3 s"):
        await process.run(["sh", "-c", f"sleep {seconds} & sleep {seconds}"], timeout=0.3)
    await until(lambda: not alive(seconds), 1)


async def test_a_command_that_ignores_sigterm_is_killed():
    seconds = sleeper()
    with pytest.raises(ServiceUnavailable):
        await process.run(["sh", "-c", f"trap '' TERM; sleep {seconds}; sleep {seconds}"], timeout=0.2)
    await until(lambda: not alive(seconds), 1)


async def test_cancelling_leaves_no_orphan():
    seconds = sleeper()
    task = asyncio.create_task(process.run(["sh", "-c", f"sleep {seconds} & sleep {seconds}"], timeout=60))
    await until(lambda: alive(seconds))
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 1.5
    await until(lambda: not alive(seconds), 1)


async def test_a_background_child_that_keeps_the_output_open_is_not_waited_for():
    seconds = sleeper()
    started = time.monotonic()
    done = await process.run(["sh", "-c", f"sleep {seconds} & echo done"], timeout=30)
    assert done.stdout == b"done\n"
    assert time.monotonic() - started < 5
    await until(lambda: not alive(seconds), 1)


async def test_a_missing_program_is_named_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigurationError, match=r"`git` was not found.*apt-get install git"):
        await process.run(["git", "status"], timeout=5)


async def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no such folder"):
        await process.run(["true"], cwd=tmp_path / "gone", timeout=5)


def test_a_description_has_no_credentials():
    assert process.describe(["git", "clone", "https://x:secret@host/a b"]) == "git clone 'https://***@host/a b'"


async def test_no_descriptor_is_leaked():
    await process.run(["true"], timeout=5)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await process.run(["true"], stdin=b"x", timeout=5)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_heartbeats_go_on_while_the_block_runs_and_not_after():
    beats: list[tuple[object, ...]] = []
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *details: beats.append(details)

    async def work() -> int:
        async with heartbeats("cloning", every=0.02):
            await asyncio.sleep(0.3)
        seen = len(beats)
        await asyncio.sleep(0.1)
        return seen

    seen = await environment.run(work)
    assert seen >= 3
    assert beats == [("cloning",)] * seen


async def test_heartbeats_do_nothing_outside_an_activity():
    async with heartbeats(every=0.01):
        await asyncio.sleep(0.05)


async def test_an_error_in_the_block_passes_through_heartbeats():
    async def work() -> None:
        async with heartbeats(every=0.01):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await ActivityEnvironment().run(work)
