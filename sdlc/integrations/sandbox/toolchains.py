"""The host's tool chains for the inside: Python, Node, Go, Rust and uv, wherever on PATH they come from.

What lies below /usr is in every sandbox. The rest (pyenv, nvm, rustup, ~/go/bin, …) is mounted read-only at
its own path, real folders instead of the shims, which need a HOME that isn't there. Only programs and
libraries are mounted, never a tool's folder as a whole: `~/.cargo` has the registry's token in it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import sdlc
from sdlc.integrations.sandbox import construction
from sdlc.integrations.sandbox.port import WORK, Mount

OWN = "/opt/sdlc"
"""Where what is ours is mounted: at its own path it could cover or be covered by the workspace."""


@dataclass(frozen=True)
class Toolchain:
    mounts: tuple[Mount, ...]
    path: str
    """PATH inside, which finds them and the system's."""


def toolchain_mounts() -> tuple[Mount, ...]:
    """The mounts of `toolchain()`."""
    return toolchain().mounts


def toolchain() -> Toolchain:
    """What the worker's PATH offers outside /usr, read-only, and the PATH to set with it."""
    folders = [folder for entry in os.environ.get("PATH", "").split(":") if entry for folder in _folders(Path(entry))]
    folders += [Path(sys.base_prefix) / "bin", *_uv_pythons()]
    mounts = [_mount(folder) for folder in folders if not _is_system(folder)]
    path = [str(folder) for folder in folders]
    uv = _uv()
    if uv is not None:
        mounts.append(Mount(uv, f"{OWN}/bin/uv"))
        path.append(f"{OWN}/bin")
    return Toolchain(_without_nested(mounts), ":".join(dict.fromkeys([*path, *construction.PATH.split(":")])))


def own_environment() -> tuple[Mount, ...]:
    """Our own Python environment for the analysers. The first mount is the environment:
    `sandbox.target(mounts[0]) + "/bin/python" -m ruff` runs one of its modules in whichever sandbox.
    """
    own = Mount(Path(sys.prefix), f"{OWN}/environment" if sys.prefix != sys.base_prefix else sys.prefix)
    base = Path(sys.base_prefix)
    return (own,) if _is_system(base) or base == own.source else (own, Mount(base, str(base)))


def own_package() -> Mount:
    """The package `sdlc` itself, for programs of ours; its parent folder goes on their path."""
    return Mount(Path(sdlc.__file__).parent, f"{OWN}/package/sdlc")


def _folders(entry: Path) -> Iterator[Path]:
    """The folders of programs to which one entry of PATH leads."""
    if not entry.is_absolute() or not entry.is_dir() or entry.is_relative_to(WORK):
        return
    if sys.prefix != sys.base_prefix and entry == Path(sys.prefix, "bin"):
        return  # our own libraries are not the repository's
    if "shims" in entry.name or (entry.name == "bin" and (entry.parent / "libexec" / "pyenv").exists()):
        yield from _pyenv_versions(entry)
    elif (entry / "rustup").exists():
        yield from _rust(entry)
    else:
        yield entry


def _pyenv_versions(entry: Path) -> Iterator[Path]:
    """Those that `pyenv global` names first, then the others, for projects that ask for one of them."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    if not entry.is_relative_to(root):
        return
    named: list[str] = []
    if (root / "version").is_file():
        named = (root / "version").read_text(errors="replace").split()
    others = sorted((path.name for path in (root / "versions").glob("*")), key=_newest_first)
    for name in dict.fromkeys([*named, *others]):
        folder = root / "versions" / name / "bin"
        if folder.is_dir():
            yield folder


def _newest_first(version: str) -> list[int]:
    return [-int(number) for number in re.findall(r"\d+", version)]


def _rust(entry: Path) -> Iterator[Path]:
    """The tool chain behind rustup's shims."""
    home = Path(os.environ.get("RUSTUP_HOME") or Path.home() / ".rustup")
    settings = home / "settings.toml"
    if not settings.is_file():
        return
    default = re.search(r'^default_toolchain\s*=\s*"([^"/]+)"', settings.read_text(errors="replace"), re.MULTILINE)
    folder = home / "toolchains" / default[1] / "bin" if default else entry
    if default and folder.is_dir():
        yield folder


def _uv_pythons() -> list[Path]:
    folder = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or Path.home() / ".local/share/uv/python")
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.glob("cpython-*/bin") if not path.parent.is_symlink())


def _uv() -> Path | None:
    candidates: Iterable[Path] = (
        Path(sys.prefix, "bin/uv"),
        Path(sdlc.__file__).parent.parent / ".uv/bin/uv",
        *(
            folder / "uv"
            for entry in os.environ.get("PATH", "").split(":")
            if entry
            for folder in _folders(Path(entry))
        ),
    )
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.resolve()
    found = shutil.which("uv")
    return Path(found).resolve() if found else None


def _mount(folder: Path) -> Mount:
    """`bin` with the libraries beside it; in a home folder, alone."""
    parent = folder.parent
    has_libraries = folder.name == "bin" and any((parent / name).is_dir() for name in ("lib", "lib64", "pkg"))
    if has_libraries and parent not in (Path.home(), Path.home() / ".local", Path("/")):
        return Mount(parent, str(parent))
    return Mount(folder, str(folder))


def _is_system(folder: Path) -> bool:
    real = folder.resolve()
    return real.is_relative_to("/usr") or any(real.is_relative_to(name) for name in ("/bin", "/sbin", "/lib"))


def _without_nested(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    unique = list(dict.fromkeys(mounts))
    return tuple(
        mount
        for mount in unique
        if not any(mount != other and Path(mount.target).is_relative_to(other.target) for other in unique)
    )
