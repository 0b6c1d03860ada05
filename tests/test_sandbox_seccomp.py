"""The filter of system calls: what it says for any call, and that ordinary programs don't notice it."""

from __future__ import annotations

import ctypes
import errno
import platform
import re
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdlc.config import SandboxSettings
from sdlc.integrations.sandbox import CommandResult, open_sandbox, seccomp, toolchain

MACHINES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
HEADERS = {
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), r"#define __NR_(\w+) (\d+)$"),
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"), r"#define __NR(?:3264)?_(\w+)\s+(\d+)$"),
}
ALLOW, ENOSYS, EPERM = "allow", errno.ENOSYS, errno.EPERM
NEW_USER = 0x1000_0000
needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


def answer(machine: str, number: int, *arguments: int, architecture: int | None = None) -> str | int:
    """What the kernel would do: `allow` or the error. A filter that runs out of its program fails the test."""
    program = seccomp.program(machine)
    assert program is not None
    steps = list(struct.iter_unpack("=HBBI", program))
    assert len(steps) < 4096
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, architecture or MACHINES[machine], 0, *padded)
    accumulator, place = 0, 0
    while True:
        operation, if_true, if_false, operand = steps[place]
        place += 1
        if operation == 0x20:
            accumulator = struct.unpack_from("=I", data, operand)[0]
        elif operation == 0x06:
            return ALLOW if operand == 0x7FFF_0000 else operand & 0xFFFF
        else:
            holds = {
                0x15: accumulator == operand,
                0x25: accumulator > operand,
                0x45: bool(accumulator & operand),
            }[operation]
            place += if_true if holds else if_false


def number_of(name: str, machine: str) -> int:
    found = {**seccomp.DENIED, **seccomp.INSPECTED}[name][list(MACHINES).index(machine)]
    assert found is not None
    return found


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_those_of_the_kernel(machine):
    header, pattern = HEADERS[machine]
    if not header.is_file():
        pytest.skip("the kernel's headers are not installed")
    known = {name: int(number) for name, number in re.findall(pattern, header.read_text(), re.MULTILINE)}
    column = list(MACHINES).index(machine)
    ours = {name: each[column] for name, each in {**seccomp.DENIED, **seccomp.INSPECTED}.items()}
    assert {name: known.get(name) for name in ours} == ours


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_denied_is_denied_and_all_else_is_not(machine):
    column = list(MACHINES).index(machine)
    denied = {each[column] for each in seccomp.DENIED.values()}
    inspected = {each[column] for each in seccomp.INSPECTED.values()}
    for number in range(600):
        if number not in inspected:
            assert answer(machine, number) == (EPERM if number in denied else ALLOW), number


@given(st.sampled_from(sorted(MACHINES)), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_every_call_has_an_answer(machine, number, arguments):
    assert answer(machine, number, *arguments) in (ALLOW, ENOSYS, EPERM, errno.EAFNOSUPPORT, errno.ENOSPC)


@pytest.mark.parametrize("machine", MACHINES)
def test_arguments_decide_where_a_call_has_a_harmless_use(machine):
    def said(name: str, *arguments: int) -> str | int:
        return answer(machine, number_of(name, machine), *arguments)

    assert said("clone", 17) == ALLOW
    assert said("clone", 17 | NEW_USER) == EPERM
    assert said("clone", 0x3D0F00) == ALLOW  # a thread
    assert said("clone3", 1, 88) == ENOSYS
    assert (said("unshare", 0x400), said("unshare", NEW_USER), said("unshare", 0x80)) == (ALLOW, EPERM, EPERM)
    assert (said("ioctl", 0, 0x5413), said("ioctl", 0, 0x5412), said("ioctl", 0, 2**32 + 0x5412)) == (
        ALLOW,
        EPERM,
        EPERM,  # the kernel looks at the lower half alone
    )
    families = {family: said("socket", family, 1) for family in range(50)}
    assert [family for family, answered in families.items() if answered == ALLOW] == [1, 2, 10, 16]
    assert said("shmget", 0, 1024**2) == ALLOW
    assert said("shmget", 0, 1024**2 + 1) == said("shmget", 0, 2**32) == errno.ENOSPC


def test_programs_of_another_architecture_get_nothing():
    assert answer("x86_64", 1, architecture=0x4000_0003) == ENOSYS  # i386
    assert answer("aarch64", 1, architecture=0x4000_0028) == ENOSYS  # arm
    assert answer("x86_64", 0x4000_0000 + 39) == ENOSYS  # x32
    assert seccomp.program("riscv64") is None


async def run(workspace: Path, script: str) -> CommandResult:
    tools = toolchain()
    return await open_sandbox(SandboxSettings()).run(
        ["bash", "-c", script], workspace=workspace, timeout=100, mounts=tools.mounts, env={"PATH": tools.path}
    )


ORDINARY = {
    "python3": "python3 -c 'import multiprocessing as m, ssl, asyncio; print(m.Pool(2).map(abs, [-1, 2]))'",
    "node": 'node -e \'require("fs").promises.readFile("/etc/passwd").then(x => console.log(x.length > 9))\'',
    "git": "git init -q r && cd r && git -c user.name=a -c user.email=a commit -q --allow-empty -m x && git log",
    "go": "printf 'package main\nfunc main() { println(1) }\n' > a.go && go run a.go",
    "java": (
        "printf 'class A { public static void main(String[] a) { System.out.println(1); } }' > A.java && java A.java"
    ),
    "gcc": "printf 'int main() { return 0; }' > a.c && gcc -fsanitize=leak a.c -o a && ./a",
    "make": "printf 'all: a b\na b:\n\ttouch $@\n' > Makefile && make -j2",
    "curl": "python3 -m http.server 8000 & sleep 1; curl -sS --retry 9 --retry-connrefused http://localhost:8000/",
    "strace": "strace -f -o trace sh -c true && tail -1 trace",
}


@needs_bubblewrap
@pytest.mark.parametrize("program", ORDINARY)
async def test_an_ordinary_program_still_runs(program, tmp_path):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    result = await run(tmp_path, ORDINARY[program])
    assert (result.exit_code, result.limit) == (0, None), result.output


KEY_AND_HYPERVISOR = """
import ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
serial = libc.syscall(ctypes.c_long(NUMBER), b"user", b"sdlc-planted", None, ctypes.c_long(0))
text = ctypes.create_string_buffer(100)
libc.syscall(ctypes.c_long(KEYCTL), ctypes.c_long(11), ctypes.c_long(serial), text, ctypes.c_long(100))
print("key", text.value)
try:
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    print("hypervisor")
except OSError as error:
    print(error)
"""


@needs_bubblewrap
@pytest.mark.skipif(platform.machine() not in MACHINES, reason="the numbers of system calls are not known here")
@pytest.mark.parametrize("filtered", [True, False])
async def test_the_workers_keys_and_its_hypervisor_are_kept_by_the_filter_alone(tmp_path, monkeypatch, filtered):
    machine = platform.machine()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(ctypes.c_long(number_of("keyctl", machine)), ctypes.c_long(1), None)  # a session of our own
    added = libc.syscall(
        ctypes.c_long(number_of("add_key", machine)), b"user", b"sdlc-planted", b"secret", ctypes.c_long(6),
        ctypes.c_long(-3),
    )  # fmt: skip
    if added < 0:
        pytest.skip("this machine keeps no keys")
    if not filtered:
        monkeypatch.setattr(seccomp, "program", lambda: None)
    script = KEY_AND_HYPERVISOR.replace("NUMBER", str(number_of("request_key", machine)))
    (tmp_path / "try.py").write_text(script.replace("KEYCTL", str(number_of("keyctl", machine))))
    result = await run(tmp_path, "python3 try.py")
    assert ("b'secret'" in result.output) is not filtered, result.output
    if filtered:
        assert "Address family not supported" in result.output
