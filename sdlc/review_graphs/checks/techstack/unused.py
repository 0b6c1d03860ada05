"""`unused`: a main dependency that the change adds, and that nothing in the head imports or names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sdlc.review_graphs.checks.base import Raised, Tree, Trees
from sdlc.review_graphs.checks.techstack import imports, providers
from sdlc.review_graphs.checks.techstack.declared import Dependency
from sdlc.review_graphs.checks.techstack.invented import slip
from sdlc.review_graphs.checks.techstack.javascript import is_javascript
from sdlc.review_graphs.checks.techstack.locks import LOCKS, lock_beside
from sdlc.review_graphs.checks.techstack.manifests import added, is_manifest
from sdlc.review_graphs.checks.techstack.stack_names import DISTRIBUTIONS, words

MOST_FILES = 4_000
"""Files that are searched for a name. In a larger repository nothing is said."""
LARGEST_TEXT = 400_000
"""Characters of a file that is searched: a larger one is data."""

_BY_NAME_ONLY = re.compile(
    # Found by the program that they extend, or by a name in a setting that is not theirs.
    r"^(types|pytest|flake8|pylint|mypy|sphinx|mkdocs|opentelemetry|backports|nvidia|pip|setuptools|wheel|django|airflow"
    r"|apache-airflow|dagster|prefect|kedro|celery|jupyter|ipython|psycopg|pywin)(-|$|\d)"
    r"|-(stubs|plugin|plugins|driver|dialect|backend|adapter|extension|ext|binary|theme|provider|instrumentation)$"
)
_AT_RUN_TIME = words("""
    aiosqlite argon2-cffi asyncpg bcrypt brotli certifi colorama cryptography cx-oracle cython daphne dnspython
    email-validator fsspec gcsfs greenlet gunicorn h2 hiredis httptools hypercorn itsdangerous jinja2 libcst lxml
    mysqlclient numexpr openpyxl oracledb orjson passlib pillow psutil pyarrow pymysql pyodbc python-multipart
    requests-toolbelt s3fs setuptools tabulate tomli typing-extensions tzdata ujson uvicorn uvloop watchfiles websockets
    whitenoise xlrd xlsxwriter
""")
"""Taken by another library when they are there."""
_NPM_BY_NAME_ONLY = re.compile(
    r"^@types/|^@babel/|^@rollup/|^@tailwindcss/|(^|[-/])(eslint|babel|postcss|prettier|stylelint|jest|vite|webpack|rollup|gulp|"
    r"grunt|karma|loader|plugin|plugins|preset|config|cli|polyfill|types|adapter|driver|theme|locale|fontsource)([-/]|$)"
)
_NPM_AT_RUN_TIME = words("""
    autoprefixer bufferutil core-js dotenv encoding graphql mysql mysql2 next nuxt pg pg-native pino-pretty postcss
    react-dom react-native regenerator-runtime sass sharp sqlite3 tailwindcss ts-node tsconfig-paths tslib typescript
    utf-8-validate
""")
_TEXTS = re.compile(
    r"\.(md|rst|txt|lock|csv|svg|po|pot|snap|map|adoc)$|(^|/)(CHANGE|HISTORY|NEWS|README|LICEN[CS]E)", re.I
)


class Unused:
    """Looks for the name of a new dependency in everything but prose and lock files."""

    name = "unused"
    required = True

    def looks_at(self, path: str) -> bool:
        return is_manifest(path)

    def run(self, trees: Trees) -> Iterator[Raised]:
        for item in added(trees):
            if item.kind != "main" or item.marker or item.source or _is_taken_unnamed(item) or slip(item):
                continue
            file = trees.file(item.file)
            if file is None or not file.has_added(item.line) or _is_explained(trees.head, item):
                continue
            if not _is_code(trees.head, item) or _is_asked_for(trees, item) or _is_named(trees.head, item):
                continue
            yield Raised(
                "unused",
                item.file,
                item.line,
                "minor",
                f"{item.name} is a new dependency, and nothing in the repository imports or names it: everyone who "
                "installs the project gets it for nothing. Take it out, or add what uses it.",
                confidence=0.8 if item.ecosystem == "python" else 0.6,
            )


def _is_taken_unnamed(item: Dependency) -> bool:
    """May something use it without its name standing anywhere?"""
    if item.ecosystem == "python":
        return bool(_BY_NAME_ONLY.search(item.name)) or item.name in _AT_RUN_TIME
    if item.ecosystem == "npm":
        return bool(_NPM_BY_NAME_ONLY.search(item.name)) or item.name in _NPM_AT_RUN_TIME
    return True


def _is_explained(head: Tree, item: Dependency) -> bool:
    """Does a comment beside the line say what it is there for?"""
    lines = (head.text(item.file) or "").split("\n")
    return any("#" in lines[number] for number in (item.line - 2, item.line - 1) if 0 <= number < len(lines))


def _is_code(head: Tree, item: Dependency) -> bool:
    """Is there code that could import it, and not more than can be searched?"""
    if len(head.paths) > MOST_FILES:
        return False
    if item.ecosystem == "python":
        return any(path.endswith(".py") and not path.endswith("setup.py") for path in head.paths)
    return any(is_javascript(path) for path in head.paths)


def _is_asked_for(trees: Trees, item: Dependency) -> bool:
    """By another dependency: others have brought it before, so that it is declared for its version, or expect it."""
    lock = lock_beside(trees.base, item.file)
    if lock and item.name in lock.versions:
        return True
    lock = lock_beside(trees.head, item.file) if item.ecosystem == "npm" else None
    text = trees.head.text(lock.path) or "" if lock else ""
    return bool(re.search(rf'peerDependencies"?:\s*\{{?[^}}]*"?{re.escape(item.name)}"?:', text))


def _is_named(head: Tree, item: Dependency) -> bool:
    modules = {item.name, item.name.replace("-", "_"), item.name.replace("-", "")}
    modules |= {module for module, names in DISTRIBUTIONS.items() if item.name in names}
    if item.ecosystem == "python":
        if any(module in modules or providers.likely(module, [item]) for module in imports.imported(head)):
            return True
        parts = {part for part in item.name.split("-") if len(part) > 3} - {"python", "client"}
        modules |= parts
    pattern = re.compile(rf"(?<![\w-])({'|'.join(sorted(map(re.escape, modules)))})(?![\w-])", re.IGNORECASE)
    for path in head.paths:
        if _TEXTS.search(path) or path.rpartition("/")[2] in LOCKS:
            continue
        text = head.text(path) or ""
        if len(text) > LARGEST_TEXT:
            continue
        if is_manifest(path):
            text = _without_declarations(text, item)
        if pattern.search(text):
            return True
    return False


def _without_declarations(text: str, item: Dependency) -> str:
    """A manifest without the lines that declare the dependency, by any of its lists."""
    written = re.escape(item.name).replace(r"\-", "[-_.]")
    declared = re.compile(
        rf"""^\s*["']?{written}["']?\s*([=<>~!\[;:,@"'\\]|$)|["']{written}["']?\s*[=<>~!\[;:,@"'\]]""", re.I
    )
    return "\n".join(line for line in text.split("\n") if not declared.search(line))
