"""Dependencies of what is not Python: package.json, Cargo.toml, go.mod."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sdlc.review_graphs.checks.techstack.declared import Dependency, Kind, Manifest, Source
from sdlc.review_graphs.checks.techstack.documents import read_json, read_toml, table
from sdlc.review_graphs.checks.techstack.lines import TomlLines, json_line
from sdlc.review_graphs.checks.techstack.pyproject import source_of_table

_NPM: dict[str, Kind] = {
    "dependencies": "main",
    "devDependencies": "dev",
    "peerDependencies": "peer",
    "optionalDependencies": "optional",
}
_CARGO: dict[str, Kind] = {"dependencies": "main", "dev-dependencies": "dev", "build-dependencies": "build"}
_GO_LINE = re.compile(r"(?:require\s+)?([\w.~-]+(?:/[\w.~-]+)*)\s+(v[\w.+-]+)\s*(//\s*indirect)?")


def read_package_json(path: str, text: str) -> Manifest:
    """What a package.json declares."""
    document = read_json(text)
    if not isinstance(document, dict):
        return Manifest(path, "npm", is_complete=False)
    found: list[Dependency] = []
    for section, kind in _NPM.items():
        for name, spec in table(document, section).items():
            source = _npm_source(spec) if isinstance(spec, str) else None
            found.append(
                Dependency(
                    name=name,
                    ecosystem="npm",
                    file=path,
                    line=json_line(text, section, name),
                    kind=kind,
                    group=section,
                    spec=spec if isinstance(spec, str) and not source else "",
                    dialect="npm",
                    source=source,
                )
            )
    engine = table(document, "engines").get("node")
    return Manifest(
        path,
        "npm",
        tuple(found),
        own_name=str(document.get("name") or ""),
        requires=engine if isinstance(engine, str) else "",
        requires_line=json_line(text, "engines", "node"),
        requires_dialect="npm",
        is_package=not document.get("private", False),
        version=str(document.get("version") or ""),
    )


def _npm_source(spec: str) -> Source | None:
    where, _, ref = spec.partition("#")
    if spec.startswith(("workspace:", "catalog:")):
        return Source("workspace", spec)
    if spec.startswith(("file:", "link:", "portal:", "./", "../", "/", "~/")):
        return Source("path", re.sub(r"^\w+:", "", spec))
    if re.match(r"git[+:@]|github:|gitlab:|bitbucket:|gist:|ssh:", spec) or where.endswith(".git"):
        return Source("git", where, ref)
    if re.match(r"https?:", spec):
        return Source("url", spec)
    # `user/repository`, which npm looks for on GitHub.
    return Source("git", where, ref) if re.fullmatch(r"[\w.-]+/[\w.-]+", where) else None


def read_cargo(path: str, text: str) -> Manifest:
    """What a Cargo.toml declares."""
    document = read_toml(text)
    if document is None:
        return Manifest(path, "cargo", is_complete=False)
    lines = TomlLines(text)
    found = [*_cargo_tables(path, document, lines, "")]
    for target, tables in table(document, "target").items():
        found += _cargo_tables(path, tables if isinstance(tables, dict) else {}, lines, f"target.{target}.")
    found += _cargo_tables(path, table(document, "workspace"), lines, "workspace.")
    own = table(document, "package").get("name")
    return Manifest(path, "cargo", tuple(found), own_name=str(own or ""), is_package=bool(own))


def _cargo_tables(path: str, tables: Mapping[str, Any], lines: TomlLines, where: str) -> Iterator[Dependency]:
    for section, kind in _CARGO.items():
        group = f"{where}{section}".replace('"', "").replace("'", "")
        for name, value in table(tables, section).items():
            about = value if isinstance(value, dict) else {"version": value}
            yield Dependency(
                name=str(about.get("package") or name),
                ecosystem="cargo",
                file=path,
                line=lines.key(group, name) or 1,
                kind="optional" if about.get("optional") and kind == "main" else kind,
                group=group,
                spec=str(about.get("version") or ""),
                dialect="cargo",
                source=source_of_table(about),
            )


def read_go_mod(path: str, text: str) -> Manifest:
    """What a go.mod requires. A module that it replaces has the replacement as its source."""
    found: list[Dependency] = []
    replaced: dict[str, tuple[str, int]] = {}
    block = ""
    for number, line in enumerate(text.split("\n"), 1):
        words = line.strip()
        opening = re.match(r"(\w+)\s*\($", words)
        if opening:
            block = opening[1]
        elif words == ")":
            block = ""
        elif "=>" in words and (block == "replace" or words.startswith("replace ")):
            old, _, new = words.removeprefix("replace ").partition("=>")
            replaced[old.split()[0] if old.split() else ""] = (new.strip(), number)
        elif block == "require" or words.startswith("require "):
            match = _GO_LINE.match(words)
            if match:
                kind: Kind = "optional" if match[3] else "main"
                found.append(
                    Dependency(
                        match[1], "go", path, number, kind, "indirect" if match[3] else "require", match[2], "go"
                    )
                )
    listed = []
    for item in found:
        if item.name in replaced:
            where, at = replaced[item.name]
            listed.append(replace(item, line=at, spec="", source=Source("path", where)))
        else:
            listed.append(item)
    own = re.search(r"^module\s+(\S+)", text, re.MULTILINE)
    return Manifest(path, "go", tuple(listed), own_name=own[1] if own else "")
