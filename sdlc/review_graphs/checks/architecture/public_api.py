"""Names and parameters that a change takes away from those who use them, here or elsewhere."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from inspect import Parameter, Signature

from sdlc.review_graphs.checks.architecture.breaks import Break, Call, breaks_of
from sdlc.review_graphs.checks.architecture.calls import Given, misfit
from sdlc.review_graphs.checks.architecture.modules import parents
from sdlc.review_graphs.checks.architecture.names import Names
from sdlc.review_graphs.checks.architecture.places import line_on_head
from sdlc.review_graphs.checks.architecture.surface import Announcements, Surface
from sdlc.review_graphs.checks.architecture.uses import Use, uses
from sdlc.review_graphs.checks.base import ChangedPath, Raised, Trees, is_test

MOST_MINOR = 4
"""Findings for users elsewhere in one module; more are told as one."""
_MENDS = {
    "base": "Let it inherit of that as well",
    "module-removed": "Keep a module of that name that imports the new one and warns",
    "parameters": "Take the old form as well for a release",
    "removed": "Keep an alias that warns for a release",
}


class PublicApi:
    """What other code relies on and the change takes back.

    Where code of the repository still does, that is a mistake. Where only users elsewhere can, it is for people to
    decide; a package must be meant for them, and neither a deprecation nor the change's own news may have said so.
    """

    name = "public-api"
    required = True

    def looks_at(self, path: str) -> bool:
        return path.endswith(".py") and not is_test(path)

    def run(self, trees: Trees) -> Iterator[Raised]:
        files = [
            file for file in trees.files if file.old_path and self.looks_at(file.old_path) and not file.is_generated
        ]
        if files:
            yield from _Comparison(trees, files).run()


class _Comparison:
    def __init__(self, trees: Trees, files: Sequence[ChangedPath]) -> None:
        self._trees = trees
        self._base, self._head = Names(trees.base), Names(trees.head)
        self._files = {
            module: file for file in files if (module := self._base.layout.name_of.get(file.old_path)) is not None
        }

    def run(self) -> Iterator[Raised]:
        found = [item for module in self._files for item in self._breaks(module)]
        if not found:
            return
        used: dict[str, list[Use]] = defaultdict(list)
        for use in uses(self._head, {(item.module, item.name) for item in found}):
            used[use.dotted].append(use)
        rest: list[Break] = []
        for item in found:
            stumbling = [error for use in used[item.dotted] if (error := self._error(item, use))]
            if stumbling and not self._may_be_elsewhere(item):
                yield self._still_used(item, stumbling)
            else:
                rest.append(item)
        yield from self._for_others(rest)

    def _breaks(self, module: str) -> Iterator[Break]:
        if module in self._head.layout.path_of and module in self._base.layout.path_of:
            yield from breaks_of(module, self._base, self._head)
        elif self._files[module].old_path not in self._head.layout.name_of:
            package, _, name = module.rpartition(".")
            is_there = any(module in other.modules for other in self._head.layout.packages)
            if not is_there and not (package in self._head.layout.path_of and self._head.offers(package, name)):
                yield Break("module-removed", module, "", "is gone", "ImportError")

    # Users in the repository

    def _error(self, item: Break, use: Use) -> str:
        """What this use does now; empty where it still works, or may."""
        place = f"`{use.path}:{use.line}`"
        match item.rule:
            case "removed" | "module-removed" if use.how != "calls":
                return f"{place} still {use.how} it: {'ImportError' if use.how == 'imports' else 'AttributeError'}"
            case "kind" if "property now" in item.what and use.call is not None:
                return f"{place} still calls it: TypeError"
            case "parameters" if item.call and use.call and (error := self._cannot_call(item.call, use)):
                return f"{place} still calls it the old way: {error}"
        return ""

    def _cannot_call(self, call: Call, use: Use) -> str:
        given = _given(use.call) if use.call else None
        if use.call is None or given is None:
            return ""
        drop = call.drops_first and (use.is_bound or call.always_drops)
        before, now = (_without_first(signature) if drop else signature for signature in (call.before, call.now))
        error = misfit(given, before, now)
        file = self._trees.file(use.path)
        is_new = file is not None and file.has_added(use.call.lineno, use.call.end_lineno or use.call.lineno)
        # A new call that is taken means what it says.
        return "" if is_new and isinstance(given.taken_by(now), Mapping) else error

    def _may_be_elsewhere(self, item: Break) -> bool:
        """May a class that inherits of this one have the member? Its methods may be written with that in mind."""
        class_, _, member = item.name.rpartition(".")
        if item.rule != "removed" or not class_:
            return False
        for path in self._head.tree.paths:
            text = self._head.tree.text(path) or "" if path.endswith(".py") else ""
            if class_ in text and f"def {member}(" in text:
                return True
        return False

    def _still_used(self, item: Break, errors: Sequence[str]) -> Raised:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        message = (
            f"`{item.dotted}` {item.what}, but {errors[0]}{more}. Change that as well, or keep the old way working."
        )
        file, line = self._place(item)
        return Raised(f"{item.rule}-in-use", file, line, "major", message)

    # Users elsewhere

    def _for_others(self, rest: Sequence[Break]) -> Iterator[Raised]:
        surface, announced = Surface(self._base), Announcements(self._trees)
        by_place: dict[str, list[Break]] = defaultdict(list)
        told: set[str] = set()
        for item in rest:
            if not surface.has(item.module, item.name, is_value=item.is_value) or self._is_announced(announced, item):
                continue
            if item.rule in ("removed", "module-removed") and self._is_exported_still(surface, item):
                continue
            # An exported name and what it is exported from are one thing, which is shown where it was.
            origin = self._base.lead(item.dotted)
            if origin != item.dotted and any(other.dotted == origin for other in rest):
                continue
            if not told.isdisjoint(parents(item.dotted)):
                continue
            told.add(item.dotted)
            by_place[item.module if item.name else item.module.rpartition(".")[0]].append(item)
        for place, items in by_place.items():
            if len(items) > MOST_MINOR:
                yield self._for_others_together(place, items)
            else:
                yield from map(self._for_others_alone, items)

    def _is_exported_still(self, surface: Surface, item: Break) -> bool:
        """Has it only moved behind the names by which it is meant to be used?"""
        names = surface.only_exported_as(item.dotted)
        return bool(names) and all(self._head.offers(*name.rpartition(".")[::2]) for name in names)

    def _is_announced(self, announced: Announcements, item: Break) -> bool:
        path = self._base.layout.path_of.get(item.module, "")
        node = self._base.definition(item.module, item.name) if item.name else None
        names = {(item.name or item.module).rpartition(".")[2], *item.parameters}
        return any(announced.covers(name, node, path) for name in names)

    def _for_others_alone(self, item: Break) -> Raised:
        file, line = self._place(item)
        message = (
            f"`{item.dotted}` {item.what}{self._now_at(item)}: users outside this repository get {item.how}. "
            f"{_MENDS.get(item.rule, 'Keep the old way working for a release')}, or say so in the changelog."
        )
        return Raised(item.rule, file, line, "minor", message)

    def _for_others_together(self, place: str, items: Sequence[Break]) -> Raised:
        file, line = self._place(items[0])
        names = [f"`{item.dotted.removeprefix(f'{place}.')}`" for item in items]
        message = (
            f"`{place}` takes back {len(items)} public names or parameters ({', '.join(names[:5])}"
            f"{', …' if len(names) > 5 else ''}), which breaks users outside this repository. Keep the old way working "
            "for a release, or say so in the changelog."
        )
        return Raised("several", file, line, "minor", message)

    def _now_at(self, item: Break) -> str:
        if item.rule == "module-removed":
            file = self._files[item.module]
            now = self._head.layout.name_of.get(file.path) if file.status == "R" else None
            return f" (it is `{now}` now)" if now else ""
        if item.rule == "removed" and "." not in item.name:
            for file in self._trees.present:
                module = self._head.layout.name_of.get(file.path, "")
                bound = self._head.of(module)
                if bound and item.name in bound.defined and module != item.module:
                    return f" (it is in `{module}` now)"
        return ""

    def _place(self, item: Break) -> tuple[str, int]:
        """Where on the head it has happened: a line that the change adds, or the one after what it took away."""
        file = self._files[item.module]
        path = self._head.layout.path_of.get(item.module, "")
        now = self._trees.file(path)
        if now is None:
            return self._place_of_module(item.module, file)
        if item.base_line:
            return path, line_on_head(self._trees, now, item.base_line)
        first, last = item.head_lines
        return path, next((line for line in range(first, last + 1) if now.has_added(line)), first)

    def _place_of_module(self, module: str, file: ChangedPath) -> tuple[str, int]:
        """The new path of a module that is gone; else what is left near it; else where it was."""
        if file.status == "R":
            return file.path, 1
        folder = file.path.rpartition("/")[0]
        near = [other for other in self._trees.present if other.path.startswith(f"{folder}/") and other.added]
        best = sorted(near, key=lambda other: (not other.path.endswith("__init__.py"), other.path))
        return (best[0].path, best[0].first_added) if best else (file.path, 1)


def _given(call: ast.Call) -> Given | None:
    """None where it is not written down what the call gives."""
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return None
    if any(keyword.arg is None for keyword in call.keywords):
        return None
    return Given(len(call.args), tuple(keyword.arg for keyword in call.keywords if keyword.arg))


def _without_first(signature: Signature) -> Signature:
    """As a method is called on an object."""
    parameters = list(signature.parameters.values())
    has_first = parameters and parameters[0].kind is not Parameter.VAR_POSITIONAL
    return signature.replace(parameters=parameters[1:] if has_first else parameters)
