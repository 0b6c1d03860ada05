"""Dependencies of a setup.cfg or a setup.py, which is read and never run."""

from __future__ import annotations

import ast
import configparser
from collections.abc import Iterator, Mapping

from sdlc.review_graphs.checks.techstack.declared import Dependency, Kind, Manifest, dev_group, python_name
from sdlc.review_graphs.checks.techstack.pyproject import requirement

_LISTS: dict[str, Kind] = {"install_requires": "main", "tests_require": "dev", "setup_requires": "build"}


def read_setup_cfg(path: str, text: str) -> Manifest:
    """What a setup.cfg declares."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except (configparser.Error, ValueError):
        return Manifest(path, "python", is_complete=False)
    options = dict(parser.items("options")) if parser.has_section("options") else {}
    metadata = dict(parser.items("metadata")) if parser.has_section("metadata") else {}
    found: list[Dependency] = []
    for key, kind in _LISTS.items():
        found += _ini_list(path, text, "options", key, options.get(key), kind)
    if parser.has_section("options.extras_require"):
        for extra, value in parser.items("options.extras_require"):
            section, extra_kind = "options.extras_require", dev_group(extra)
            found += _ini_list(path, text, section, extra, value, "dev" if extra_kind else "optional")
    requires = options.get("python_requires") or ""
    return Manifest(
        path,
        "python",
        tuple(found),
        declares=bool(options or metadata),
        # Without a list the setup.py beside it may have one, or `file:` names another file.
        is_complete="file:" not in (options.get("install_requires") or ""),
        own_name=python_name(metadata.get("name") or ""),
        requires=requires.strip(),
        requires_line=_ini_line(text, "options", "python_requires", "python_requires"),
        is_package=bool(metadata.get("name")),
        classifiers=tuple((metadata.get("classifiers") or metadata.get("classifier") or "").strip().splitlines()),
        version=metadata.get("version") or "",
    )


def _ini_list(path: str, text: str, section: str, key: str, value: str | None, kind: Kind) -> Iterator[Dependency]:
    for line in (value or "").splitlines():
        words = line.partition(" #")[0].strip()
        if words and not words.startswith(("#", "file:")):
            number = _ini_line(text, section, key, words)
            found = requirement(words, file=path, line=number, kind=kind, group=f"{section}.{key}")
            if found:
                yield found


def _ini_line(text: str, section: str, key: str, words: str) -> int:
    inside, below, best = False, False, 1
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("["):
            inside, below = line.strip() == f"[{section}]", False
        elif inside and line.lower().startswith(key):
            below, best = True, number
        elif line[:1].strip():
            below = False
        if inside and below and words in line:
            return number
    return best


def read_setup_py(path: str, text: str) -> Manifest:
    """What the call of `setup` in a setup.py declares in literals; what is computed makes it incomplete."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Manifest(path, "python", is_complete=False)
    names = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    call = next(
        (
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and (node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")) == "setup"
        ),
        None,
    )
    if call is None:
        return Manifest(path, "python", declares=False)
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    is_complete = all(keyword.arg for keyword in call.keywords)
    found: list[Dependency] = []
    for key, kind in _LISTS.items():
        listed = _literals(given.get(key), names)
        is_complete = is_complete and listed is not None
        found += _requirements(path, listed or (), kind, key)
    extras = _resolved(given.get("extras_require"), names)
    if isinstance(extras, ast.Dict):
        for extra, value in zip(extras.keys, extras.values, strict=True):
            name = extra.value if isinstance(extra, ast.Constant) and isinstance(extra.value, str) else ""
            listed = _literals(value, names)
            is_complete = is_complete and listed is not None and bool(name)
            found += _requirements(path, listed or (), "dev" if dev_group(name) else "optional", f"extras.{name}")
    elif extras is not None:
        is_complete = False
    requires = _resolved(given.get("python_requires"), names)
    own = _resolved(given.get("name"), names)
    return Manifest(
        path,
        "python",
        tuple(found),
        is_complete=is_complete,
        own_name=python_name(str(own.value)) if isinstance(own, ast.Constant) else "",
        requires=str(requires.value) if isinstance(requires, ast.Constant) else "",
        requires_line=requires.lineno if requires is not None else call.lineno,
        is_package=True,
        classifiers=tuple(text for text, _ in _literals(given.get("classifiers"), names) or ()),
    )


def _resolved(node: ast.expr | None, names: Mapping[str, ast.expr]) -> ast.expr | None:
    return names.get(node.id, node) if isinstance(node, ast.Name) else node


def _literals(node: ast.expr | None, names: Mapping[str, ast.expr]) -> list[tuple[str, int]] | None:
    """Strings of a literal list with their lines; None where it is computed."""
    value = _resolved(node, names)
    if value is None:
        return []
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return [(line.strip(), value.lineno) for line in value.value.splitlines() if line.strip()]
    if isinstance(value, ast.List | ast.Tuple | ast.Set):
        items = [item for item in value.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        return [(str(item.value), item.lineno) for item in items] if len(items) == len(value.elts) else None
    return None


def _requirements(path: str, listed: list[tuple[str, int]] | tuple[()], kind: Kind, group: str) -> Iterator[Dependency]:
    for text, line in listed:
        found = requirement(text, file=path, line=line, kind=kind, group=group)
        if found:
            yield found
