"""Calls that do not fit what they call: looked at only where it is certain which function of the repository that is."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sdlc.review_graphs.checks.base import ChangedPath, Raised, Trees
from sdlc.review_graphs.checks.quality.assertions import name_of
from sdlc.review_graphs.checks.quality.modules import Found, Modules, bound
from sdlc.review_graphs.checks.quality.sites import Around, Site, sites
from sdlc.review_graphs.checks.quality.source import FunctionNode, functions, shape, shown_at, walk
from sdlc.review_graphs.checks.quality.uses import Mentions

SHORTEST_NAME = 3
"""Letters of names that tell which argument is meant; `x` and `y` are swapped on purpose."""


@dataclass(frozen=True)
class Callee:
    """A function as a call has to fit it."""

    path: str
    name: str
    """As it is said."""
    node: FunctionNode
    is_bound: bool = False
    """The first argument is given by Python."""

    @property
    def positional(self) -> list[str]:
        every = [item.arg for item in (*self.node.args.posonlyargs, *self.node.args.args)]
        return every[1:] if self.is_bound else every


class Calls:
    name = "calls"
    required = True

    def looks_at(self, path: str) -> bool:
        return path.endswith(".py")

    def run(self, trees: Trees) -> Iterable[Raised]:
        files = {file.path: file for file in trees.present if self.looks_at(file.path)}
        if not files:
            return
        modules = Modules(trees.head)
        broken: dict[str, list[tuple[Callee, str, int, str]]] = {}
        changed = _changed(trees, files.values())
        names = {name.rpartition(".")[2] for _, name in changed}
        for path in _callers(trees, files, names):
            file = files.get(path)
            for site in sites(trees.head.text(path)):
                call = site.node
                if not isinstance(call, ast.Call):
                    continue
                is_new = file is not None and file.has_added(call.lineno, call.end_lineno or 0) and not _shows(path)
                # Most calls are of something else, and need not be looked up; an import may give another name.
                is_near = is_new or name_of(call.func) in names or not names.isdisjoint(_renamed(modules, path))
                callee = _callee(modules, path, call, site.around) if is_near else None
                if callee is None or callee.node.decorator_list or site.around.is_expected_to_fail:
                    continue
                problem = _problem(callee, call, site)
                was = changed.get((callee.path, callee.name))
                if is_new and file and problem:
                    yield _wrong(file, call, callee, problem)
                elif is_new and file and (pair := _swapped(callee, call, site.around)):
                    yield _swap(file, call, callee, pair)
                elif problem and was and not _problem(was, call, site):
                    key = f"{callee.path}:{callee.name}"
                    broken.setdefault(key, []).append((callee, path, call.lineno, problem))
        for found in broken.values():
            yield _left(files[found[0][0].path], found)


def _changed(trees: Trees, files: Iterable[ChangedPath]) -> dict[tuple[str, str], Callee]:
    """The functions of changed files that were called otherwise on the base, as they were there."""
    found: dict[tuple[str, str], Callee] = {}
    for file in files:
        before = functions(trees.before(file))
        for name, item in functions(trees.head.text(file.path)).items():
            was = before.get(name)
            if was is None or item.nested or was.node.decorator_list:
                continue
            is_async = isinstance(item.node, ast.AsyncFunctionDef)
            if shape(was.node.args) != shape(item.node.args) or is_async != isinstance(was.node, ast.AsyncFunctionDef):
                # `Cart.__init__` is called as `Cart`.
                said = name.removesuffix(".__init__")
                found[file.path, said] = Callee(file.path, said, was.node, is_bound=item.owner is not None)
    return found


def _callers(trees: Trees, files: dict[str, ChangedPath], names: set[str]) -> Iterator[str]:
    yield from files
    if names:
        mentions = Mentions(trees.head, names, endings=(".py",))
        yield from sorted({path for name in names for path in mentions.of(name)} - set(files))


def _shows(path: str) -> bool:
    """Is it an example, perhaps of what a type checker has to refuse?"""
    return any(mark in folder for folder in path.lower().split("/")[:-1] for mark in ("example", "typing", "mypy"))


def _renamed(modules: Modules, path: str) -> set[str]:
    """What a module imports under another name."""
    places = bound(modules.tree.text(path)) or {}
    return {place.name for name, found in places.items() for place in found if place.name and place.name != name}


def _callee(modules: Modules, path: str, call: ast.Call, around: Around) -> Callee | None:
    """The function that a call certainly calls."""
    match call.func:
        case ast.Attribute(value=ast.Name(id="self"), attr=name) if _is_in_method(around):
            return _method(modules, path, around.owner, name)
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id=name)) if not around.hides(name):
            found = modules.called(path, call.func)
            return _constructor(found) or _function(found) if found else None
    return None


def _is_in_method(around: Around) -> bool:
    """Is `self` what it is called in a plain method?"""
    if around.owner is None or len(around.functions) != 1:
        return False
    method = around.functions[0]
    first = next(iter([*method.args.posonlyargs, *method.args.args]), None)
    assigned = (node.id for node in walk(method) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return not method.decorator_list and first is not None and first.arg == "self" and "self" not in assigned


def _function(found: Found) -> Callee | None:
    if isinstance(found.node, ast.ClassDef):
        return None
    return Callee(found.path, found.node.name, found.node)


def _constructor(found: Found) -> Callee | None:
    node = found.node
    if not isinstance(node, ast.ClassDef) or not _is_plain_class(node):
        return None
    methods = _methods(node)
    made = methods.get("__init__", [])
    if len(made) != 1 or "__new__" in methods:
        return None
    return Callee(found.path, node.name, made[0], is_bound=True)


def _method(modules: Modules, path: str, owner: ast.ClassDef | None, name: str) -> Callee | None:
    if owner is None or not _is_plain_class(owner):
        return None
    places = bound(modules.tree.text(path))
    if places is None or [place.node for place in places.get(owner.name, ())] != [owner]:
        return None
    found = _methods(owner).get(name, [])
    if len(found) != 1 or name in _stored(owner):
        return None
    return Callee(path, f"{owner.name}.{name}", found[0], is_bound=True)


def _is_plain_class(node: ast.ClassDef) -> bool:
    """Does it get its methods from nowhere else?"""
    return (
        not node.decorator_list
        and not node.keywords
        and all(isinstance(base, ast.Name) and base.id == "object" for base in node.bases)
    )


def _stored(node: ast.ClassDef) -> set[str]:
    """Names and attributes that are assigned somewhere in a class."""
    return {
        item.attr if isinstance(item, ast.Attribute) else item.id
        for item in walk(node)
        if isinstance(item, ast.Attribute | ast.Name) and isinstance(item.ctx, ast.Store)
    }


def _methods(node: ast.ClassDef) -> dict[str, list[FunctionNode]]:
    """By name, all that bind it; what binds it otherwise makes it two."""
    found: dict[str, list[FunctionNode]] = {}
    for item in walk(node):
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
            found.setdefault(item.name, []).append(item)
    return found


def _problem(callee: Callee, call: ast.Call, site: Site) -> str:
    """Why the call fails or does nothing; empty if it may be right."""
    return _misfit(callee, call) or (_not_awaited(callee) if site.is_dropped else "")


def _misfit(callee: Callee, call: ast.Call) -> str:
    """What the call gives or leaves out, as the words after `it`."""
    given = callee.node.args
    positional = callee.positional
    has_rest = any(isinstance(item, ast.Starred) for item in call.args) or any(k.arg is None for k in call.keywords)
    if any(isinstance(item, ast.Starred) for item in call.args):
        return ""
    if len(call.args) > len(positional) and not given.vararg:
        return f"passes {len(call.args)} arguments by position where it takes {len(positional)}"
    only_by_position = {item.arg for item in given.posonlyargs}
    by_keyword = ({*positional} - only_by_position) | {item.arg for item in given.kwonlyargs}
    names = [item.arg for item in call.keywords if item.arg]
    filled = set(positional[: len(call.args)])
    for name in names:
        if name not in by_keyword and not given.kwarg:
            return f"passes `{name}`, which it does not take"
        if name in filled and name in by_keyword:
            return f"passes `{name}` twice"
    if has_rest:
        return ""
    every = [*given.posonlyargs, *given.args]
    needed = [item.arg for item in every[: len(every) - len(given.defaults)]]
    needed = [name for name in needed if name in positional]
    needed += [item.arg for item, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None]
    missing = [name for name in needed if name not in filled and name not in names]
    return f"leaves out {', '.join(f'`{name}`' for name in missing)}" if missing else ""


def _not_awaited(callee: Callee) -> str:
    if not isinstance(callee.node, ast.AsyncFunctionDef):
        return ""
    is_generator = any(isinstance(node, ast.Yield | ast.YieldFrom) for node in walk(callee.node))
    return "" if is_generator else "does not await it, so that nothing of it is run"


def _swapped(callee: Callee, call: ast.Call, around: Around) -> tuple[str, str] | None:
    """Two arguments that are each called like the other's parameter."""
    if any(function is callee.node for function in around.functions):
        return None
    names = [item.id if isinstance(item, ast.Name) else "" for item in call.args]
    wanted = callee.positional
    for first, name in enumerate(names[: len(wanted)]):
        for second in range(first + 1, min(len(names), len(wanted))):
            if min(len(name), len(names[second])) < SHORTEST_NAME or name == names[second]:
                continue
            if name == wanted[second] and names[second] == wanted[first]:
                return name, names[second]
    return None


def _wrong(file: ChangedPath, call: ast.Call, callee: Callee, problem: str) -> Raised:
    is_await = problem.startswith("does not await")
    mend = "Put `await` before it." if is_await else f"Call it as `{_signature(callee)}`."
    ends = "" if is_await else ", which raises a TypeError"
    return Raised(
        rule="not-awaited" if is_await else "wrong-arguments",
        file=file.path,
        line=shown_at(file, call.lineno, call.end_lineno or call.lineno),
        severity="major",
        confidence=0.95,
        message=f"The call of `{callee.name}` ({callee.path}:{callee.node.lineno}) {problem}{ends}. {mend}",
    )


def _swap(file: ChangedPath, call: ast.Call, callee: Callee, names: tuple[str, str]) -> Raised:
    return Raised(
        rule="swapped-arguments",
        file=file.path,
        line=shown_at(file, call.lineno, call.end_lineno or call.lineno),
        severity="major",
        confidence=0.7,
        message=(
            f"`{names[0]}` and `{names[1]}` are given to `{callee.name}` in the wrong order: it takes "
            f"`{_signature(callee)}`. Swap them, or name them in the call if this is meant."
        ),
    )


def _left(file: ChangedPath, found: Sequence[tuple[Callee, str, int, str]]) -> Raised:
    callee, path, line, problem = found[0]
    more = f" ({len(found) - 1} more such calls)" if len(found) > 1 else ""
    is_await = problem.startswith("does not await")
    ends = "" if is_await else ", which raises a TypeError now"
    return Raised(
        rule="caller-not-awaiting" if is_await else "caller-left-behind",
        file=file.path,
        line=shown_at(file, callee.node.lineno, max(callee.node.body[0].lineno - 1, callee.node.lineno)),
        severity="major",
        confidence=0.95,
        message=(
            f"`{callee.name}` is called otherwise since this change, but {path}:{line} {problem}{ends}{more}. "
            "Change what calls it as well."
        ),
    )


def _signature(callee: Callee) -> str:
    given = callee.node.args
    names = callee.positional
    if given.vararg:
        names = [*names, f"*{given.vararg.arg}"]
    elif given.kwonlyargs:
        names = [*names, "*"]
    names = [*names, *(item.arg for item in given.kwonlyargs), *([f"**{given.kwarg.arg}"] if given.kwarg else [])]
    shown = f"{', '.join(names[:6])}, …" if len(names) > 6 else ", ".join(names)
    return f"{callee.name.rpartition('.')[2]}({shown})"
