"""Migrations of Django and Alembic that can't be run any more, or that databases in use will never run."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from sdlc.review_graphs.checks.architecture.names import last_name
from sdlc.review_graphs.checks.architecture.syntax import parsed
from sdlc.review_graphs.checks.base import ChangedPath, Raised, Tree, Trees, is_test

Key = tuple[str, str]
"""What a migration is called: the app (or the folder) that it is of, and its name."""


@dataclass(frozen=True)
class _Migration:
    path: str
    key: Key
    after: tuple[Key, ...]
    """What must have run before it, of its own app and of others."""
    line: int
    """Where it says so."""
    work: tuple[str, ...]
    """What it does: what it calls and with what values, however that is written."""
    is_usual: bool
    """It replaces no others and starts no branch."""


class Migrations:
    """Chains of migrations that a change breaks or forks, and migrations that it edits afterwards."""

    name = "migrations"
    required = True

    def looks_at(self, path: str) -> bool:
        return (
            path.endswith(".py") and bool({"migrations", "versions"} & set(path.split("/")[:-1])) and not is_test(path)
        )

    def run(self, trees: Trees) -> Iterator[Raised]:
        files = [file for file in trees.files if self.looks_at(file.path) or self.looks_at(file.old_path)]
        if files:
            head, base = _Chain(trees.head, self), _Chain(trees.base, self)
            yield from _forks(trees, head, base)
            yield from _gaps(trees, head, base)
            yield from _edits(files, head, base)


class _Chain:
    """All migrations of a tree."""

    def __init__(self, tree: Tree, check: Migrations) -> None:
        read = (_read(tree, path) for path in tree.paths if check.looks_at(path))
        self.by_path: Mapping[str, _Migration] = {item.path: item for item in read if item is not None}
        self.by_key: Mapping[Key, _Migration] = {item.key: item for item in self.by_path.values()}

    @cached_property
    def ends(self) -> Mapping[str, list[_Migration]]:
        """By app, the migrations that no other of the app follows."""
        followed = {key for item in self.by_path.values() for key in item.after if key[0] == item.key[0]}
        found: dict[str, list[_Migration]] = defaultdict(list)
        for item in self.by_path.values():
            if item.key not in followed:
                found[item.key[0]].append(item)
        return found

    @cached_property
    def unusual(self) -> frozenset[str]:
        """Apps of which the order can't be told: with squashed migrations, branches, or two apps of one name."""
        folders: dict[str, set[str]] = defaultdict(set)
        for item in self.by_path.values():
            folders[item.key[0]].add(item.path.rpartition("/")[0])
        odd = {item.key[0] for item in self.by_path.values() if not item.is_usual}
        return frozenset(odd | {app for app, places in folders.items() if len(places) > 1})


def _forks(trees: Trees, head: _Chain, base: _Chain) -> Iterator[Raised]:
    for app, ends in head.ends.items():
        if len(ends) < 2 or app in head.unusual | base.unusual or len(base.ends.get(app, ())) > 1:
            continue
        new = [item for item in sorted(ends, key=lambda item: item.path) if item.path not in base.by_path]
        if new:
            last, others = new[-1], [item.key[1] for item in ends if item is not new[-1]]
            message = (
                f"`{last.key[1]}` and `{others[0]}` are both the last migration: migrating stops and asks which to "
                f"follow. Let this one follow `{others[0]}`."
            )
            yield from _at(trees, last, "two-ends", message)


def _gaps(trees: Trees, head: _Chain, base: _Chain) -> Iterator[Raised]:
    gone = base.by_key.keys() - head.by_key.keys()
    for item in head.by_path.values():
        for key in item.after:
            was_known = item.path in base.by_path and key in base.by_path[item.path].after
            is_here = key[0] in head.ends or key[0] in base.ends
            if key in head.by_key or key[0] in head.unusual | base.unusual or not is_here:
                continue
            if key in gone or not was_known:
                message = (
                    f"`{item.key[1]}` follows the migration `{key[1]}`, which is not there: migrating fails before it "
                    "begins. Let it follow one that is, or bring that one back."
                )
                yield from _at(trees, item, "missing", message)


def _edits(files: list[ChangedPath], head: _Chain, base: _Chain) -> Iterator[Raised]:
    for file in files:
        before, now = base.by_path.get(file.old_path), head.by_path.get(file.path)
        if before is not None and now is not None and before.work != now.work and file.added:
            message = (
                f"Edits the migration `{now.key[1]}`, which is on the base already: databases that have run it never "
                "get the change, and new ones differ from them. Put it into a migration of its own."
            )
            yield Raised("edited", file.path, file.first_added, "minor", message)


def _at(trees: Trees, item: _Migration, rule: str, message: str) -> Iterator[Raised]:
    file = trees.file(item.path)
    if file is not None:
        yield Raised(rule, file.path, item.line, "major", message)


def _read(tree: Tree, path: str) -> _Migration | None:
    module = parsed(tree, path)
    if module is None:
        return None
    folder, _, name = path.removesuffix(".py").rpartition("/")
    for statement in module.body:
        if isinstance(statement, ast.ClassDef) and statement.name == "Migration":
            return _of_django(path, folder.split("/")[-2] if "/" in folder else "", name, statement)
    return _of_alembic(path, folder, module)


def _of_django(path: str, app: str, name: str, node: ast.ClassDef) -> _Migration | None:
    fields = _assigned(node.body)
    if not any(last_name(base) == "Migration" for base in node.bases) or not app:
        return None
    after: list[Key] = []
    dependencies = fields.get("dependencies")
    is_usual = "replaces" not in fields and "run_before" not in fields
    for item in dependencies.elts if isinstance(dependencies, ast.List | ast.Tuple) else ():
        match item:
            case ast.Tuple(elts=[ast.Constant(value=str(other)), ast.Constant(value=str(parent))]):
                if not parent.startswith("__"):
                    after.append((other, parent))
            case ast.Call():
                continue
            case _:
                is_usual = False
    line = dependencies.lineno if dependencies else node.lineno
    operations = fields.get("operations")
    return _Migration(path, (app, name), tuple(after), line, _work(operations), is_usual)


def _of_alembic(path: str, folder: str, module: ast.Module) -> _Migration | None:
    fields = _assigned(module.body)
    match fields.get("revision"), fields.get("down_revision"):
        case ast.Constant(value=str(name)), ast.expr() as down:
            parents = [node.value for node in ast.walk(down) if isinstance(node, ast.Constant) and node.value]
        case _:
            return None
    functions = [item for item in module.body if isinstance(item, ast.FunctionDef) and item.name == "upgrade"]
    work = tuple(part for item in functions for line in item.body if not _is_text(line) for part in _work(line))
    labels = fields.get("branch_labels"), fields.get("depends_on")
    is_usual = all(item is None or (isinstance(item, ast.Constant) and not item.value) for item in labels)
    return _Migration(
        path, (folder, name), tuple((folder, str(parent)) for parent in parents), down.lineno, work, is_usual
    )


def _assigned(body: list[ast.stmt]) -> dict[str, ast.expr]:
    found: dict[str, ast.expr] = {}
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name] = value
    return found


def _work(node: ast.AST | None) -> tuple[str, ...]:
    """Names of keywords are left out: newer versions of the frameworks have other ones for the same."""
    parts: list[str] = []
    for child in ast.walk(node) if node else ():
        if isinstance(child, ast.Constant):
            parts.append(repr(child.value))
        elif isinstance(child, ast.Call):
            parts.append(last_name(child.func))
    return tuple(parts)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
