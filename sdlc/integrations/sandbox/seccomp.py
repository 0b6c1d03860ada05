"""System calls that a sandboxed command is refused: what namespaces don't hold, and doors that kernel bugs came by.

A program for the kernel's filter (seccomp-bpf), assembled by hand because the libraries for it need a native one.
What is refused fails with an error that programs know from containers; nothing is killed. `ptrace` is left alone:
debuggers and leak checkers need it, and it ends at the namespace of processes.
"""

from __future__ import annotations

import errno
import json
import platform
import struct
from collections.abc import Iterator

_ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
"""As the kernel calls them (AUDIT_ARCH_…). Elsewhere there is no filter."""

# fmt: off
DENIED = {
    # Keys are the user's or the session's, whichever namespace: those of the worker could be read.
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # It does what the other calls do and passes by this filter.
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262), "lookup_dcookie": (212, 18), "syslog": (103, 116),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "mount_setattr": (442, 442),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "setns": (308, 268),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "acct": (163, 89),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "swapon": (167, 224), "swapoff": (168, 225), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "iopl": (172, None), "ioperm": (173, None),
}
"""Call → its number on x86_64 and aarch64."""
# fmt: on
INSPECTED = {
    "clone": (56, 220),
    "unshare": (272, 97),
    "clone3": (435, 435),
    "ioctl": (16, 29),
    "socket": (41, 198),
    "shmget": (29, 194),
}
"""Calls that are refused for some arguments only."""

LARGEST_SEGMENT = 1024**2
"""Bytes of one piece of System V shared memory; nobody can see from outside what is in it and attached nowhere."""

_FAMILIES = (1, 2, 10, 16)
"""Sockets: unix, IPv4, IPv6, netlink. A virtual machine's `vsock` leads to its host past all namespaces."""
_NAMESPACES = 0x7E02_0080
"""All CLONE_NEW… flags; in `clone` the lowest byte is a signal, see there."""
_TERMINAL_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX type into somebody's terminal."""
_X32 = 0x4000_0000

_LOAD, _EQUAL, _ABOVE, _SET, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _FAIL = 0x7FFF_0000, 0x0005_0000
_NUMBER, _ARCHITECTURE = 0, 4

_Step = tuple[int, int, int, int]
"""Operation, how many steps to leap if true and if false, operand."""


def program(machine: str = "") -> bytes | None:
    """The filter for `bwrap --seccomp`; None for a machine whose system calls we don't know."""
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES:
        return None
    return b"".join(struct.pack("=HBBI", *step) for step in _steps(machine))


def profile() -> str:
    """The same for a container engine, as the JSON that its `--security-opt seccomp=` takes."""
    column = list(_ARCHITECTURES).index(platform.machine()) if platform.machine() in _ARCHITECTURES else 0
    denied = [name for name, numbers in DENIED.items() if numbers[column] is not None]
    rules = [_rule(denied, errno.EPERM), _rule(["clone3"], errno.ENOSYS)]
    for bit in (1 << place for place in range(32)):
        if bit & _NAMESPACES:
            names = ["unshare"] if bit <= 0xFF else ["clone", "unshare"]
            rules.append(_rule(names, errno.EPERM, 0, "MASKED_EQ", bit, bit))
    for request in _TERMINAL_INPUT:
        rules.append(_rule(["ioctl"], errno.EPERM, 1, "MASKED_EQ", 0xFFFF_FFFF, request))
    for family in set(range(max(_FAMILIES))) - set(_FAMILIES):
        rules.append(_rule(["socket"], errno.EAFNOSUPPORT, 0, "EQ", family))
    rules.append(_rule(["socket"], errno.EAFNOSUPPORT, 0, "GT", max(_FAMILIES)))
    rules.append(_rule(["shmget"], errno.ENOSPC, 1, "GT", LARGEST_SEGMENT))
    return json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})


def _rule(names: list[str], error: int, index: int = -1, how: str = "", value: int = 0, other: int = 0) -> object:
    compared = [{"index": index, "value": value, "valueTwo": other, "op": f"SCMP_CMP_{how}"}] if how else []
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": error, "args": compared}


def _steps(machine: str) -> Iterator[_Step]:
    column = list(_ARCHITECTURES).index(machine)
    number = {name: numbers[column] for name, numbers in INSPECTED.items()}
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _EQUAL, 1, 0, _ARCHITECTURES[machine]
    yield _fail(errno.ENOSYS)  # 32-bit programs have other numbers, and one call for all of the network
    yield _LOAD, 0, 0, _NUMBER
    if machine == "x86_64":
        yield _ABOVE, 0, 1, _X32 - 1
        yield _fail(errno.ENOSYS)
    for numbers in DENIED.values():
        denied = numbers[column]
        if denied is not None:
            yield _EQUAL, 0, 1, denied
            yield _fail(errno.EPERM)
    yield _EQUAL, 0, 1, number["clone3"]
    yield _fail(errno.ENOSYS)  # its flags can't be seen; everybody falls back to `clone`
    yield from _inspect(number["clone"], 0, [(_SET, 0, 1, _NAMESPACES & ~0xFF), _fail(errno.EPERM)])
    yield from _inspect(number["unshare"], 0, [(_SET, 0, 1, _NAMESPACES), _fail(errno.EPERM)])
    typed = [step for request in _TERMINAL_INPUT for step in ((_EQUAL, 0, 1, request), _fail(errno.EPERM))]
    yield from _inspect(number["ioctl"], 1, typed)
    known = [(_EQUAL, len(_FAMILIES) - place, 0, family) for place, family in enumerate(_FAMILIES)]
    yield from _inspect(number["socket"], 0, [*known, _fail(errno.EAFNOSUPPORT)])
    large = [(_ABOVE, 2, 0, LARGEST_SEGMENT), (_LOAD, 0, 0, _argument(1) + 4), (_EQUAL, 1, 0, 0)]
    yield from _inspect(number["shmget"], 1, [*large, _fail(errno.ENOSPC)])
    yield _RETURN, 0, 0, _ALLOW


def _inspect(number: int, argument: int, steps: list[_Step]) -> Iterator[_Step]:
    """`steps` on the lower half of one argument of one call; where they refuse nothing it is allowed."""
    yield _EQUAL, 0, len(steps) + 2, number
    yield _LOAD, 0, 0, _argument(argument)
    yield from steps
    yield _RETURN, 0, 0, _ALLOW


def _argument(index: int) -> int:
    return 16 + 8 * index


def _fail(code: int) -> _Step:
    return _RETURN, 0, 0, _FAIL | code
