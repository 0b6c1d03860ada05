"""What JavaScript and TypeScript files import, by their statements; there is no parser for them here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from sdlc.review_graphs.checks.base import Tree
from sdlc.review_graphs.checks.techstack.stack_names import words

SUFFIXES = (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts", ".vue", ".svelte", ".astro")
MOST_FILES = 3_000
"""Of a tree that are read."""
BUILTINS = words("""
    assert async_hooks buffer child_process cluster console constants crypto dgram diagnostics_channel dns domain events
    fs http http2 https inspector module net os path perf_hooks process punycode querystring readline repl stream
    string_decoder sys test timers tls trace_events tty url util v8 vm wasi worker_threads zlib
""")
"""Modules of Node."""
_HOSTS = words("atom aws-sdk bun electron figma gi k6 obsidian photoshop uxp vscode")
"""Modules that the program in which the code runs has."""

_STATEMENT = re.compile(
    r"""^\s*(?:import|export)\b(?P<typing>\s+type\b)?[^'"`;]*?\bfrom\s*['"](?P<from>[^'"\s]+)['"]"""
    r"""|^\s*import\s*['"](?P<bare>[^'"\s]+)['"]"""
    r"""|^\s*\}\s*from\s*['"](?P<rest>[^'"\s]+)['"]"""
    r"""|(?:^|[=(,:;{\s])(?:require|import)\s*\(\s*['"](?P<call>[^'"\s]+)['"]\s*\)"""
)
_PACKAGE = re.compile(r"(@[a-z0-9~_][\w.~-]*/)?[a-z0-9~_][\w.~-]*$")


@dataclass(frozen=True)
class JsImport:
    package: str
    """The name of the package, without a path inside it."""
    line: int
    is_typing: bool = False
    is_optional: bool = False
    """In a `try`, or in a call that may fail."""


def is_javascript(path: str) -> bool:
    return path.endswith(SUFFIXES) and not path.endswith((".min.js", ".d.ts"))


def imports_in(text: str) -> Iterator[JsImport]:
    """The packages that a text imports; neither relative paths nor modules of Node."""
    in_comment = False
    tries = 0
    for number, line in enumerate(text.split("\n"), 1):
        if in_comment:
            in_comment = "*/" not in line
            continue
        stripped = line.lstrip()
        if stripped.startswith("/*"):
            in_comment = "*/" not in stripped
            continue
        if stripped.startswith(("//", "*")):
            continue
        tries = 6 if re.search(r"\btry\s*\{", line) else max(tries - 1, 0)
        for match in _STATEMENT.finditer(line):
            package = package_of(match["from"] or match["bare"] or match["rest"] or match["call"])
            if package:
                is_optional = tries > 0 or ".catch(" in line
                yield JsImport(package, number, bool(match["typing"]), is_optional and bool(match["call"]))


def package_of(specifier: str) -> str:
    """The package that a specifier names; empty for a path, a module of Node, an alias or an address."""
    if ":" in specifier or specifier.startswith((".", "/", "#", "~", "$", "@/")):
        return ""
    parts = specifier.split("/")
    name = "/".join(parts[:2]) if specifier.startswith("@") else parts[0]
    return "" if name in BUILTINS or name in _HOSTS or not _PACKAGE.match(name) else name


@lru_cache(maxsize=4)
def _texts(tree: Tree) -> tuple[tuple[str, str], ...]:
    paths = [path for path in tree.paths if is_javascript(path)][:MOST_FILES]
    return tuple((path, text) for path in paths if (text := tree.text(path)))


def imported(tree: Tree, package: str) -> tuple[str, int] | None:
    """Where a package is first imported in a tree; None if nowhere."""
    word = re.compile(rf"""['"]{re.escape(package)}['"/]""")
    for path, text in _texts(tree):
        if word.search(text):
            for one in imports_in(text):
                if one.package == package:
                    return path, one.line
    return None


_CONFIGURATION = re.compile(
    r"(^|/)([jt]sconfig[^/]*\.json|[^/]*\.config\.[cm]?[jt]s|\.babelrc|deno\.jsonc?|import_map\.json|package\.json)$"
)
_DEPENDENCIES = re.compile(r'"\w*[dD]ependencies"\s*:\s*\{[^}]*\}')


def is_alias(tree: Tree, package: str) -> bool:
    """May a configuration, an ambient declaration or a folder of the repository stand for the name?"""
    first = package.partition("/")[0]
    word = re.compile(rf"""['"^/]{re.escape(first)}['"/$(*|]""")
    ambient = re.compile(rf"""declare module ['"]{re.escape(package)}""")
    for path in tree.paths:
        if _CONFIGURATION.search(path):
            text = _DEPENDENCIES.sub("", tree.text(path) or "")
            if word.search(text) or ('"baseUrl"' in text and _is_folder(tree, path.rpartition("/")[0], first)):
                return True
        elif path.endswith(".d.ts") and ambient.search(tree.text(path) or ""):
            return True
    return False


def _is_folder(tree: Tree, root: str, name: str) -> bool:
    """With `baseUrl`, a first part may be a folder or a file anywhere below it."""
    return any(path.startswith(root) and re.search(rf"(^|/){re.escape(name)}[./]", path) for path in tree.paths)
