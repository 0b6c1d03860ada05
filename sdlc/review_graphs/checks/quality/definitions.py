"""What a module defines that is dead once nobody uses its name: neither called by convention, nor by a framework."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sdlc.review_graphs.checks.base import Tree
from sdlc.review_graphs.checks.quality.source import Definition, listed, parsed

_PLAIN_DECORATORS = listed(
    "staticmethod classmethod property cached_property lru_cache cache wraps contextmanager asynccontextmanager",
    "dataclass total_ordering singledispatch no_type_check final",
)
"""Those after which a definition is still only used by its name. After any other it may be registered somewhere."""
_PLAIN_BASES = listed(
    "object Exception ValueError TypeError RuntimeError KeyError LookupError OSError Enum IntEnum StrEnum Flag",
    "NamedTuple TypedDict Generic",
)
"""Of which is known what calls their methods: dunder methods alone."""
_BY_CONVENTION = re.compile(
    r"(main|run|app|application|handler|lambda_handler|setup|teardown|register|configure|create_app|make_app|init_app"
    r"|includeme|upgrade|downgrade|load_ipython_extension|test.*|pytest_.*|on_.*|setup_.*|teardown_.*|_.*_)\Z"
)
_METHODS_BY_CONVENTION = re.compile(
    r"(handle|emit|write|flush|close|read|send|fileno|notify|update|dispatch|execute|validate|clean|save|delete|get"
    r"|post|put|patch|head|options|from_crawler|open_spider|close_spider|do_.*|visit_.*|leave_.*|depart_.*|handle_.*"
    r"|process_.*|validate_.*|clean_.*|resolve_.*|get_.*_display)\Z"
)
_FILES_BY_CONVENTION = listed(
    "admin.py apps.py asgi.py conf.py dodo.py env.py gunicorn.conf.py locustfile.py settings.py signals.py tasks.py",
    "urls.py wsgi.py __main__.py hatch_build.py",
)
_MARKS_OF_AN_APPLICATION = listed(
    "app.yaml asgi.py compose.yaml compose.yml docker-compose.yaml docker-compose.yml dockerfile fly.toml manage.py",
    "procfile serverless.yml wsgi.py",
)


@dataclass(frozen=True)
class Named:
    """A function, method or class that lives by the use of its name."""

    name: str
    """Qualified."""
    kind: str
    """`function`, `method` or `class`."""
    node: Definition
    nested: bool = False
    """Inside a function: nobody outside can use it."""

    @property
    def bare(self) -> str:
        return self.node.name

    @property
    def is_private(self) -> bool:
        return self.nested or self.bare.startswith("_")

    @property
    def confidence(self) -> float:
        """That it is dead if its name is used nowhere."""
        if self.kind == "method":
            return 0.85 if self.is_private else 0.6
        return 0.9 if self.is_private else 0.7


@lru_cache(maxsize=512)
def named(text: str | None, path: str) -> tuple[Named, ...]:
    """What the module defines, without what is called by convention or may be by a framework."""
    tree = parsed(text)
    if tree is None or path.rpartition("/")[2].lower() in _FILES_BY_CONVENTION:
        return ()
    return tuple(_named(tree.body, "", nested=False))


def is_library(tree: Tree) -> bool:
    """Is it made to be imported by others, so that a public name is used where nobody here can see?"""
    names = {path.rpartition("/")[2].lower() for path in tree.paths}
    if names & _MARKS_OF_AN_APPLICATION or not names & {"pyproject.toml", "setup.py", "setup.cfg"}:
        return False
    if tree.text("setup.py") or "[metadata]" in (tree.text("setup.cfg") or ""):
        return True
    try:
        document = tomllib.loads(tree.text("pyproject.toml") or "")
    except (tomllib.TOMLDecodeError, RecursionError):
        return True
    tools = document.get("tool")
    poetry = tools.get("poetry") if isinstance(tools, dict) else None
    uv = tools.get("uv") if isinstance(tools, dict) else None
    if (isinstance(uv, dict) and uv.get("package") is False) or (
        isinstance(poetry, dict) and poetry.get("package-mode") is False
    ):
        return False
    return isinstance(document.get("project"), dict) or isinstance(poetry, dict)


def is_public(path: str, item: Named) -> bool:
    """Can somebody who imports the package get at it without a name that says that it is nobody else's business?"""
    parts = [*path.removesuffix(".py").removesuffix("/__init__").split("/"), *item.name.split(".")]
    return not item.nested and not any(part.startswith("_") for part in parts)


def _named(body: Sequence[ast.stmt], prefix: str, *, nested: bool) -> Iterator[Named]:
    plain: dict[str, ast.ClassDef] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if _is_open(node):
                yield Named(f"{prefix}{node.name}", "function", node, nested)
            yield from _named(node.body, f"{prefix}{node.name}.", nested=True)
        elif isinstance(node, ast.ClassDef) and not nested and _is_open(node) and _has_plain_bases(node, plain):
            plain[node.name] = node
            yield Named(f"{prefix}{node.name}", "class", node, nested)
            for item in node.body:
                if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                if _is_open(item) and not _METHODS_BY_CONVENTION.match(item.name):
                    yield Named(f"{prefix}{node.name}.{item.name}", "method", item)
                yield from _named(item.body, f"{prefix}{node.name}.{item.name}.", nested=True)


def _is_open(node: Definition) -> bool:
    return not _BY_CONVENTION.match(node.name) and all(
        _decorator(item) in _PLAIN_DECORATORS for item in node.decorator_list
    )


def _has_plain_bases(node: ast.ClassDef, plain: dict[str, ast.ClassDef]) -> bool:
    bases = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    names = [_decorator(base) for base in bases]
    return not node.keywords and all(name in _PLAIN_BASES or name in plain for name in names)


def _decorator(node: ast.expr) -> str:
    """The last part of its name."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
