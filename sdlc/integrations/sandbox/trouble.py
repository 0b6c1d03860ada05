"""Why no sandbox can be had here, and what would mend it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping

from sdlc.errors import ConfigurationError, SandboxUnavailable, SdlcError
from sdlc.integrations import process
from sdlc.integrations.sandbox.construction import PATH

OLDEST = (0, 8)
"""The first bubblewrap that can forbid user namespaces inside."""

_PACKAGES = {"bwrap": "bubblewrap", "prlimit": "util-linux", "setpriv": "util-linux"}
_WITHOUT = "Or set `sandbox.kind: none` (SDLC_SANDBOX__KIND=none), which runs repository code without any protection."


async def find_programs(*, as_root: bool) -> Mapping[str, str]:
    """Full paths of the programs that a sandbox is made of. Raises SandboxUnavailable."""
    found = {name: _find(name) for name in ("bwrap", "prlimit")}
    if as_root:
        found["setpriv"] = _find("setpriv")
    await _check_version(found["bwrap"])
    return found


def _find(name: str) -> str:
    # Not the PATH of the worker: as root we run what the system has.
    path = shutil.which(name, path=PATH)
    if path is None:
        raise SandboxUnavailable(
            f"There is no sandbox: `{name}` was not found. Install it, for example with "
            f"`apt-get install {_PACKAGES[name]}`. {_WITHOUT}"
        )
    return os.path.realpath(path)


async def _check_version(bwrap: str) -> None:
    completed = await process.run([bwrap, "--version"], timeout=10)
    version = re.search(rb"(\d+)\.(\d+)", completed.stdout)
    if version is None or (int(version[1]), int(version[2])) < OLDEST:
        found = version[0].decode() if version else "unknown"
        raise SandboxUnavailable(
            f"There is no sandbox: bubblewrap {OLDEST[0]}.{OLDEST[1]} or newer is needed, and {bwrap} is {found}. "
            f"Install a newer one. {_WITHOUT}"
        )


def explain(output: str, cwd: str) -> SdlcError:
    """The error for a sandbox that ended before its command began, from what bubblewrap said."""
    said = output.strip().splitlines()[-1][:300] if output.strip() else "it said nothing"
    if "Can't chdir" in said:
        return ConfigurationError(f"The folder `{cwd}` in which a command should run isn't there in the sandbox.")
    return SandboxUnavailable(f"There is no sandbox: bubblewrap failed ({said}). {_mend(said)} {_WITHOUT}")


def _mend(said: str) -> str:
    if any(word in said for word in ("namespace", "uid map", "Operation not permitted", "Permission denied")):
        return (
            "Allow user namespaces: `sysctl -w kernel.unprivileged_userns_clone=1` or "
            "`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`; in a container, start it with "
            "`--security-opt seccomp=unconfined --security-opt systempaths=unconfined`."
        )
    if "No space left" in said:
        return "Raise `sysctl user.max_user_namespaces`, or free space in /tmp."
    return "See whether `bwrap --ro-bind / / --unshare-all true` works, and mend what it says."
