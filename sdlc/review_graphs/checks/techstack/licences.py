"""`licences`: what new dependencies, added files and the repository's own licence say about who may use it how."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sdlc.review_graphs.checks.base import ChangedPath, NotRun, Raised, Tree, Trees
from sdlc.review_graphs.checks.techstack.declared import Dependency
from sdlc.review_graphs.checks.techstack.documents import read_json, read_toml, table
from sdlc.review_graphs.checks.techstack.lines import json_line
from sdlc.review_graphs.checks.techstack.manifests import added, is_manifest

_OWN = re.compile(r"^(LICEN[CS]E|COPYING)([.-][^/]*)?$", re.IGNORECASE)
_NPM_LOCK = re.compile(r"(^|/)(package-lock|npm-shrinkwrap)\.json$")
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([\w.+() -]+?)\s*(?:\*/|-->|$)", re.MULTILINE)
_SOURCE = re.compile(r"\.(py|pyi|js|jsx|ts|tsx|mjs|cjs|go|rs|c|h|cc|cpp|hpp|java|kt|rb|php|sh|css|scss|swift|m|cs)$")
_COMMENT = re.compile(r"\s*(#+|//+|/\*+|\*+/?|--|;+|<!--)")
_HEADER_LINES = 30
"""Of a file, in which its licence is looked for."""
_WORDS = {
    "AGPL-3.0": re.compile(r"GNU Affero General Public License", re.IGNORECASE),
    "GPL-3.0": re.compile(r"GNU General Public License.{0,200}version 3", re.IGNORECASE | re.DOTALL),
    "GPL-2.0": re.compile(r"GNU General Public License.{0,200}version 2", re.IGNORECASE | re.DOTALL),
}


class Licences:
    """Reads licences where they stand in the repository: in npm's lock file, in the headers of files."""

    name = "licences"
    required = False

    def looks_at(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        return is_manifest(path) or bool(_OWN.match(name) or _NPM_LOCK.search(path) or _SOURCE.search(path))

    def run(self, trees: Trees) -> Iterator[Raised]:
        deny = tuple(trees.rules.get("dependencies", {}).get("licences_deny", ()))
        found = [*_own_licence(trees), *_locked(trees, deny), *_headers(trees, deny)]
        yield from found
        unknown = sorted({item.name for item in added(trees) if not _is_known(trees.head, item)})
        if unknown and not found and deny:
            names = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
            raise NotRun(f"the licence of {names} is not known without its metadata; look it up before you merge")


def is_denied(expression: str, deny: Sequence[str]) -> bool:
    """Does an SPDX expression leave no choice but a licence of the list? An exception makes it another licence."""
    plain = expression.strip().strip("()")
    alternatives = re.split(r"\s+OR\s+|\s*/\s*", plain, flags=re.IGNORECASE)
    known = {_family(name) for name in deny}
    return bool(plain) and all(
        any(
            _family(part.strip("() ")) in known and " with " not in part.lower()
            for part in re.split(r"\s+AND\s+", one, flags=re.IGNORECASE)
        )
        for one in alternatives
    )


def _family(name: str) -> str:
    return re.sub(r"(-only|-or-later|\+)$", "", name.strip().lower())


@dataclass(frozen=True)
class _Package:
    licence: str
    key: str
    """Of the lock file's `packages`."""


def _packages(tree: Tree, path: str) -> dict[str, _Package]:
    """Licences of npm's lock file by the names of packages."""
    document = read_json(tree.text(path) or "")
    found = {}
    for key, about in table(document, "packages").items():
        licence = about.get("license") if isinstance(about, dict) else None
        if key and isinstance(licence, str):
            found[key.rpartition("node_modules/")[2]] = _Package(licence, key)
    return found


def _locked(trees: Trees, deny: Sequence[str]) -> Iterator[Raised]:
    for file in trees.files:
        if file.status == "D" or not _NPM_LOCK.search(file.path):
            continue
        before = _packages(trees.base, file.old_path) if file.old_path else {}
        for name, about in _packages(trees.head, file.path).items():
            old = before.get(name)
            if not is_denied(about.licence, deny) or (old and is_denied(old.licence, deny)):
                continue
            direct = next((item for item in added(trees) if item.ecosystem == "npm" and item.name == name), None)
            dev = direct is not None and direct.kind == "dev"
            yield Raised(
                "denied",
                direct.file if direct else file.path,
                direct.line if direct else json_line(trees.head.text(file.path) or "", "packages", about.key),
                "minor" if dev else "major",
                f"{name} is licensed under {about.licence}, which `.sdlc.yml` denies (dependencies.licences_deny): "
                "what is shipped with it may have to be published under the same terms. Use another package, or ask "
                "who decides.",
            )


def _is_known(head: Tree, item: Dependency) -> bool:
    if item.ecosystem != "npm":
        return False
    locks = [path for path in head.paths if _NPM_LOCK.search(path)]
    return any(item.name in _packages(head, path) for path in locks)


def _headers(trees: Trees, deny: Sequence[str]) -> Iterator[Raised]:
    """Files of others that the change brings in, by what their headers say."""
    for file in trees.files:
        if file.status != "A" or not file.is_text or not _SOURCE.search(file.path):
            continue
        top = _top_comment(trees.head.text(file.path) or "")
        found = _SPDX.search(top)
        licence, line = (found[1], top.count("\n", 0, found.start(1)) + 1) if found else ("", 1)
        licence = licence or next((name for name, words in _WORDS.items() if words.search(_unmarked(top))), "")
        if not licence or not is_denied(licence, deny) or _is_own_licence(trees.base, licence):
            continue
        yield Raised(
            "denied-file",
            file.path,
            line,
            "major",
            f"This file is under {licence}, which `.sdlc.yml` denies (dependencies.licences_deny): the program that "
            "contains it may have to be published under the same terms. Take it out, or ask who decides.",
        )


def _top_comment(text: str) -> str:
    """The comment that a file begins with; a licence that stands anywhere else is data."""
    lines = text.split("\n")[:_HEADER_LINES]
    end = next((n for n, line in enumerate(lines) if line.strip() and not _COMMENT.match(line)), len(lines))
    return "\n".join(lines[:end])


def _unmarked(comment: str) -> str:
    return "\n".join(_COMMENT.sub("", line).strip() for line in comment.split("\n"))


def _is_own_licence(base: Tree, licence: str) -> bool:
    """Is the repository itself under a licence of that family?"""
    words = _WORDS.get(_family(licence).upper())
    family = _family(licence).rpartition("-")[0] or _family(licence)
    for path in ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING", "COPYING.txt"):
        text = base.text(path)
        if text and ((words and words.search(text[:2_000])) or f"{family}-" in text.lower()[:2_000]):
            return True
    return any(family in said.lower() for said, _ in (_said(base, path) for path in ("pyproject.toml", "package.json")))


def _own_licence(trees: Trees) -> Iterator[Raised]:
    """The repository's own licence, which only a person changes."""
    for file in trees.files:
        folder, _, name = file.path.rpartition("/")
        if not folder and _OWN.match(name):
            yield from _licence_file(trees, file)
        elif file.path in ("pyproject.toml", "package.json", "Cargo.toml") and file.status == "M":
            was, _ = _said(trees.base, file.old_path)
            now, line = _said(trees.head, file.path)
            if was and not _is_same(was, now) and (now or not any(_OWN.match(path) for path in trees.head.paths)):
                what = f"changes from {was} to {now}" if now else f"is no longer given (it was {was})"
                yield Raised(
                    "own-licence",
                    file.path,
                    line,
                    "major",
                    f"The licence of the project {what}: that binds everyone who uses it, and all who hold rights in "
                    "it have to agree. Take it back, or have the owner of the project decide.",
                )


def _is_same(one: str, other: str) -> bool:
    """Two ways to write one licence, such as `MIT License` and `MIT`."""
    first, second = (re.sub(r"[\W_]|licen[cs]e|version|the", "", text.lower()) for text in (one, other))
    return bool(second) and (first.startswith(second) or second.startswith(first))


def _licence_file(trees: Trees, file: ChangedPath) -> Iterator[Raised]:
    was, now = trees.before(file), None if file.status == "D" else trees.head.text(file.path)
    if was is None or (now and _essence(now).startswith(_essence(was))):
        return  # years, holders, or the licences of what is bundled
    if now is None and any(_OWN.match(path) for path in trees.head.paths):
        return
    # A deleted file has no line on the head, so that a finding on it is shown as that of its first.
    yield Raised(
        "own-licence",
        file.path,
        file.first_added,
        "major",
        f"The licence of the repository is {'changed' if now else 'removed'}: that binds everyone who uses it, and "
        "all who hold rights in it have to agree. Take it back, or have the owner of the project decide.",
    )


def _essence(text: str) -> str:
    """Without what may change in a licence: years, holders, spaces."""
    lines = (line for line in text.lower().split("\n") if not re.match(r"\s*(#|copyright\b|\(c\)|©)", line))
    return re.sub(r"[\W_]+|\d{4}", "", "".join(lines))


def _said(tree: Tree, path: str) -> tuple[str, int]:
    """What a manifest says of its licence, and on which line."""
    text = tree.text(path) or ""
    if path.endswith(".json"):
        document = read_json(text)
        said = document.get("license") if isinstance(document, dict) else ""
    else:
        document = read_toml(text) or {}
        tables = (table(document, "project"), table(document, "tool", "poetry"), table(document, "package"))
        said = next((found["license"] for found in tables if found.get("license")), "")
    if isinstance(said, dict):
        said = said.get("text") or ""
    line = next((n for n, one in enumerate(text.split("\n"), 1) if re.match(r"\s*\"?license\"?\s*[=:]", one)), 1)
    return (said if isinstance(said, str) and "\n" not in said else "", line)
