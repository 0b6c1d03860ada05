"""The sandbox, by trying to get out of it and by asking too much of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdlc.config import SandboxSettings
from sdlc.errors import ConfigurationError, SandboxUnavailable
from sdlc.integrations.sandbox import (
    Bubblewrap,
    CommandResult,
    Mount,
    Unprotected,
    construction,
    open_sandbox,
    own_environment,
    plain_text,
    toolchain,
    trouble,
)
from sdlc.integrations.sandbox.output import HeadAndTail
from sdlc.integrations.sandbox.ownership import hand_over, measure
from tests.processes import alive, sleeper, until

MIB = 1024**2
PROJECT = Path(__file__).parents[1]
IS_ROOT = os.geteuid() == 0
needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed, so the sandbox itself is not tested"
)
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")

SETTINGS = SandboxSettings(
    memory_bytes=300 * MIB,
    processes=60,
    cpu_seconds=20,
    file_bytes=30 * MIB,
    disk_bytes=40 * MIB,
    output_bytes=20_000,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Below a folder that only its owner may enter, with a file of its own, as git makes it."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    folder = closed / "workspace"
    folder.mkdir()
    (folder / "README").write_text("hello\n")
    return folder


async def run(workspace: Path, script: str, *, settings: SandboxSettings = SETTINGS, **given) -> CommandResult:
    given.setdefault("timeout", 30)
    return await open_sandbox(settings).run(["bash", "-c", script], workspace=workspace, **given)


# --- the main job -------------------------------------------------------------------------


@needs_bubblewrap
async def test_a_command_reads_and_writes_its_workspace(workspace):
    result = await run(
        workspace, "pwd; cat README; echo new > made; mkdir d; chmod 700 README; touch -d 2020-01-01 README"
    )
    assert (result.exit_code, result.output, result.limit, result.sandboxed) == (0, "/work\nhello\n", None, True)
    assert (workspace / "made").read_text() == "new\n"


@needs_bubblewrap
async def test_what_the_owner_makes_anew_between_two_runs_can_be_written_too(workspace):
    await run(workspace, "echo 1 > made")
    (workspace / "made").unlink()
    (workspace / "made").write_text("2\n")
    (workspace / "deep" / "er").mkdir(parents=True)
    result = await run(workspace, "echo 3 >> made && echo 4 > deep/er/file && rm README")
    assert result.exit_code == 0, result.output
    assert (workspace / "made").read_text() == "2\n3\n"


@needs_bubblewrap
async def test_exit_codes_and_merged_output_are_those_of_a_shell(workspace):
    result = await run(workspace, "echo a; echo b >&2; echo c; exit 7")
    assert (result.exit_code, result.output, result.output_bytes) == (7, "a\nb\nc\n", 6)
    assert (await run(workspace, "kill -TERM $$")).exit_code == 143
    missing = await open_sandbox(SETTINGS).run(["no-such-program"], workspace=workspace, timeout=10)
    assert missing.exit_code == 127
    assert "no-such-program" in missing.output


@needs_bubblewrap
async def test_stdin_is_what_is_given_and_empty_otherwise(workspace):
    assert (await run(workspace, "cat", stdin=b"given")).output == "given"
    assert (await run(workspace, "cat")).output == ""


@needs_bubblewrap
async def test_the_environment_is_the_allow_list_and_what_is_given(workspace, monkeypatch):
    monkeypatch.setenv("PLANTED_TOKEN", "planted-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "planted-secret")
    result = await run(workspace, "env -0 | tr '\\0' '\\n'", env={"MINE": "a b"})
    names = {line.split("=")[0] for line in result.output.splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "HOME", "LANG", "TERM", "TMPDIR", "MINE"}
    assert "MINE=a b" in result.output
    everything = await run(workspace, "cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'")
    assert "planted-secret" not in everything.output


@needs_bubblewrap
async def test_home_and_tmp_are_writable_and_gone_afterwards(workspace):
    assert (await run(workspace, "echo x > ~/x && echo x > /tmp/x && echo x > /dev/shm/x")).exit_code == 0
    assert (await run(workspace, "cat ~/* /tmp/* /dev/shm/*")).exit_code != 0


@needs_bubblewrap
async def test_localhost_works_without_a_network(workspace):
    script = "import socket; s = socket.create_server(('localhost', 0)); socket.create_connection(s.getsockname())"
    result = await run(workspace, f'python3 -c "{script}"')
    assert result.exit_code == 0, result.output


@needs_bubblewrap
async def test_mounts_are_read_only_unless_said_otherwise(workspace, tmp_path):
    for name in ("fixed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    result = await run(
        workspace,
        f"cat {tmp_path}/fixed/file /open/file; echo x > {tmp_path}/fixed/file; echo y > /open/file",
        mounts=[Mount(tmp_path / "fixed", f"{tmp_path}/fixed"), Mount(tmp_path / "open", "/open", writable=True)],
    )
    assert result.output.startswith("fixedopen")
    assert "Read-only file system" in result.output
    assert (tmp_path / "fixed" / "file").read_text() == "fixed"
    assert (tmp_path / "open" / "file").read_text() == "y\n"


@needs_bubblewrap
async def test_a_mount_below_the_workspace_leaves_nothing_behind(workspace, tmp_path):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "a").write_text("a")
    mount = Mount(tmp_path / "modules", "/work/web/node_modules")
    assert (await run(workspace, "cat web/node_modules/a", mounts=[mount])).output == "a"
    assert [path.name for path in workspace.iterdir()] == ["README"]


@needs_bubblewrap
async def test_a_unix_socket_can_be_passed_in(workspace, tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        os.chmod(tmp_path / "s", 0o666)
        server.listen()
        script = 'python3 -c \'import socket; s=socket.socket(socket.AF_UNIX); s.connect("/run/model"); print("met")\''
        result = await run(workspace, script, mounts=[Mount(tmp_path / "s", "/run/model")])
    assert result.output == "met\n"


@needs_bubblewrap
async def test_commands_start_fast(workspace):
    sandbox = open_sandbox(SETTINGS)
    await sandbox.check()
    seconds = [(await sandbox.run(["true"], workspace=workspace, timeout=10)).seconds for _ in range(5)]
    assert min(seconds) < 0.2  # 0.03 on an idle machine


@needs_bubblewrap
async def test_many_at_once_do_not_share_a_limit(workspace):
    results = await asyncio.gather(*(run(workspace, "for i in {1..40}; do sleep 0.5 & done; wait") for _ in range(4)))
    assert [(result.exit_code, result.limit) for result in results] == [(0, None)] * 4


@needs_bubblewrap
async def test_the_tool_chain_of_the_worker_is_found_inside(workspace, tmp_path, monkeypatch):
    tools = tmp_path / "closed" / "tools" / "bin"
    tools.mkdir(parents=True)
    (tools / "greet").write_text("#!/bin/sh\necho greetings\n")
    (tools / "greet").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    found = toolchain()
    result = await run(
        workspace,
        "greet; python3 -c 'import sys, ssl; print(sys.version_info[0])'",
        mounts=found.mounts,
        env={"PATH": found.path},
    )
    assert result.output == "greetings\n3\n"
    assert not any(mount.writable for mount in found.mounts)


def test_a_home_folder_is_never_mounted_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RUSTUP_HOME", raising=False)
    for folder in (".cargo/bin", ".local/bin", ".local/lib", "bin", "lib"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".cargo/credentials.toml").write_text("planted-secret")
    monkeypatch.setenv("PATH", ":".join(str(tmp_path / name) for name in (".cargo/bin", ".local/bin", "bin")))
    sources = {mount.source for mount in toolchain().mounts}
    assert not sources & {tmp_path, tmp_path / ".cargo", tmp_path / ".local"}
    assert tmp_path / ".local/bin" in sources


@needs_bubblewrap
async def test_our_own_environment_runs_analysers_inside(workspace):
    sandbox = open_sandbox(SandboxSettings())
    mounts = own_environment()
    python = f"{sandbox.target(mounts[0])}/bin/python"
    result = await sandbox.run([python, "-m", "ruff", "--version"], workspace=workspace, timeout=60, mounts=mounts)
    assert result.output.startswith("ruff ")


# --- ways out -----------------------------------------------------------------------------

ATTEMPTS = {
    "write to the system": "echo x > /usr/bin/x",
    "write beside the workspace": "echo x > /work/../x",
    "write to the root folder": "echo x > /x",
    "write a device": "echo x > /dev/x",
    "read the shadow file": "cat /etc/shadow",
    "read a home folder": "cat /root/.bashrc /root/.ssh/* /home/*/.bashrc",
    "list the host's folders": "ls /boot /srv /mnt /media",
    "see the host's processes": "[ $(ls -d /proc/[0-9]* | wc -l) -gt 6 ]",
    "enter the first process's root": "ls /proc/1/root/boot",
    "kill a process of the host": f"kill -9 {os.getpid()}",
    "a user namespace": "unshare -U true",
    "a mount": "mount -t tmpfs none /tmp",
    "an unmount": "umount /usr",
    "remount the system": "mount -o remount,rw /usr",
    "become root": "setpriv --reuid 0 true",
    "give a file away": "touch f && chown 0 f",
    "a device node": "mknod /tmp/d b 8 0",
    "read kernel memory": "head -c 1 /dev/mem || head -c 1 /proc/kcore",
    "a kernel setting": "echo x > /proc/sys/kernel/core_pattern",
    "the magic key": "echo h > /proc/sysrq-trigger",
    "change the hosts file": "echo x >> /etc/hosts",
    "raise a limit": "ulimit -Hu 100000",
    "lift the limit by prlimit": "prlimit --nproc=unlimited true",
    "the network by address": "exec 3<>/dev/tcp/1.1.1.1/80",
    "the network by name": "getent ahosts example.com",
    "an interface other than loopback": "grep -v -e lo: -e '|' /proc/net/dev",
    "the container engine": "ls /var/run/docker.sock /run/docker.sock /run/podman",
    "a terminal": "echo x > /dev/tty",
    "the kernel log": "dmesg",
    "trace a process of the host": (
        f"python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).ptrace(16, {os.getpid()}, 0, 0) < 0)'"
    ),
    "the host's name": "hostname evil",
    "chroot": "chroot / true",
}


@needs_bubblewrap
@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_there_is_no_way_out_by(attempt, workspace):
    result = await run(workspace, ATTEMPTS[attempt])
    assert result.exit_code != 0, result.output
    assert result.limit is None


@needs_bubblewrap
async def test_a_symlink_in_the_workspace_leads_nowhere(workspace, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("planted-secret")
    (workspace / "link").symlink_to(secret)
    (workspace / "folder").symlink_to(tmp_path)
    owner = secret.stat().st_uid
    result = await run(workspace, "cat link folder/secret; echo x > link; echo x > folder/y")
    assert "planted-secret" not in result.output
    assert (secret.read_text(), secret.stat().st_uid) == ("planted-secret", owner)
    assert not (tmp_path / "y").exists()


@needs_bubblewrap
@needs_root
async def test_a_hard_link_into_the_workspace_is_not_given_away(workspace, tmp_path):
    (tmp_path / "object").write_text("shared")
    os.link(tmp_path / "object", workspace / "object")
    await run(workspace, "echo x > object; chmod 777 object")
    assert (tmp_path / "object").read_text() == "shared"
    assert (tmp_path / "object").stat().st_uid == 0


@needs_bubblewrap
@needs_root
async def test_a_set_uid_program_is_not_roots(workspace):
    await run(workspace, "cp /bin/true evil && chmod 6755 evil")
    assert (workspace / "evil").stat().st_uid != 0


@needs_bubblewrap
async def test_an_environment_variable_cannot_reach_bubblewrap_itself(workspace):
    # The dynamic linker would load it into the part that is still outside.
    (workspace / "evil.so").write_text("no library")
    result = await run(workspace, "echo $LD_PRELOAD", env={"LD_PRELOAD": f"{workspace}/evil.so"})
    assert f"{workspace}/evil.so\n" in result.output
    assert "object '" + f"{workspace}/evil.so' from LD_PRELOAD cannot be preloaded" in result.output
    assert result.output.count("cannot be preloaded") <= 2  # by prlimit and bash, which are inside


# --- limits -------------------------------------------------------------------------------


@needs_bubblewrap
async def test_a_fork_bomb_is_stopped_and_the_host_unharmed(workspace):
    before = len(os.listdir("/proc"))
    result = await run(workspace, "bomb() { bomb | bomb & }; bomb; sleep 60")
    assert result.limit == "processes"
    assert result.seconds < 20
    assert len(os.listdir("/proc")) < before + 200
    assert subprocess.run(["true"], check=False).returncode == 0


@needs_bubblewrap
async def test_memory_of_all_processes_together_is_bounded(workspace):
    script = "for i in 1 2 3 4 5 6; do python3 -c 'x=b\"x\"*80_000_000; import time; time.sleep(60)' & done; wait"
    assert (await run(workspace, script)).limit == "memory"


@needs_bubblewrap
async def test_memory_that_is_shared_counts_once(workspace):
    hold = "import os, time\nx = b'x' * 80_000_000\nfor i in range(6): os.fork() or (time.sleep(1), os._exit(0))"
    script = f'python3 -c "{hold}"'
    result = await run(workspace, script)
    assert (result.exit_code, result.limit) == (0, None), result.output


@needs_bubblewrap
async def test_one_huge_allocation_fails_at_once(workspace):
    result = await run(workspace, "python3 -c 'bytearray(2 * 1024**3)'")
    assert result.exit_code != 0
    assert "MemoryError" in result.output


@needs_bubblewrap
async def test_temporary_folders_are_bounded(workspace):
    result = await run(workspace, "for d in /tmp ~ /dev/shm; do head -c 400M /dev/zero | split -b 20M - $d/x; done; df")
    assert "No space left on device" in result.output


@needs_bubblewrap
async def test_cpu_time_of_all_processes_together_is_bounded(workspace):
    settings = SETTINGS.model_copy(update={"cpu_seconds": 1})
    result = await run(workspace, "while :; do :; done & while :; do :; done", settings=settings)
    assert result.limit == "cpu"


@needs_bubblewrap
@pytest.mark.parametrize(
    "script",
    {
        "large files": "i=0; while :; do head -c 5M /dev/zero > f$i; i=$((i+1)); sleep 0.02; done",
        "empty files": "python3 -c 'for i in range(7_000): open(str(i), \"w\").close()'; sleep 60",
        "deleted files": "for i in 1 2 3; do exec {fd}> x; rm x; head -c 25M /dev/zero >&$fd; done; sleep 60",
        "and gone": "for i in 1 2 3 4; do head -c 20M /dev/zero > f$i; done",
    }.values(),
    ids=["large", "empty", "deleted", "quick"],
)
async def test_growth_of_the_workspace_is_bounded(workspace, script):
    settings = SETTINGS.model_copy(update={"disk_bytes": 5 * MIB})
    result = await run(workspace, script, settings=settings, timeout=50)
    assert result.limit == "disk"


@needs_bubblewrap
async def test_a_workspace_that_was_large_already_is_not_held_against_a_command(workspace):
    (workspace / "large").write_bytes(b"x" * 60 * MIB)
    result = await run(workspace, "head -c 5M /dev/zero > small; sleep 0.5")
    assert (result.exit_code, result.limit) == (0, None)


@needs_bubblewrap
@pytest.mark.parametrize(
    "script", ["dd if=/dev/zero of=big bs=1M count=50", 'python3 -c \'open("big", "wb").write(bytes(50_000_000))\'']
)
async def test_one_file_is_bounded(workspace, script):
    result = await run(workspace, script)
    assert result.exit_code != 0
    assert result.limit == "file"
    assert (workspace / "big").stat().st_size <= SETTINGS.file_bytes


@needs_bubblewrap
async def test_a_flood_of_output_is_cut_in_the_middle_and_does_not_fill_our_memory(workspace):
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    result = await run(workspace, "echo first; head -c 200000000 /dev/zero | tr '\\0' x; echo; echo last")
    assert (result.exit_code, result.limit, result.output_bytes) == (0, None, 200_000_012)
    assert result.output.startswith("first\n")
    assert result.output.endswith("last\n")
    assert "bytes cut" in result.output
    assert len(result.output) < 21_000
    assert resident() - before < 60 * MIB


@needs_bubblewrap
async def test_output_without_end_is_stopped(workspace, monkeypatch):
    monkeypatch.setattr("sdlc.integrations.sandbox.bubblewrap.LONGEST_OUTPUT", 50 * MIB)
    assert (await run(workspace, "yes")).limit == "output"


@needs_bubblewrap
async def test_a_hanging_command_is_killed_with_all_that_it_started(workspace):
    seconds = sleeper()
    script = (
        f"setsid -f sleep {seconds}; (sleep {seconds} &); nohup sleep {seconds} & trap '' TERM INT; sleep {seconds}"
    )
    result = await run(workspace, script, timeout=0.7)
    assert (result.timed_out, result.limit, result.exit_code) == (True, "time", 137)
    assert result.seconds < 5
    assert not alive(seconds)


@needs_bubblewrap
async def test_strays_die_with_a_command_that_ended_well(workspace):
    seconds = sleeper()
    result = await run(workspace, f"setsid -f sleep {seconds} >/dev/null 2>&1; setsid -f sleep {seconds}; echo done")
    assert (result.exit_code, result.output) == (0, "done\n")
    assert not alive(seconds)


@needs_bubblewrap
async def test_cancelling_kills_everything_at_once(workspace):
    seconds = sleeper()
    task = asyncio.create_task(run(workspace, f"setsid -f sleep {seconds}; sleep {seconds}", timeout=60))
    await until(lambda: alive(seconds))
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 20  # it would run for 60
    # Killed they are; the kernel may take a moment to have them gone from the list.
    await until(lambda: not alive(seconds))


@needs_bubblewrap
@pytest.mark.parametrize("delay", [0.0, 0.003, 0.006, 0.01, 0.02, 0.04])
async def test_cancelling_while_it_starts_leaves_nothing(workspace, delay):
    sandbox = open_sandbox(SETTINGS)
    await sandbox.check()
    seconds = sleeper()
    task = asyncio.create_task(sandbox.run(["sleep", seconds], workspace=workspace, timeout=60))
    await asyncio.sleep(delay)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not alive(seconds))


@needs_bubblewrap
@pytest.mark.parametrize("user", [os.geteuid(), pytest.param(65534, marks=needs_root)])
async def test_a_killed_worker_takes_its_sandboxes_along(user):
    seconds = sleeper()
    script = textwrap.dedent(f"""
        import asyncio, concurrent.futures.thread, json, os, pathlib, sys, tempfile
        from sdlc.config import SandboxSettings
        from sdlc.integrations.sandbox import open_sandbox
        if os.geteuid() != {user}:
            os.setgroups([]); os.setresgid({user}, {user}, {user}); os.setresuid({user}, {user}, {user})
        workspace = pathlib.Path(tempfile.mkdtemp())
        script = "setsid -f sleep {seconds}; sleep {seconds}"
        asyncio.run(open_sandbox(SandboxSettings()).run(["bash", "-c", script], workspace=workspace, timeout=60))
    """)
    worker = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(PROJECT)})
    try:
        await until(lambda: _sleeping(seconds))
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait(10)
    await until(lambda: not alive(seconds), 5)


def _sleeping(seconds: str) -> bool:
    """The sleep itself is there, not only those who will start it."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes() == f"sleep\0{seconds}\0".encode():
                return True
    return False


@needs_bubblewrap
async def test_no_descriptor_is_leaked_to_us_or_to_the_command(workspace):
    result = await run(workspace, "ls /proc/self/fd", timeout=10)
    assert result.output.split() == ["0", "1", "2", "3"]  # 3 is the folder that ls reads
    sandbox = open_sandbox(SETTINGS)
    await sandbox.check()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await sandbox.run(["true"], workspace=workspace, timeout=10)
    assert len(os.listdir("/proc/self/fd")) == before


# --- another user, no sandbox, bad input --------------------------------------------------


@needs_bubblewrap
@needs_root
def test_it_works_for_an_unprivileged_user(tmp_path):
    script = textwrap.dedent("""
        import asyncio, concurrent.futures.thread, json, os, pathlib, sys, tempfile
        from sdlc.config import SandboxSettings
        from sdlc.integrations.sandbox import open_sandbox
        os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
        hold = "python3 -c 'import time; x = bytearray(80_000_000); time.sleep(60)'"
        settings = SandboxSettings(processes=40, memory_bytes=300_000_000, disk_bytes=40_000_000, file_bytes=30_000_000)
        sandbox = open_sandbox(settings)
        async def main():
            with tempfile.TemporaryDirectory() as folder:
                async def run(script):
                    result = await sandbox.run(["bash", "-c", script], workspace=pathlib.Path(folder), timeout=20)
                    return [result.exit_code, result.limit, result.output]
                return [
                    await run("echo x > made; id -u; echo $PLANTED; cat made"),
                    await run("bomb() { bomb | bomb & }; bomb; sleep 60"),
                    await run(f"for i in 1 2 3 4 5 6; do {hold} & done; wait"),
                    await run("sleep 0.3; for i in 1 2 3; do head -c 20M /dev/zero > f$i; done; sleep 60"),
                    await run("exec 3<>/dev/tcp/127.0.0.1/1"),
                ]
        print(json.dumps(asyncio.run(main())))
    """)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=100,
        env={"PLANTED": "planted-secret", "PYTHONPATH": str(PROJECT)},
    )
    assert done.returncode == 0, done.stderr
    plain, bomb, memory, disk, network = json.loads(done.stdout)
    assert plain == [0, None, "1000\n\nx\n"]
    assert bomb[1] == "processes"
    assert memory[1] == "memory"
    assert disk[1] == "disk"
    assert network[0] != 0


async def test_without_bubblewrap_nothing_runs_and_the_mend_is_named(workspace, monkeypatch):
    monkeypatch.setattr("sdlc.integrations.sandbox.trouble.PATH", "/nonexistent")
    sandbox = Bubblewrap(SETTINGS)
    for attempt in (sandbox.check(), sandbox.run(["touch", "made"], workspace=workspace, timeout=5)):
        with pytest.raises(SandboxUnavailable, match=r"apt-get install bubblewrap.*sandbox.kind: none"):
            await attempt
    assert not (workspace / "made").exists()


async def test_an_old_bubblewrap_is_refused(tmp_path, monkeypatch):
    for name in ("bwrap", "prlimit", "setpriv"):
        (tmp_path / name).write_text("#!/bin/sh\necho bubblewrap 0.4.1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr("sdlc.integrations.sandbox.trouble.PATH", str(tmp_path))
    with pytest.raises(SandboxUnavailable, match=r"0\.8 or newer is needed.*0\.4"):
        await Bubblewrap(SETTINGS).check()


def test_a_kernel_that_forbids_namespaces_is_explained():
    said = "bwrap: No permissions to create new namespace, likely because the kernel does not allow it"
    assert "unprivileged_userns_clone" in str(trouble.explain(said, "/work"))


@needs_bubblewrap
async def test_what_cannot_be_mounted_is_refused_with_its_name(workspace, tmp_path):
    with pytest.raises(ConfigurationError, match="isn't there"):
        await run(workspace, "true", mounts=[Mount(tmp_path / "gone", "/gone")])
    with pytest.raises(ConfigurationError, match="absolute path"):
        await run(workspace, "true", mounts=[Mount(tmp_path, "/usr/../x")])
    with pytest.raises(ConfigurationError, match="isn't there"):
        await run(tmp_path / "gone", "true")
    with pytest.raises(ConfigurationError, match="/work/gone"):
        await run(workspace, "true", cwd="/work/gone")


NONE = SandboxSettings(kind="none", output_bytes=20_000)


async def test_none_runs_in_the_workspace_itself_with_the_allow_list(workspace, monkeypatch):
    monkeypatch.setenv("PLANTED_TOKEN", "planted-secret")
    sandbox = open_sandbox(NONE)
    assert isinstance(sandbox, Unprotected)
    result = await run(workspace, "pwd; env; echo x > ~/x", settings=NONE, env={"MINE": "1"}, cwd="/work")
    assert result.output.startswith(f"{workspace}\n")
    assert "MINE=1" in result.output
    assert "planted-secret" not in result.output
    assert (result.exit_code, result.sandboxed) == (0, False)
    assert sandbox.inside(workspace) == str(workspace)
    assert sandbox.target(Mount(workspace, "/elsewhere")) == str(workspace)


async def test_none_kills_the_group_at_the_time_limit_and_on_cancellation(workspace):
    seconds = sleeper()
    result = await run(workspace, f"sleep {seconds} & sleep {seconds}", settings=NONE, timeout=0.3)
    assert (result.timed_out, result.limit) == (True, "time")
    await until(lambda: not alive(seconds), 1)
    task = asyncio.create_task(run(workspace, f"sleep {seconds} & sleep {seconds}", settings=NONE))
    await until(lambda: alive(seconds))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not alive(seconds), 1)


async def test_none_says_when_a_program_is_missing(workspace):
    result = await open_sandbox(NONE).run(["no-such-program"], workspace=workspace, timeout=5)
    assert result.exit_code == 127
    assert "no-such-program" in result.output


# --- the parts ----------------------------------------------------------------------------


def test_plain_text_is_free_of_terminal_tricks():
    data = b"\x1b[31mred\x1b[0m\0 \x1b]0;title\x07ok\r\n50%\r100%\n\xff\xfe "
    data += b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x9b2Jend"
    assert plain_text(data) == "red ok\n50%\n100%\n\ufffd\ufffd link \ufffd2Jend"
    assert plain_text("caf\u00e9 \u009b2J\tx".encode()) == "caf\u00e9 \tx"


@given(st.binary(max_size=300))
def test_plain_text_has_no_control_characters_whatever_comes(data):
    assert all(
        character in "\n\t" or not (ord(character) < 32 or 127 <= ord(character) < 160)
        for character in plain_text(data)
    )


def test_plain_text_takes_time_in_proportion():
    started = time.monotonic()
    plain_text(b"\x1b]" * 1_000_000)
    plain_text(b"\x1b[" + b"0;" * 1_000_000)
    assert time.monotonic() - started < 5


@given(st.lists(st.binary(max_size=50), max_size=40), st.integers(2, 60))
def test_head_and_tail_keep_both_ends_and_count_all(chunks, limit):
    kept = HeadAndTail(limit)
    for chunk in chunks:
        kept.feed(b"".join(bytes([65 + byte % 26]) for byte in chunk))
    whole = b"".join(bytes([65 + byte % 26]) for chunk in chunks for byte in chunk).decode()
    half = limit // 2
    assert kept.total == len(whole)
    if len(whole) <= 2 * half:
        assert kept.text() == whole
    else:
        assert kept.text().startswith(whole[:half])
        assert kept.text().endswith(whole[-half:])


def test_a_tree_is_measured_without_following_links_or_counting_twice(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "loop").symlink_to(tmp_path)
    size = measure(tmp_path)
    assert 100_000 <= size.bytes < 130_000
    assert size.largest == 100_000
    assert size.complete


def test_a_tree_too_deep_is_said_to_be_incomplete(tmp_path):
    script = "import os\nfor i in range(1500): os.mkdir('d'); os.chdir('d')"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=30)
    try:
        assert not measure(tmp_path).complete
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True, timeout=30)


@needs_root
def test_handing_over_is_safe_while_somebody_swaps_folders_for_links(tmp_path):
    tree, target = tmp_path / "tree", tmp_path / "target"
    tree.mkdir()
    target.mkdir()
    (target / "file").write_text("x")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                (tree / "d").mkdir()
                (tree / "d" / "file").write_text("y")
                (tree / "d").rename(tree / "old")
                (tree / "d").symlink_to(target)
                (tree / "d").unlink()
                shutil.rmtree(tree / "old")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(300):
            hand_over(tree)
    finally:
        stop.set()
        thread.join()
    assert (target / "file").stat().st_uid == 0
    assert target.stat().st_uid == 0


def test_the_inner_arguments_hold_the_environment_and_no_command_line_does():
    plan = construction.Plan(("true",), Path("/w"), (), {"KEY": "value"}, cwd="/work")
    line = construction.command_line(
        plan,
        SETTINGS,
        arguments_fd=9,
        status_fd=8,
        as_root=True,
        programs={"bwrap": "/b", "prlimit": "/p", "setpriv": "/s"},
    )
    inner = construction.arguments(plan, SETTINGS, status_fd=8, file_fds={}, as_root=True)
    assert not any("value" in part for part in line)
    assert b"KEY\0value\0" in inner
