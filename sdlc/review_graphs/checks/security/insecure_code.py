"""Code that opens a hole, as far as it is certain from the text: what neither bandit nor ruff sees."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from sdlc.review_graphs.checks.base import ChangedPath, Raised, Trees, is_python
from sdlc.review_graphs.checks.security.added import added_lines, is_made_up
from sdlc.review_graphs.checks.security.cryptography import cryptography_risks
from sdlc.review_graphs.checks.security.insecure_script import script_risks
from sdlc.review_graphs.checks.security.python_module import Module
from sdlc.review_graphs.checks.security.request_data import archive_risks, document_risks, request_risks
from sdlc.review_graphs.checks.security.risk import Risk, brought
from sdlc.review_graphs.checks.security.shell_text import shell_risks_in_lists
from sdlc.review_graphs.checks.security.sql_text import sql_risks
from sdlc.review_graphs.checks.security.web_settings import web_risks

_CONCERNS = re.compile(
    r"jwt|decode|random|choice|randint|randrange|getrandbits|hashlib|md5|sha\d|update\(|hmac|digest|verify|ssl|SSL|CERT"
    r"|hostname|log|CORS|cors|origin|cookie|COOKIE|csrf|CSRF|jinja|Environment|format_html|assert|ALLOWED_HOSTS|DEBUG"
    r"|SECURE|execute|raw|read_sql|fetch|scalar|SELECT|INSERT|UPDATE|DELETE|select|insert|update|delete|request|extractall|unsafe_load|-c[\"']"
)
"""A word of each of the rules."""
_SETTINGS = re.compile(r"COOKIE|SECURE|DEBUG|CSRF")
_SCRIPT = re.compile(r"\.(?:[cm]?[jt]sx?|vue|svelte)$")


class InsecureCode:
    name = "insecure-code"
    required = True

    def looks_at(self, path: str) -> bool:
        return is_python(path) or bool(_SCRIPT.search(path))

    def run(self, trees: Trees) -> Iterable[Raised]:
        for file in trees.present:
            # Tests do on purpose what must not be done elsewhere.
            if is_made_up(file.path) or not self.looks_at(file.path):
                continue
            if is_python(file.path):
                yield from self._of_python(trees, file)
            else:
                text, before = trees.head.text(file.path) or "", trees.before(file) or ""
                yield from brought(file, script_risks(file.path, text), script_risks(file.old_path, before))

    def _of_python(self, trees: Trees, file: ChangedPath) -> Iterator[Raised]:
        """Most changes have no word of it in them: then nothing is parsed, and without a risk not the base either."""
        added = "\n".join(line for _, line in added_lines(trees, file))
        module = _module(trees.head.text(file.path), file.path) if _CONCERNS.search(added) else None
        if module is None:
            return
        base = _module(trees.before(file), file.old_path) if _SETTINGS.search(added) else None
        pyproject = trees.head.text("pyproject.toml")
        risks = list(_of_module(module, base, pyproject))
        if risks:
            base = base or _module(trees.before(file), file.old_path)
            yield from brought(file, risks, _of_module(base, base, pyproject))


def _module(text: str | None, path: str) -> Module | None:
    try:
        return Module(text, path) if text else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # ruff tells of it


def _of_module(module: Module | None, base: Module | None, pyproject: str | None) -> Iterator[Risk]:
    if module is not None:
        yield from cryptography_risks(module)
        yield from web_risks(module, base)
        yield from sql_risks(module)
        yield from shell_risks_in_lists(module)
        yield from request_risks(module)
        yield from archive_risks(module, pyproject)
        yield from document_risks(module)
