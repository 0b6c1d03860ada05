"""Python: what comes with a request and goes straight to where it can do harm.

Only what can be seen within one function, on a value that nothing looks at in between: a test of it, or another
function that is given it, may be the check that is asked for.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator

from sdlc.review_graphs.checks.base import Level
from sdlc.review_graphs.checks.security.python_module import Function, Module, decorators, keyword, risk, text_of
from sdlc.review_graphs.checks.security.risk import Risk

_SOURCES = frozenset(
    [
        "args",
        "form",
        "values",
        "json",
        "data",
        "files",
        "cookies",
        "GET",
        "POST",
        "FILES",
        "COOKIES",
        "query_params",
        "path_params",
        "match_info",
        "query",
        "get_json",
        "get_data",
        "body",
    ]
)
_TEXT_METHODS = frozenset(
    [
        "get",
        "getlist",
        "getfirst",
        "strip",
        "lstrip",
        "rstrip",
        "lower",
        "upper",
        "decode",
        "removesuffix",
        "removeprefix",
    ]
)
_JOINS = frozenset({"os.path.join", "pathlib.Path", "Path", "str", "posixpath.join"})
_OPENS = frozenset(
    [
        "open",
        "io.open",
        "flask.send_file",
        "send_file",
        "fastapi.responses.FileResponse",
        "starlette.responses.FileResponse",
        "django.http.FileResponse",
        "os.remove",
        "os.unlink",
        "shutil.rmtree",
    ]
)
_FILE_METHODS = frozenset(["read_text", "read_bytes", "write_text", "write_bytes", "unlink", "open"])
_REDIRECTS = frozenset(
    [
        "flask.redirect",
        "werkzeug.utils.redirect",
        "django.shortcuts.redirect",
        "django.http.HttpResponseRedirect",
        "fastapi.responses.RedirectResponse",
        "starlette.responses.RedirectResponse",
    ]
)
_FETCHES = re.compile(
    r"^(?:requests|httpx)\.(?:get|post|put|delete|patch|head|request)$|^urllib\.request\.(?:urlopen|urlretrieve)$"
)
_TEMPLATES = frozenset({"flask.render_template_string", "jinja2.Template"})
_HTML = re.compile(r"<\w+[^>]*>")
_ROUTE = re.compile(r"\.(?:route|get|post|put|patch|delete)\(")

_MESSAGES: dict[str, tuple[Level, str]] = {
    "path-from-request": (
        "major",
        "The path comes with the request, so `../` in it leads to any file that the service may read or write. Look the"
        " name up in a list, or compare the resolved path with the folder (`is_relative_to`).",
    ),
    "redirect-from-request": (
        "major",
        "The address comes with the request, so a link to this site can lead people on to another that looks the same."
        " Take paths of this site alone, or look the target up in a list.",
    ),
    "url-from-request": (
        "major",
        "The address comes with the request, so the service can be made to ask hosts that only it can reach, such as"
        " the metadata of the cloud. Compare the host with a list.",
    ),
    "template-from-request": (
        "blocker",
        "The template comes with the request, and templates run code: `{{ ''.__class__ … }}` leads to any function. Use"
        " a fixed template and give it the value.",
    ),
    "html-from-request": (
        "major",
        "What comes with the request is written into HTML as it is, so a link can run a script in the page. Use a"
        " template, or `escape()` it.",
    ),
}


def request_risks(module: Module) -> Iterator[Risk]:
    for call, name in module.calls:
        rule = _rule(module, call, name)
        if rule:
            level, message = _MESSAGES[rule]
            yield risk(rule, level, message, call)
    for function in module.functions:
        if any(_ROUTE.search(decorator) for decorator in decorators(function)) and module.imports("flask", "quart"):
            yield from _returned_html(module, function)


def archive_risks(module: Module, pyproject: str | None) -> Iterator[Risk]:
    """Tar archives that may write where they like. From Python 3.14 on they may not."""
    if _oldest_python(pyproject) >= 14:
        return
    for call, _ in module.calls:
        if not isinstance(call.func, ast.Attribute) or call.func.attr != "extractall":
            continue
        opened = module.resolved(call.func.value)
        name = module.full(opened.func) if isinstance(opened, ast.Call) else ""
        if name not in ("tarfile.open", "tarfile.TarFile", "tarfile.TarFile.open"):
            continue
        scope = module.scope(call)
        looks = any(
            isinstance(node, ast.Attribute) and node.attr in ("getmembers", "getnames") for node in ast.walk(scope)
        )
        if keyword(call, "filter") or keyword(call, "members") or len(call.args) > 1 or looks:
            continue
        yield risk(
            "archive-outside",
            "major",
            "Members of the archive that are called `../…`, or links in it, are written outside the folder. Say"
            ' `filter="data"`.',
            call,
        )


def document_risks(module: Module) -> Iterator[Risk]:
    """`yaml.unsafe_load`, of which bandit knows only the longer form."""
    for call, name in module.calls:
        if name in ("yaml.unsafe_load", "yaml.unsafe_load_all"):
            yield risk(
                "unsafe-yaml",
                "major",
                "Whoever can write what is read here has code of their own run: `!!python/object` makes any object. Use"
                " `yaml.safe_load`.",
                call,
                0.9,
            )


def _oldest_python(pyproject: str | None) -> int:
    try:
        declared = str(tomllib.loads(pyproject or "").get("project", {}).get("requires-python", ""))
    except (ValueError, AttributeError):
        return 0
    found = re.search(r">=\s*3\.(\d+)", declared)
    return int(found[1]) if found else 0


def _rule(module: Module, call: ast.Call, name: str) -> str:
    first = call.args[0] if call.args else None
    if isinstance(call.func, ast.Attribute) and call.func.attr in _FILE_METHODS and _is_path(module, call.func.value):
        return "path-from-request" if _comes_with_request(module, call.func.value, call) else ""
    if first is None:
        return ""
    if name in _OPENS:
        return "path-from-request" if _comes_with_request(module, first, call) else ""
    if name in _TEMPLATES:
        return "template-from-request" if _comes_with_request(module, first, call) else ""
    if name in _REDIRECTS:
        return "redirect-from-request" if _comes_with_request(module, first, call, from_start=True) else ""
    if _FETCHES.match(name):
        address = call.args[1] if name.endswith(".request") and len(call.args) > 1 else first
        return "url-from-request" if _comes_with_request(module, address, call, from_start=True) else ""
    return ""


def _returned_html(module: Module, function: Function) -> Iterator[Risk]:
    for node in ast.walk(function):
        text = node.value if isinstance(node, ast.Return) else None
        if not isinstance(text, ast.JoinedStr) or not any(_HTML.search(text_of(part)) for part in text.values):
            continue
        values = [part.value for part in text.values if isinstance(part, ast.FormattedValue)]
        if any(_comes_with_request(module, value, text) for value in values):
            level, message = _MESSAGES["html-from-request"]
            yield risk("html-from-request", level, message, node)


def _is_path(module: Module, node: ast.expr) -> bool:
    """Something that reads like a path: `Path(…)`, `FOLDER / name`."""
    if isinstance(node, ast.Call):
        return module.full(node.func) in ("pathlib.Path", "Path")
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)


def _comes_with_request(module: Module, node: ast.expr, sink: ast.AST, *, from_start: bool = False) -> bool:
    """Is the value, or a part of it, what the request brought? `from_start`: the part that decides about the host."""
    if _is_source(node):
        return True
    if isinstance(node, ast.Name):
        return _is_unchecked(module, node, sink)
    if isinstance(node, ast.BoolOp):
        return any(_comes_with_request(module, value, sink, from_start=from_start) for value in node.values)
    parts: list[ast.expr] = []
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.FormattedValue) else part for part in node.values]
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Div):
        parts = [node.left, node.right]
    elif isinstance(node, ast.Call) and module.full(node.func) in _JOINS:
        parts = list(node.args)
    elif isinstance(node, ast.Await):
        parts = [node.value]
    if from_start:
        # `https://host/…` says where it goes, and so does a path of this site; `https://` alone does not.
        parts = parts[1:2] if parts and re.fullmatch(r"(?:https?:)?//", text_of(parts[0])) else parts[:1]
    return any(_comes_with_request(module, part, sink) for part in parts)


def _is_source(node: ast.AST) -> bool:
    """`request.args["x"]`, `request.GET.get("x").strip()`, `self.request.form["x"]`."""
    while True:
        if isinstance(node, ast.Await):
            node = node.value
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr in _TEXT_METHODS | _SOURCES:
                node = node.func
            else:
                return False
        elif isinstance(node, ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Attribute):
            if node.attr in _SOURCES and _is_request(node.value):
                return True
            if node.attr not in _TEXT_METHODS:
                return False
            node = node.value
        else:
            return False


def _is_request(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "request"
    return isinstance(node, ast.Name) and node.id == "request"


def _is_unchecked(module: Module, name: ast.Name, sink: ast.AST) -> bool:
    """Was it given what the request brought, and does nothing look at it between that and the sink?"""
    function = module.function(name)
    if function is None:
        return False
    given = module.given(name.id, function)
    taken = [
        value
        for value in given
        if _is_source(value) or (isinstance(value, ast.BoolOp) and any(map(_is_source, value.values)))
    ]
    others = [value for value in given if value not in taken and not isinstance(value, ast.Constant)]
    if not taken or others:
        return False
    inside = {id(node) for node in ast.walk(sink)}
    return not any(
        _looks_at(node, name.id) for node in ast.walk(function) if id(node) not in inside and sink not in ast.walk(node)
    ) and not any(_tests(node, name.id) for node in ast.walk(function))


def _looks_at(node: ast.AST, name: str) -> bool:
    """A call that is given the name, other than to put a text or a path together."""
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    if called in _JOINS or called.rpartition(".")[2] in ("join", "Path", "info", "debug", "warning", "print", "format"):
        return False
    return any(_mentions(argument, name) for argument in (*node.args, *(item.value for item in node.keywords)))


def _tests(node: ast.AST, name: str) -> bool:
    """A condition on the name, other than whether there is any."""
    test = getattr(node, "test", None)
    if isinstance(node, ast.comprehension):
        return any(_mentions(condition, name) for condition in node.ifs)
    if isinstance(node, ast.Match):
        return _mentions(node.subject, name)
    if not isinstance(test, ast.expr) or not _mentions(test, name):
        return False
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test = test.operand
    is_presence = isinstance(test, ast.Name) or (
        isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Is | ast.IsNot)
    )
    return not is_presence


def _mentions(node: ast.AST, name: str) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(node))
