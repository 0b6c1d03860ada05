"""What of a module's names, parameters and bases a change takes back: what griffe finds in one module of two commits.

All names count here, private ones too: whether anybody can miss them is asked elsewhere.
"""

from __future__ import annotations

import ast
import builtins
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING

from sdlc.review_graphs.checks.architecture.calls import all_fit
from sdlc.review_graphs.checks.architecture.names import Names
from sdlc.review_graphs.checks.architecture.syntax import Definition, at_top, targets

if TYPE_CHECKING:
    import griffe

_PLAIN_DECORATORS = frozenset(
    {
        "abstractmethod",
        "asynccontextmanager",
        "cache",
        "classmethod",
        "contextmanager",
        "final",
        "lru_cache",
        "override",
        "staticmethod",
    }
)
"""Those that leave a function what it takes."""
_KINDS = {
    "positional-only": Parameter.POSITIONAL_ONLY,
    "positional or keyword": Parameter.POSITIONAL_OR_KEYWORD,
    "variadic positional": Parameter.VAR_POSITIONAL,
    "keyword-only": Parameter.KEYWORD_ONLY,
    "variadic keyword": Parameter.VAR_KEYWORD,
}
_MADE_BY_PYTHON = frozenset(
    {
        "__all__",
        "__annotations__",
        "__del__",
        "__doc__",
        "__hash__",
        "__init__",
        "__post_init__",
        "__repr__",
        "__slots__",
        "__str__",
    }
)


@dataclass(frozen=True)
class Call:
    """How a function is called before and after."""

    before: Signature
    now: Signature
    drops_first: bool
    """A method, whose first parameter is given when it is called on an object."""
    always_drops: bool
    """A class method, or the constructor of a class."""


@dataclass(frozen=True)
class Break:
    """Something that a user of the name may stumble over."""

    rule: str
    module: str
    name: str
    """In the module, such as `total` or `Cart.add`."""
    what: str
    """What has happened, as the rest of a sentence that begins with the name."""
    how: str
    """The error that its users get."""
    base_line: int = 0
    """Where it was on the base; 0 for what is still there."""
    head_lines: tuple[int, int] = (0, 0)
    """The head of what it is now."""
    call: Call | None = None
    parameters: frozenset[str] = frozenset()
    is_value: bool = False
    """Neither function nor class nor module."""

    @property
    def dotted(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


def breaks_of(module: str, base: Names, head: Names) -> Iterator[Break]:
    """What a change takes back of a module that is on both sides."""
    old, new = base.syntax(module), head.syntax(module)
    # Most changes are made within functions; of these griffe need not be asked.
    if old is None or new is None or _outline(old.body) == _outline(new.body):
        return
    before, now = _visited(base, module), _visited(head, module)
    if before is not None and now is not None:
        yield from _compared(module, before, now, base, head)
        yield from _lost_bases(module, base, head)


def _outline(body: list[ast.stmt]) -> list[object]:
    """All that code elsewhere can see of a module or a class."""
    found: list[object] = []
    for statement in at_top(body):
        match statement:
            case ast.ClassDef():
                outside = [*statement.bases, *statement.keywords, *statement.decorator_list]
                found.append((statement.name, *map(ast.dump, outside), _outline(statement.body)))
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                stores = (node for node in ast.walk(statement) if isinstance(node, ast.Attribute | ast.Global))
                stored = {ast.dump(node) for node in stores if not isinstance(getattr(node, "ctx", None), ast.Load)}
                outside = [statement.args, *statement.decorator_list]
                found.append((statement.name, *map(ast.dump, outside), stored))
            case ast.AnnAssign():
                # What `field()` is given decides whether the constructor takes it.
                value = ast.dump(statement.value) if isinstance(statement.value, ast.Call) else statement.value is None
                found.append((*targets(statement), value))
            case _:
                found += sorted(targets(statement))
    return found


def _visited(names: Names, module: str) -> griffe.Module | None:
    import griffe

    # It warns of what it can't follow, and nobody reads that.
    logging.getLogger("griffe").setLevel(logging.CRITICAL)
    if names.of(module) is None:
        return None
    text = names.tree.text(names.layout.path_of[module]) or ""
    try:
        found = griffe.visit(module, Path(f"{module}.py"), text.removeprefix("\ufeff"), extensions=griffe.Extensions())
        griffe.DataclassesExtension().on_package(pkg=found)
    except (SyntaxError, ValueError, RecursionError, KeyError, AttributeError):
        return None
    _publish(found)
    return found


def _publish(found: griffe.Module | griffe.Class) -> None:
    for member in found.members.values():
        member.public = True
        if not member.is_alias and member.is_class:
            _publish(member)  # type: ignore[arg-type]


def _compared(module: str, before: griffe.Module, now: griffe.Module, base: Names, head: Names) -> Iterator[Break]:
    import griffe

    parameters: dict[str, list[griffe.Breakage]] = {}
    for breakage in griffe.find_breaking_changes(before, now):
        name = breakage.obj.path.removeprefix(f"{module}.")
        match breakage.kind:
            case griffe.BreakageKind.OBJECT_REMOVED:
                if _is_gone(head, module, name):
                    yield _removed(module, name, breakage.obj, base)
            case griffe.BreakageKind.OBJECT_CHANGED_KIND:
                yield from _other_kind(module, name, before[name], now[name], head)
            case (
                griffe.BreakageKind.PARAMETER_REMOVED
                | griffe.BreakageKind.PARAMETER_MOVED
                | griffe.BreakageKind.PARAMETER_CHANGED_KIND
                | griffe.BreakageKind.PARAMETER_CHANGED_REQUIRED
                | griffe.BreakageKind.PARAMETER_ADDED_REQUIRED
            ):
                parameters.setdefault(name, []).append(breakage)
    for name, found in parameters.items():
        yield from _other_parameters(module, name, before[name], now[name], found, head)


def _removed(module: str, name: str, obj: griffe.Object | griffe.Alias, base: Names) -> Break:
    node = base.definition(module, name)
    line = node.lineno if node else 0 if obj.is_alias else obj.lineno
    is_value = "." not in name and not obj.is_alias and obj.is_attribute
    how = "AttributeError" if "." in name else "ImportError"
    return Break("removed", module, name, "is gone", how, base_line=line or 1, is_value=is_value)


def _is_gone(head: Names, module: str, name: str) -> bool:
    """Certainly? A name may come from elsewhere, a member from a class above."""
    *outer, last = name.split(".")
    if last in _MADE_BY_PYTHON:
        return False
    if not outer:
        return not head.offers(module, last)
    class_ = f"{module}.{'.'.join(outer)}"
    ancestors = head.ancestors(class_) if head.class_of(class_) else None
    return ancestors is not None and not any(head.has_member(ancestor, last) for ancestor in ancestors)


def _other_kind(
    module: str, name: str, before: griffe.Object | griffe.Alias, now: griffe.Object | griffe.Alias, head: Names
) -> Iterator[Break]:
    """What must be used in another way: calls and constants mostly still work, so that few are left."""
    is_member = "." in name
    if is_member and before.is_function and "property" in now.labels:
        what, how = "is a property now, and no method", "TypeError when they call it"
    elif is_member and "property" in before.labels and now.is_function:
        what, how = "is a method now, and no property", "a method in place of the value"
    elif before.is_class and now.is_function:
        what, how = "is a function now, and no class", "TypeError from isinstance() and `except`"
    else:
        return
    yield Break("kind", module, name, what, how, head_lines=_head_of(head.definition(module, name)))


def _other_parameters(
    module: str,
    name: str,
    before: griffe.Object | griffe.Alias,
    now: griffe.Object | griffe.Alias,
    found: list[griffe.Breakage],
    head: Names,
) -> Iterator[Break]:
    import griffe

    if not isinstance(before, griffe.Function) or not isinstance(now, griffe.Function):
        return
    old, new = _signature(before), _signature(now)
    if old is None or new is None or not _is_plain(before) or not _is_plain(now) or all_fit(old, new):
        return
    is_method = "." in name and "staticmethod" not in now.labels
    is_constructor = is_method and now.name == "__init__"
    shown = name.removesuffix(".__init__") if is_constructor else name
    # Python makes the constructor of a data class of its fields.
    is_made = head.definition(module, name) is None
    yield Break(
        "parameters",
        module,
        shown,
        _told(found),
        "other values than they mean" if all(_is_moved(item) for item in found) else "TypeError",
        head_lines=_whole(head.definition(module, shown)) if is_made else _head_of(head.definition(module, name)),
        call=Call(old, new, drops_first=is_method, always_drops=is_constructor or "classmethod" in now.labels),
        parameters=frozenset(str(value.name) for item in found for value in (item.old_value, item.new_value) if value),
    )


def _is_moved(breakage: griffe.Breakage) -> bool:
    import griffe

    return breakage.kind is griffe.BreakageKind.PARAMETER_MOVED


def _head_of(node: ast.stmt | None) -> tuple[int, int]:
    """The lines of a definition up to its body."""
    if isinstance(node, Definition):
        return node.lineno, max(node.lineno, node.body[0].lineno - 1)
    return _whole(node)


def _whole(node: ast.stmt | None) -> tuple[int, int]:
    return (node.lineno, node.end_lineno or node.lineno) if node else (1, 1)


def _is_plain(function: griffe.Function) -> bool:
    names = {str(decorator.value).partition("(")[0].rpartition(".")[2] for decorator in function.decorators}
    return names <= _PLAIN_DECORATORS


def _signature(function: griffe.Function) -> Signature | None:
    """None for what Python itself would not take."""
    try:
        return Signature(
            [
                Parameter(item.name, _KINDS[item.kind.value], default=Parameter.empty if item.required else None)
                for item in function.parameters
                if item.kind is not None
            ]
        )
    except ValueError:
        return None


def _told(found: list[griffe.Breakage]) -> str:
    import griffe

    parts: list[str] = []
    gone = [item.old_value.name for item in found if item.kind is griffe.BreakageKind.PARAMETER_REMOVED]
    needed = [
        (item.new_value or item.old_value).name
        for item in found
        if item.kind in (griffe.BreakageKind.PARAMETER_ADDED_REQUIRED, griffe.BreakageKind.PARAMETER_CHANGED_REQUIRED)
    ]
    moved = [item.old_value.name for item in found if item.kind is griffe.BreakageKind.PARAMETER_MOVED]
    other = [item.new_value for item in found if item.kind is griffe.BreakageKind.PARAMETER_CHANGED_KIND]
    if gone:
        parts.append(f"no longer takes {_listed(gone)}")
    if needed:
        parts.append(f"needs {_listed(needed)}")
    if moved and not (gone or needed):
        parts.append(f"takes {_listed(moved)} at another position")
    for kind, word in (("keyword-only", "by name"), ("positional-only", "by position")):
        if names := [value.name for value in other if value.kind.value == kind]:
            parts.append(f"takes {_listed(names)} {word} only")
    return " and ".join(parts[:2]) or "takes other parameters"


def _listed(names: list[str]) -> str:
    shown = [f"`{name}`" for name in dict.fromkeys(names)]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _lost_bases(module: str, base: Names, head: Names) -> Iterator[Break]:
    """Classes that are no longer what `except` and `isinstance` have taken them for."""
    before, now = base.of(module), head.of(module)
    for name, node in now.defined.items() if before and now else ():
        old = before.defined.get(name) if before else None
        if not isinstance(node, ast.ClassDef) or not isinstance(old, ast.ClassDef):
            continue
        if [ast.dump(item) for item in old.bases] == [ast.dump(item) for item in node.bases]:
            continue
        had, has = base.ancestors(f"{module}.{name}"), head.ancestors(f"{module}.{name}")
        lost = sorted(item for item in (had or frozenset()) - has if _is_caught(item, head)) if has is not None else []
        if lost:
            shown = _listed([item.rpartition(".")[2] for item in lost])
            what = f"is no {shown} any more"
            how = "no match where they catch it or ask isinstance()"
            yield Break("base", module, name, what, how, head_lines=(node.lineno, node.lineno))


def _is_caught(dotted: str, head: Names) -> bool:
    """Do `except` and `isinstance` ask for it? Not for what is gone itself, nor for mixins."""
    if dotted.startswith("builtins."):
        found = getattr(builtins, dotted.removeprefix("builtins."), None)
        return isinstance(found, type) and issubclass(found, BaseException)
    return head.class_of(dotted) is not None and not dotted.rpartition(".")[2].startswith("_") and "Mixin" not in dotted
