"""Values that are dropped, missing, or not what the name says."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from sdlc.review_graphs.checks.quality.assertions import BROAD, name_of
from sdlc.review_graphs.checks.quality.mistake import IsTouched, Mistake, lines_of
from sdlc.review_graphs.checks.quality.modules import bound, names_inside
from sdlc.review_graphs.checks.quality.source import FunctionNode, nodes, walk

_LOOKED_AT = (ast.Expr, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Try)
_OF_TEXTS = frozenset({"strip", "lstrip", "rstrip", "casefold", "capitalize", "removeprefix", "removesuffix", "zfill"})
"""Methods of `str` that give a new text, and that are called like nothing that changes anything."""
_OF_TEXTS_ALONE = _OF_TEXTS | {"lower", "upper", "replace", "title", "format", "ljust", "rjust", "center", "translate"}
"""Those that say so only of what is certainly a text: a window may be lowered, and a file replaced."""
_IN_PLACE = frozenset({"sort", "reverse", "append", "extend", "insert", "remove", "clear"})
_COROUTINES = frozenset({"sleep", "wait_for", "wait", "to_thread", "open_connection"})
_FIELD = re.compile(r"(?<!\{)\{([A-Za-z_]\w*)(?:\.\w+)*(?:![rsa])?(?::[^{}]*)?\}(?!\})")
_LOGGING = frozenset({"debug", "info", "warning", "error", "exception", "critical"})


def values(text: str, is_touched: IsTouched) -> Iterator[Mistake]:
    names = bound(text) or {}
    asyncio = names.get("asyncio", ())
    has_asyncio = len(asyncio) == 1 and isinstance(asyncio[0].node, ast.Import)
    for node in nodes(text):
        if not isinstance(node, _LOOKED_AT) or not is_touched(node):
            continue
        match node:
            case ast.Expr(value=ast.Call() as call):
                yield from _dropped(call, frozenset(names), has_asyncio=has_asyncio)
            case ast.ClassDef():
                yield from _without_self(node, text)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _of_function(node)
            case ast.Try():
                yield from _swallowing(node)


def _dropped(call: ast.Call, shadowed: frozenset[str], *, has_asyncio: bool) -> Iterator[Mistake]:
    match call.func:
        case ast.Name(id=("sorted" | "reversed") as name) if name not in shadowed and len(call.args) == 1:
            yield Mistake(
                "result-dropped",
                call.lineno,
                f"`{name}` gives a new list and leaves the old one as it is; nothing takes it here, so this does "
                "nothing. Assign it, or change the list itself.",
                touches=lines_of(call),
            )
        case ast.Attribute(value=ast.Name(id="asyncio"), attr=name) if has_asyncio and name in _COROUTINES:
            yield Mistake(
                "not-awaited",
                call.lineno,
                f"`asyncio.{name}` does nothing until it is awaited, and nothing awaits it. Put `await` before it.",
                touches=lines_of(call),
            )
        case ast.Attribute(attr=name) if name in _OF_TEXTS:
            yield _new_text(call, name, 0.85)


def _of_function(function: FunctionNode) -> Iterator[Mistake]:
    for node in walk(function):
        match node:
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=of), attr=name)) as call):
                if name in _OF_TEXTS_ALONE - _OF_TEXTS and of in _texts(function):
                    yield _new_text(call, name, 0.95)
            case ast.Assign(value=value) | ast.Return(value=ast.expr() as value) if _changed(value):
                yield from _nothing_assigned(function, node, value)
            case ast.Raise() | ast.Call():
                yield from _not_formatted(function, node)


def _new_text(call: ast.Call, name: str, confidence: float) -> Mistake:
    message = (
        f"`{name}` gives a new text and leaves the old one as it is; nothing takes it here, so this does nothing. "
        "Assign it."
    )
    return Mistake("result-dropped", call.lineno, message, lines_of(call), confidence=confidence)


def _texts(function: FunctionNode) -> set[str]:
    """Variables that are certainly texts: parameters that say so, and what is assigned nothing else."""
    given = [item for item in walk(function.args) if isinstance(item, ast.arg)]
    said = {item.arg for item in given if isinstance(item.annotation, ast.Name) and item.annotation.id == "str"}
    stored = {node.id for node in walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return (said - stored) | _assigned_only(function, lambda name, value: _is_text(value))


def _assigned_only(function: FunctionNode, is_one: Callable[[str, ast.expr], bool]) -> set[str]:
    """The variables that get their values from nothing but plain assignments of a kind."""
    other = {item.arg for item in walk(function) if isinstance(item, ast.arg)}
    assigned: dict[str, list[ast.expr]] = {}
    stored: Counter[str] = Counter()
    for node in walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            stored[node.id] += 1
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            assigned.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            other.update(node.names)
    return {
        name
        for name, found in assigned.items()
        if name not in other and stored[name] == len(found) and all(is_one(name, value) for value in found)
    }


def _is_text(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr() | ast.Call(func=ast.Name(id="str")):
            return True
    return False


def _without_self(node: ast.ClassDef, text: str) -> Iterator[Mistake]:
    """A method without any parameter, which fails when it is called on an object."""
    if node.bases or node.keywords or node.decorator_list:
        return
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
    if not any(item.args.args[:1] and item.args.args[0].arg == "self" for item in methods):
        return  # a class that only holds functions together
    used = {item.id for part in node.body for item in walk(part) if isinstance(item, ast.Name)}
    used |= {item.attr for item in nodes(text) if isinstance(item, ast.Attribute) and name_of(item.value) == node.name}
    for item in methods:
        given = item.args
        if item.decorator_list or item.name in used or given.args or given.posonlyargs or given.vararg:
            continue
        yield Mistake(
            "no-self",
            item.lineno,
            f"`{node.name}.{item.name}` takes no `self`, so calling it on an object raises a TypeError. "
            "Add `self`, or make it a `staticmethod`.",
            touches=((item.lineno, item.lineno),),
        )


def _nothing_assigned(function: FunctionNode, node: ast.Assign | ast.Return, value: ast.expr) -> Iterator[Mistake]:
    """`xs = xs.sort()` of what is certainly a list."""
    lists = _assigned_only(function, lambda name, value: _is_list(value) or _changed(value) == name)
    name, method = _changed(value), name_of(getattr(value, "func", value))
    # `return xs.clear()` may mean to return nothing.
    if name in lists and (isinstance(node, ast.Assign) or method in ("sort", "reverse")):
        yield Mistake(
            "nothing-assigned",
            node.lineno,
            f"The list `{name}` is changed in its place by this call, which gives None: that is what is "
            f"{'returned' if isinstance(node, ast.Return) else 'assigned'}. Call it on a line of its own.",
            touches=lines_of(node),
        )


def _is_list(node: ast.expr) -> bool:
    match node:
        case ast.List() | ast.ListComp() | ast.Call(func=ast.Name(id="list" | "sorted")):
            return True
    return False


def _changed(node: ast.expr) -> str:
    """The name of what a call such as `xs.sort()` changes in its place."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in _IN_PLACE:
            return name
    return ""


def _not_formatted(function: FunctionNode, node: ast.Raise | ast.Call) -> Iterator[Mistake]:
    """A text with `{name}` of a variable that is there, told to people as it stands."""
    for text in _told(node):
        fields = _FIELD.findall(str(text.value))
        if fields and names_inside(function).issuperset(fields):
            yield Mistake(
                "not-formatted",
                text.lineno,
                f"The text has `{{{fields[0]}}}` in it and no `f` before it, so people read the braces and not the "
                "value. Make it an f-string.",
                severity="minor",
                confidence=0.9,
                touches=lines_of(text),
            )


def _told(node: ast.AST) -> Sequence[ast.Constant]:
    """The one text that a raised error, a print or a log gets."""
    match node:
        case ast.Raise(exc=ast.Call(args=[ast.Constant(value=str()) as text], keywords=[])):
            return [text]
        case ast.Call(func=ast.Name(id="print"), args=[ast.Constant(value=str()) as text], keywords=[]):
            return [text]
        case ast.Call(
            func=ast.Attribute(value=of, attr=name), args=[ast.Constant(value=str()) as text], keywords=[]
        ) if name in _LOGGING and name_of(of).lower().strip("_") in ("log", "logger", "logging"):
            return [text]
    return []


def _swallowing(node: ast.Try) -> Iterator[Mistake]:
    """`except Exception: pass` around more than one thing that may go wrong."""
    if len(node.body) < 2:
        return
    for handler in node.handlers:
        is_broad = isinstance(handler.type, ast.Name) and handler.type.id in BROAD
        if is_broad and all(isinstance(item, ast.Pass | ast.Continue) for item in handler.body):
            last = node.body[-1].end_lineno or node.body[-1].lineno
            yield Mistake(
                "swallowed",
                handler.lineno,
                f"Whatever goes wrong on lines {node.body[0].lineno} to {last} is passed over without a word, a "
                "mistake in the code too, and what follows works with half of it. Catch what is expected, or log it.",
                severity="minor",
                confidence=0.8,
                touches=lines_of(handler),
            )
