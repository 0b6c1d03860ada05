"""Discovery for Node, Go, Rust and make. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdlc.integrations.project.plan import Command

_NO_TEST = "no test specified"
"""What `npm init` writes where a test script should be."""

_INSTALLERS = (
    ("pnpm-lock.yaml", "pnpm", ("pnpm", "install", "--frozen-lockfile")),
    ("yarn.lock", "yarn", ("yarn", "install", "--frozen-lockfile")),
    ("package-lock.json", "npm", ("npm", "ci")),
    ("npm-shrinkwrap.json", "npm", ("npm", "ci")),
)
_ESLINT = re.compile(r"(?:eslint\.config\.[cm]?[jt]s|\.eslintrc(?:\.(?:js|cjs|json|ya?ml))?)\Z")
_TYPE_SCRIPTS = ("typecheck", "type-check", "check-types", "check:types", "types", "tsc")


@dataclass
class Found:
    """What one ecosystem adds to the plan."""

    unit: list[Command] = field(default_factory=list)
    static: list[Command] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    installer: str = ""
    install_command: tuple[str, ...] = ()


def node_project(files: Sequence[str], texts: Mapping[str, str]) -> Found:
    found = Found()
    present = frozenset(files)
    if "package.json" not in present:
        return found
    package = _package(texts.get("package.json", ""), found)
    lock = next((entry for entry in _INSTALLERS if entry[0] in present), None)
    needs = any(package.get(key) for key in ("dependencies", "devDependencies", "workspaces"))
    if lock:
        found.installer, found.install_command = lock[1], lock[2]
        if lock[1] == "yarn" and ".yarnrc.yml" in present:
            found.install_command = ("yarn", "install", "--immutable")
    elif needs:
        found.installer, found.install_command = "npm", ("npm", "install", "--no-package-lock")
    program = found.installer or "npm"
    scripts = {name: line for name, line in _table(package.get("scripts")).items() if isinstance(line, str)}
    if scripts.get("test", "").strip() and _NO_TEST not in scripts["test"]:
        found.unit.append(Command(name=f"{program} test", line=f"{program} test"))
    found.static.extend(_node_checks(scripts, package, present, program))
    return found


def _node_checks(
    scripts: Mapping[str, str], package: Mapping[str, Any], present: frozenset[str], program: str
) -> list[Command]:
    named = {**_table(package.get("dependencies")), **_table(package.get("devDependencies"))}
    lines: list[str] = []
    if "lint" in scripts:
        lines.append(f"{program} run lint")
    elif "eslint" in named and any(_ESLINT.match(path) for path in present):
        lines.append("npx --no-install eslint .")
    types = next((name for name in _TYPE_SCRIPTS if name in scripts), None)
    if types:
        lines.append(f"{program} run {types}")
    elif "typescript" in named and "tsconfig.json" in present:
        lines.append("npx --no-install tsc --noEmit")
    return [Command(name=line.removeprefix("npx --no-install ").removesuffix(" ."), line=line) for line in lines]


def go_project(files: Sequence[str]) -> Found:
    found = Found()
    if "go.mod" in files:
        found.installer = "go"
        found.static.append(Command(name="go vet", line="go vet ./..."))
        if any(path.endswith("_test.go") for path in files):
            found.unit.append(Command(name="go test", line="go test ./..."))
    return found


def cargo_project(files: Sequence[str]) -> Found:
    """Rust has its tests in the sources, so that names alone don't tell whether there are any."""
    found = Found()
    if "Cargo.toml" in files:
        found.installer = "cargo"
        found.unit.append(Command(name="cargo test", line="cargo test"))
        clippy = "clippy.toml" in files or ".clippy.toml" in files
        line = f"cargo {'clippy' if clippy else 'check'} --all-targets --message-format short"
        found.static.append(Command(name=" ".join(line.split()[:2]), line=line))
    return found


def make_targets(text: str) -> frozenset[str]:
    """The names of the targets of a Makefile that are written out."""
    return frozenset(re.findall(r"^([A-Za-z][\w-]*)\s*:(?!=)", text, re.MULTILINE))


def _package(text: str, found: Found) -> Mapping[str, Any]:
    try:
        return _table(json.loads(text))
    except (ValueError, RecursionError) as error:
        found.notes.append(f"`package.json` can't be read ({error}); what it declares is not known.")
        return {}


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
