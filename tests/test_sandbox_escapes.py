"""Getting out of the sandbox, tried: each way with what it is answered, and the host looked over after it.

Everything that could be got at is really there: servers, files, keys and processes of the host, each with a secret
or a log. `test_what_is_guarded_can_be_had_without_a_sandbox` shows that the attempts themselves work.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import platform
import shutil
import socket
import stat
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sdlc.config import SandboxSettings
from sdlc.domain import Repository
from sdlc.errors import GuardRailViolation
from sdlc.integrations.sandbox import CommandResult, Service, open_sandbox, seccomp
from sdlc.integrations.workspace import Workspace, Workspaces
from tests.processes import alive, sleeper
from tests.repositories import git, new_bare, new_checkout

MIB = 1024**2
SECRET = "planted-secret"
MACHINES = ("x86_64", "aarch64")
pytestmark = [
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed, so nothing can be shown"),
    pytest.mark.skipif(platform.machine() not in MACHINES, reason="the numbers of system calls are not known here"),
]

SETTINGS = SandboxSettings(
    memory_bytes=300 * MIB,
    processes=60,
    cpu_seconds=20,
    file_bytes=30 * MIB,
    disk_bytes=40 * MIB,
    output_bytes=20_000,
)
ESCAPE = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
X86 = os.uname().machine == "x86_64"
def call(number, *given):
    result = libc.syscall(ctypes.c_long(number), *(g if isinstance(g, bytes) else ctypes.c_long(g) for g in given))
    print(result if result >= 0 else os.strerror(ctypes.get_errno()))
    return result
def ask(port, text):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(text.encode() + b"\\r\\n\\r\\n")
        print(s.recv(1000).decode())
"""
"""`escape.py` in the workspace: a system call by its number, and a request to a server of one's own loopback."""


@dataclass
class Host:
    """What a command might get at."""

    port: int
    udp_port: int
    reached: list[str] = field(default_factory=list)
    """By whom the servers were reached."""
    files: dict[str, Path] = field(default_factory=dict)
    abstract: str = ""
    udp: socket.socket | None = None

    def script(self, text: str) -> str:
        column = MACHINES.index(platform.machine())
        numbers = {name: each[column] for name, each in {**seccomp.DENIED, **seccomp.INSPECTED}.items()}
        for name, value in {**numbers, **self.files}.items():
            text = text.replace(f"@{name}@", str(value))
        text = text.replace("@port@", str(self.port)).replace("@udp@", str(self.udp_port))
        text = text.replace("@abstract@", self.abstract).replace("@pid@", str(os.getpid()))
        assert "@" not in text.replace("@example", "").replace('"$@"', ""), text
        return text

    def assert_unharmed(self) -> None:
        assert self.reached == []
        assert self.udp is not None
        with pytest.raises(BlockingIOError):
            self.udp.recv(100)
        for name in ("ssh", "other", "artifact"):
            found = self.files[name].stat()
            assert self.files[name].read_text() == SECRET, name
            assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o644, os.geteuid()), name
        for name in ("ssh", "other", "artifact"):
            assert [path.name for path in self.files[name].parent.iterdir()] == [self.files[name].name]
        for path in ("/usr/bin/escaped", "/etc/escaped", "/env/escaped", "/escaped"):
            assert not os.path.lexists(path)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """With servers at all of its doors, files of the worker, and a secret in each of them."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLANTED_TOKEN", SECRET)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("", 0))
        udp.setblocking(False)
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(tmp_path / "socket"))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0sdlc-{os.getpid()}-{id(tmp_path)}")
        found = Host(tcp.getsockname()[1], udp.getsockname()[1], udp=udp)
        found.abstract = abstract.getsockname()[1:].decode()
        found.files = {
            "home": tmp_path / "home",
            "ssh": tmp_path / "home/.ssh/id_ed25519",
            "other": tmp_path / "cache/workspaces/other/tree/secret",
            "artifact": tmp_path / "data/artifacts/run-1/report.md",
            "socket": tmp_path / "socket",
        }
        for name in ("ssh", "other", "artifact"):
            found.files[name].parent.mkdir(parents=True)
            found.files[name].write_text(SECRET)
            found.files[name].chmod(0o644)
        os.chmod(tmp_path / "socket", 0o777)
        for server in (unix, abstract):
            server.listen()
        ending = threading.Event()
        threads = [
            threading.Thread(target=_serve, args=(server, name, found.reached, ending))
            for name, server in {"tcp": tcp, "unix": unix, "abstract": abstract}.items()
        ]
        for thread in threads:
            thread.start()
        yield found
        ending.set()
        for thread in threads:
            thread.join(10)


def _serve(server: socket.socket, name: str, reached: list[str], ending: threading.Event) -> None:
    server.settimeout(0.05)
    while not ending.is_set():
        with contextlib.suppress(TimeoutError):
            connection, _address = server.accept()
            with connection:
                reached.append(name)
                connection.sendall(SECRET.encode())


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "cache/workspaces/mine/tree"
    folder.mkdir(parents=True)
    (folder / "escape.py").write_text(ESCAPE)
    return folder


async def run(workspace: Path, script: str, *, settings: SandboxSettings = SETTINGS, **given: object) -> CommandResult:
    given.setdefault("timeout", 40)
    return await open_sandbox(settings).run(["bash", "-c", script], workspace=workspace, **given)  # type: ignore[arg-type]


def python(code: str) -> str:
    return f"python3 -c 'from escape import *\n{code}'"


NETWORK = {
    "a connection to a server on the loopback of the host": (
        "cat < /dev/tcp/127.0.0.1/@port@",
        "Connection refused",
    ),
    "a connection to a public address": ("cat < /dev/tcp/1.1.1.1/443", "Network is unreachable"),
    "a connection to a private address": ("cat < /dev/tcp/10.0.0.1/80", "Network is unreachable"),
    "a connection to the metadata of a cloud": ("cat < /dev/tcp/169.254.169.254/80", "Network is unreachable"),
    "a look at all ports of the host": (
        python(
            "def is_open(port):\n"
            "    with socket.socket() as s:\n"
            '        return s.connect_ex(("127.0.0.1", port)) == 0 and s.getsockname() != s.getpeername()\n'
            'print([port for port in range(1, 65536) if is_open(port)], "are open")'
        ),
        "[] are open",
    ),
    "a question to a name server": (
        python('socket.gethostbyname("example.com")'),
        "Name or service not known",
    ),
    "a packet to a server of the host": (
        python('socket.socket(2, 2).sendto(b"x", ("127.0.0.1", @udp@)); print("sent to itself")'),
        "sent to itself",
    ),
    "a packet to a public name server": (
        python('socket.socket(2, 2).sendto(b"x", ("8.8.8.8", 53))'),
        "Network is unreachable",
    ),
    "a connection by IPv6": (
        python('socket.create_connection(("2606:4700:4700::1111", 443), 5)'),
        "Network is unreachable",
    ),
    "a connection to the host by IPv6's loopback": (
        python('socket.create_connection(("::1", @port@), 5)'),
        "Connection refused",
    ),
    "a nameless unix socket of the host": (
        python('s = socket.socket(1); s.connect("\\0@abstract@"); print(s.recv(99))'),
        "Connection refused",
    ),
    "a unix socket of the host by its path": (
        python('s = socket.socket(1); s.connect("@socket@"); print(s.recv(99))'),
        "No such file or directory",
    ),
    "an echo request from a raw socket": (python("socket.socket(2, 3, 1)"), "Operation not permitted"),
    "frames from a packet socket": (python("socket.socket(17, 3)"), "Address family not supported"),
    "the hypervisor by a virtual machine's socket": (
        python("socket.socket(40, 1).connect((2, 1024))"),
        "Address family not supported",
    ),
    "a socket made by io_uring, past the filter": (
        python("call(@io_uring_setup@, 8, ctypes.addressof(ctypes.create_string_buffer(200)))"),
        "Operation not permitted",
    ),
    "the host's network through the namespace of the worker": ("nsenter -t @pid@ -n true", "No such file"),
    "a new network interface": ("ip link add dummy0 type dummy", "Operation not permitted"),
}

PROXY = {
    "a tunnel to the metadata of a cloud": (
        python('ask(3128, "CONNECT 169.254.169.254:80 HTTP/1.1")'),
        "403 The sandbox leads outside only: 169.254.169.254 is private or this machine's own",
    ),
    "a page of the metadata of a cloud": (
        python('ask(3128, "GET http://169.254.169.254/latest/meta-data/ HTTP/1.1")'),
        "403 The sandbox leads outside only",
    ),
    "a tunnel to a private address": (
        python('ask(3128, "CONNECT 10.0.0.1:443 HTTP/1.1")'),
        "403 The sandbox leads outside only",
    ),
    "a tunnel to the host": (
        python('ask(3128, "CONNECT 127.0.0.1:@port@ HTTP/1.1")'),
        "403 The sandbox leads outside only",
    ),
    "a tunnel to the host by IPv4 in IPv6": (
        python('ask(3128, "CONNECT [::ffff:127.0.0.1]:@port@ HTTP/1.1")'),
        "403 The sandbox leads outside only",
    ),
    "a connection beside the proxy": ("cat < /dev/tcp/1.1.1.1/443", "Network is unreachable"),
}

SERVICE = {
    "the service as a proxy to the host": (
        python('ask(3128, "CONNECT 127.0.0.1:@port@ HTTP/1.1")'),
        "the service, asked for CONNECT 127.0.0.1",
    ),
    "another port beside the service": ("cat < /dev/tcp/127.0.0.1/@port@", "Connection refused"),
    "the network beside the service": ("cat < /dev/tcp/1.1.1.1/443", "Network is unreachable"),
}

FILES = {
    "reading the host's passwords": ("cat /etc/shadow", "No such file or directory"),
    "reading a key of the worker": ("cat @ssh@", "No such file or directory"),
    "reading root's home": ("ls -a /root", "No such file or directory"),
    "reading the workspace of another run": ("cat @other@", "No such file or directory"),
    "reading another run's workspace by ..": (
        "cd /work; cat ../../other/tree/secret ../other/tree/secret",
        "No such file or directory",
    ),
    "reading the artifact folder": ("cat @artifact@", "No such file or directory"),
    "reading through a symlink": ("ln -s @ssh@ link; cat link", "No such file or directory"),
    "writing through a symlink": ("ln -s @home@ link; echo x > link/escaped", "No such file or directory"),
    "a hard link to a file of the host": ("ln @ssh@ link", "No such file or directory"),
    "a hard link to a file of the system": ("ln /usr/bin/bash link", "Invalid cross-device link"),
    "writing to /usr": ("echo x > /usr/bin/escaped", "Read-only file system"),
    "writing to /etc": ("echo x > /etc/escaped", "Read-only file system"),
    "writing to /env": ("mkdir -p /env; echo x > /env/escaped", "Read-only file system"),
    "writing beside the workspace": ("echo x > /work/../escaped", "Read-only file system"),
    "mounting the system anew, writable": ("mount -o remount,rw /usr", "must be superuser"),
    "mounting by a bare system call": (
        python('call(@mount@, b"/", b"/work", b"none", 4096, 0)'),
        "Operation not permitted",
    ),
    "a mount by file descriptor": (python('call(@open_tree@, -100, b"/", 1)'), "Operation not permitted"),
    "a device node of a disk": ("mknod /tmp/disk b 8 0", "Operation not permitted"),
    "a disk of the host": ("head -c 1 /dev/sda /dev/vda /dev/nvme0n1", "No such file or directory"),
    "the memory of the machine": ("head -c 1 /dev/mem /dev/kmem /dev/port", "No such file or directory"),
    "the log of the kernel": ("cat /dev/kmsg; dmesg", "Operation not permitted"),
    "the root of the host through the first process": ("cat /proc/1/root@ssh@", "No such file or directory"),
    "the environment of the worker": ("cat /proc/@pid@/environ", "No such file or directory"),
    "the memory of the worker": ("head -c 1 /proc/@pid@/mem", "No such file or directory"),
    "the root of the worker": ("ls /proc/@pid@/root/", "No such file or directory"),
    "a setting of the kernel": ("echo x > /proc/sys/kernel/hostname", "Permission denied"),
    "a program for the kernel to run at a crash": (
        "echo '|/work/x' > /proc/sys/kernel/core_pattern",
        "Permission denied",
    ),
    "the magic key": ("echo b > /proc/sysrq-trigger", "No such file or directory"),
    "the devices of the kernel": ("ls /sys", "No such file or directory"),
    "a file by its handle": (
        python("call(@open_by_handle_at@, 3, ctypes.addressof(ctypes.create_string_buffer(200)), 0)"),
        "Operation not permitted",
    ),
    "a folder of the host by an open descriptor": (
        "ls -l /proc/self/fd | grep -vE ' (0|1|2|3) ->' | grep -e '->' || echo no more",
        "no more",
    ),
}

ENVIRONMENT = {
    "its own environment": ("env; echo that was all", "that was all"),
    "the environment of any process": ("cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'; echo done", "done"),
    "a key of the session of the worker": (
        python('n = call(@request_key@, b"user", b"sdlc-planted", 0, 0)'),
        "Operation not permitted",
    ),
    "all keys of the worker's session": (python("call(@keyctl@, 11, -3, 0, 0)"), "Operation not permitted"),
}

PROCESSES = {
    "killing the worker": ("kill -9 @pid@", "No such process"),
    "killing everything": ("trap '' TERM; kill -TERM -1; echo nobody else", "nobody else"),
    "tracing the worker": (python("call(101 if X86 else 117, 16, @pid@, 0, 0)"), "No such process"),
    "reading the worker's memory": (
        python(
            "b = (ctypes.c_size_t * 2)(); b[0], b[1], n = ctypes.addressof(b), 8, 310 if X86 else 270\n"
            "call(n, @pid@, ctypes.addressof(b), 1, ctypes.addressof(b), 1, 0)"
        ),
        "No such process",
    ),
    "seeing the processes of the host": ("ls -d /proc/[0-9]* | wc -l | sed s/^[1-9]$/few/", "few"),
    "a user namespace": ("unshare --user true", "Operation not permitted"),
    "a user namespace by clone": (python("call(@clone@, 0x10000011, 0, 0, 0, 0)"), "Operation not permitted"),
    "a user namespace by clone3": (
        python("call(@clone3@, ctypes.addressof(ctypes.create_string_buffer(88)), 88)"),
        "Function not implemented",
    ),
    "a setuid program of the system": (
        "for p in su mount; do stat -c %A /usr/bin/$p; done; grep NoNewPrivs /proc/self/status; su -c id 2>&1; true",
        "NoNewPrivs:\t1",
    ),
    "a setuid program of its own": (
        "cp /usr/bin/id own; chmod 4755 own; ./own -u",
        "1000",
    ),
    "a capability": ("grep CapBnd /proc/self/status", "0000000000000000"),
    "a user's change to root": ("setpriv --reuid 0 true", "setresuid failed"),
    "another root folder": ("chroot / true", "Operation not permitted"),
    "turning the roots around": (python('call(@pivot_root@, b"/work", b"/work")'), "Operation not permitted"),
    "typing into the terminal of the worker": (
        python('call(@ioctl@, 0, 0x5412, ctypes.addressof(ctypes.create_string_buffer(b"x")))'),
        "Operation not permitted",
    ),
    "more weight than the host's processes": ("nice -n -10 true", "Permission denied"),
    "never to be killed when memory is short": ("echo -1000 > /proc/self/oom_score_adj", "Permission denied"),
    "a higher limit": ("ulimit -Hu 100000", "Operation not permitted"),
    "a program in the kernel": (python("call(@bpf@, 0, 0, 0)"), "Operation not permitted"),
    "counters of the whole machine": (python("call(@perf_event_open@, 0, -1, 0, -1, 0)"), "Operation not permitted"),
    "a module of the kernel": (python('call(@init_module@, 0, 0, b"")'), "Operation not permitted"),
    "the clock of the machine": ("date -s 2000-01-01", "Operation not permitted"),
    "an end of the machine": (python("call(@reboot@, 0xfee1dead, 672274793, 0x1234567, 0)"), "Operation not permitted"),
}
ALL = {**NETWORK, **FILES, **ENVIRONMENT, **PROCESSES}


@pytest.mark.parametrize("attempt", ALL)
async def test_there_is_no_way_to(attempt: str, workspace: Path, host: Host) -> None:
    script, answer = ALL[attempt]
    with planted_key():
        result = await run(workspace, host.script(script))
    assert answer in result.output, result.output
    assert SECRET not in result.output
    assert (result.limit, result.sandboxed) == (None, True)
    host.assert_unharmed()


@pytest.mark.parametrize("attempt", PROXY)
async def test_the_way_out_is_no_way_to(attempt: str, workspace: Path, host: Host) -> None:
    script, answer = PROXY[attempt]
    result = await run(workspace, host.script(script), network=True)
    assert answer in result.output, result.output
    host.assert_unharmed()


@pytest.mark.parametrize("attempt", SERVICE)
async def test_a_service_is_no_way_to(attempt: str, workspace: Path, host: Host) -> None:
    script, answer = SERVICE[attempt]
    result = await run(workspace, host.script(script), service=Service(echo_service, 3128))
    assert answer in result.output, result.output
    host.assert_unharmed()


async def echo_service(listener: socket.socket) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        writer.write(b"the service, asked for " + line)
        writer.close()

    async with await asyncio.start_server(answer, sock=listener) as server:
        await server.serve_forever()


@contextlib.contextmanager
def planted_key() -> Iterator[None]:
    """A key in a session of ours, as those of Kerberos and of encrypted folders are kept; gone with the process."""
    libc = ctypes.CDLL(None, use_errno=True)
    column = MACHINES.index(platform.machine())
    libc.syscall(
        seccomp.DENIED["add_key"][column], b"user", b"sdlc-planted", SECRET.encode(), len(SECRET), ctypes.c_long(-3)
    )
    yield


CONTROL = (
    "a connection to a server on the loopback of the host",
    "a nameless unix socket of the host",
    "a unix socket of the host by its path",
    "reading a key of the worker",
    "reading the workspace of another run",
    "reading the artifact folder",
    "reading through a symlink",
)


@pytest.mark.parametrize("attempt", CONTROL)
async def test_what_is_guarded_can_be_had_without_a_sandbox(attempt: str, workspace: Path, host: Host) -> None:
    without = SETTINGS.model_copy(update={"kind": "none"})
    result = await run(workspace, host.script(ALL[attempt][0]), settings=without)
    assert SECRET in result.output, result.output


# --- what is left behind ------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        "setsid -f sleep @s@ >/dev/null 2>&1; echo done",
        'python3 -c \'import os; os.fork() or os.setsid() and os.fork() or os.execlp("sleep", "sleep", "@s@")\'',
        "nohup sh -c 'trap \"\" HUP TERM INT; sleep @s@ & wait' & disown -a; echo done",
    ],
    ids=["a session of its own", "a double fork", "deaf to signals"],
)
async def test_no_daemon_outlives_its_command_by(script: str, workspace: Path) -> None:
    seconds = sleeper()
    result = await run(workspace, script.replace("@s@", seconds))
    assert (result.exit_code, result.limit) == (0, None), result.output
    assert not alive(seconds)


LIMITS = {
    "a fork bomb": ("bomb() { bomb | bomb & }; bomb; sleep 60", "processes", "Resource temporarily unavailable"),
    "threads without end": (
        "import threading, time\nthreading.stack_size(2**18)\n"
        "while True: threading.Thread(target=time.sleep, args=(60,)).start()",
        "processes",
        "",
    ),
    "memory of one process": ("bytearray(2 * 1024**3)", None, "MemoryError"),
    "memory of many processes": (
        "import os, time\nfor i in range(6): os.fork() or (bytearray(80_000_000), time.sleep(60))\ntime.sleep(60)",
        "memory",
        "",
    ),
    "memory in files that have no name": (
        "import os, time\n"
        "for i in range(20): f = os.memfd_create('x'); os.posix_fallocate(f, 0, 30_000_000)\n"
        "time.sleep(60)",
        "memory",
        "",
    ),
    "System V shared memory": (
        "from escape import *\nfor i in range(9): call(@shmget@, 0, 90_000_000, 0o1600)\nsys.exit(1)",
        None,
        "No space left on device",
    ),
    "empty files in a temporary folder": (
        "import os, itertools\nfor i in itertools.count(): os.mknod(f'/tmp/{i}')",
        "memory",
        "",
    ),
    "a full temporary folder": (
        "for i in range(9): open(f'/tmp/{i}', 'wb').write(bytes(30_000_000))",
        None,
        "No space left",
    ),
    "a full shared folder": (
        "for i in range(12): open(f'/dev/shm/{i}', 'wb').write(bytes(30_000_000))",
        None,
        "No space left",
    ),
    "a full root folder": ("open('/x', 'w')", None, "Read-only file system"),
    "one file": ("open('big', 'wb').write(bytes(32_000_000))", "file", "File too large"),
    "the whole disk": (
        "import time\nfor i in range(9): open(str(i), 'wb').write(bytes(20_000_000)); time.sleep(0.3)\ntime.sleep(60)",
        "disk",
        "",
    ),
    "all entries of the disk": (
        "import os, itertools\nfor i in itertools.count(): os.mknod(str(i))",
        "disk",
        "",
    ),
    "a flood of output": ("while True: print('x' * 1_000_000)", "output", "bytes cut"),
    "processor time": ("while True: pass", "cpu", ""),
    "time on the wall": ("import time\nprint('asleep', flush=True); time.sleep(60)", "time", "asleep"),
    "descriptors": ("import os\nwhile True: os.dup(1)", None, "Too many open files"),
}


@pytest.mark.parametrize("attempt", LIMITS)
async def test_there_is_no_more_to_be_had_than_the_limit_of(
    attempt: str, workspace: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdlc.integrations.sandbox.bubblewrap.LONGEST_OUTPUT", 30 * MIB)
    code, limit, said = LIMITS[attempt]
    if "bomb" not in code:
        (workspace / "attempt.py").write_text(host.script(code))
        code = "python3 attempt.py"
    settings = SETTINGS.model_copy(update={"cpu_seconds": 1} if limit == "cpu" else {})
    started, processes = time.monotonic(), len(os.listdir("/proc"))
    result = await run(workspace, code, settings=settings, timeout=3 if limit == "time" else 50)
    assert (result.limit, result.timed_out) == (limit, limit == "time"), result.output
    assert result.exit_code == 137 if limit not in (None, "file") else result.exit_code == 1
    assert said in result.output
    assert time.monotonic() - started < 50
    assert len(os.listdir("/proc")) < processes + 100
    host.assert_unharmed()


# --- git ----------------------------------------------------------------------------------

RUN = "sh -c 'echo ran >> @ran@'; cat"
IN_GIT_S_OWN_FOLDER = {
    "hooks": (
        "mkdir -p .git/hooks; "
        "for h in pre-commit post-commit post-checkout pre-push reference-transaction post-index-change; "
        "do printf '#!/bin/sh\necho ran >> @ran@\n' > .git/hooks/$h; chmod 755 .git/hooks/$h; done"
    ),
    "a folder of hooks": (
        "printf '#!/bin/sh\necho ran >> @ran@\n' > pre-commit; chmod 755 pre-commit; "
        "git config core.hooksPath /work; git config --global core.hooksPath /work"
    ),
    "a monitor of files": f'git config core.fsmonitor "{RUN}"',
    "a command for ssh": f'git config core.sshCommand "{RUN}"; git config remote.origin.url ssh://host/x',
    "another editor and pager": f'git config core.editor "{RUN}"; git config core.pager "{RUN}"',
    "an external diff": f'git config diff.external "{RUN}"; echo "* diff=x" > .gitattributes; '
    f'git config diff.x.textconv "{RUN}"',
    "an alias": f'git config alias.commit "!{RUN}"; git config alias.add "!{RUN}"; git config alias.status "!{RUN}"',
    "a filter by attributes": (
        f'git config filter.x.clean "{RUN}"; git config filter.x.smudge "{RUN}"; git config filter.x.process "{RUN}"; '
        'git config filter.x.required true; echo "* filter=x merge=x" > .gitattributes; '
        "mkdir -p .git/info; cp .gitattributes .git/info/attributes"
    ),
    "an included configuration": f'git config -f evil core.fsmonitor "{RUN}"; git config include.path /work/evil',
    "a program to sign with": f'git config commit.gpgsign true; git config gpg.program "{RUN}"',
    "a helper for passwords": f'git config credential.helper "!{RUN}"',
    "an address of a submodule": (
        f'git config -f .gitmodules submodule.x.url "ext::{RUN}"; git config -f .gitmodules submodule.x.path x; '
        f'git config -f .gitmodules submodule.x.update "!{RUN}"; git config submodule.x.url "ext::{RUN}"; '
        "git config submodule.recurse true; git config protocol.ext.allow always"
    ),
    "another work tree": "printf '[core]\\n\\tworktree = @home@\\n' >> .git/config",
    "objects from elsewhere": "mkdir -p .git/objects/info; echo @home@ > .git/objects/info/alternates",
    "a folder of git elsewhere": "rm -rf .git; echo 'gitdir: @home@' > .git",
    "a symlink in its place": "rm -rf .git; ln -s @home@ .git",
    "a repository as it is served": f'rm -rf .git; git init -q --bare .; git config core.fsmonitor "{RUN}"',
}


@pytest.fixture
async def fresh(tmp_path: Path, host: Host) -> AsyncIterator[tuple[Workspaces, Repository]]:
    """A repository and its workspaces; whatever happens, nothing was run for it outside of the sandbox."""
    checkout = new_checkout(tmp_path / "checkout", {"README.md": "one\n", "app.py": "x = 1\n"})
    repository = checkout.as_repository(str(new_bare(checkout, tmp_path / "forge.git")))
    yield Workspaces(tmp_path / "git-cache"), repository
    assert not (tmp_path / "ran").exists()
    host.assert_unharmed()


async def hostile(workspace: Workspace, script: str, host: Host, ran: Path) -> CommandResult:
    await workspace.sandbox_git()
    script = host.script(script.replace("@ran@", str(ran)))
    result = await run(workspace.path, f"{script} || exit 1; echo two > README.md")
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("trick", IN_GIT_S_OWN_FOLDER)
async def test_git_of_the_worker_runs_nothing_because_of(
    trick: str, fresh: tuple[Workspaces, Repository], host: Host, tmp_path: Path
) -> None:
    workspaces, repository = fresh
    async with workspaces.at(repository, repository.base_sha, run_id="run-1") as workspace:
        await hostile(workspace, IN_GIT_S_OWN_FOLDER[trick], host, tmp_path / "ran")
        sha = await workspace.commit("after it")
        await workspace.publish("refs/sdlc/run-1/work", sha)
        assert "+two" in await workspace.diff(repository.base_sha, sha)
        paths = {file.path for file in await workspace.changed_files(repository.base_sha, sha)}
    assert "README.md" in paths
    assert not any(path == ".git" or path.startswith(".git/") for path in paths)
    assert git(Path(repository.url), "show", f"{sha}:README.md") == "two"
    async with workspaces.at(repository, sha, run_id="run-1") as again:
        assert (again.path / "README.md").read_text() == "two\n"
        assert not os.path.lexists(again.path / ".git")


REFUSED = {
    "a submodule that runs a command": (
        "git init -q lib && git -C lib -c user.name=a -c user.email=a commit -q --allow-empty -m x && "
        "printf '[submodule \"lib\"]\\n\\tpath = lib\\n\\turl = ext::sh -c ran >&2\\n' > .gitmodules",
        "a git repository inside",
    ),
    "a symlink out of the repository": ("ln -s @ssh@ link", "link"),
    "a symlink out by ..": ("mkdir -p d && ln -s ../../../home/.ssh d/link", "link"),
}


@pytest.mark.parametrize("trick", REFUSED)
async def test_no_commit_is_made_of(
    trick: str, fresh: tuple[Workspaces, Repository], host: Host, tmp_path: Path
) -> None:
    workspaces, repository = fresh
    script, named = REFUSED[trick]
    async with workspaces.at(repository, repository.base_sha) as workspace:
        await hostile(workspace, script, host, tmp_path / "ran")
        with pytest.raises(GuardRailViolation, match=named):
            await workspace.commit("hostile")
        assert workspace.sha == repository.base_sha


async def test_a_command_that_runs_git_in_git_tricks_harms_itself_alone(
    fresh: tuple[Workspaces, Repository], host: Host, tmp_path: Path
) -> None:
    workspaces, repository = fresh
    async with workspaces.at(repository, repository.base_sha) as workspace:
        trick = 'git config core.fsmonitor "echo ran >> @ran@; echo ran >> /work/inside; true"; git status >/dev/null'
        await hostile(workspace, trick, host, tmp_path / "ran")
        assert "ran" in (workspace.path / "inside").read_text()
