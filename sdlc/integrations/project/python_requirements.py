"""Where Python projects write what their tests need, and which of it counts. Pure."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_FILE = re.compile(
    r"(?:requirements(?:[-_./](?P<after>base|dev|develop|development|test|tests|testing))?"
    r"|(?P<before>dev|develop|development|test|tests|testing)[-_]requirements)\.txt\Z"
)
_FOR_TESTS = frozenset({"test", "tests", "testing"})
_FOR_DEVELOPMENT = frozenset({"dev", "develop", "development"})
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*(?:\[[\w,. -]*\])?\s*(?:[<>=!~;@].*)?\Z")
_NAME = re.compile(r"\s*([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*(?:[\[<>=!~;@(].*)?\Z", re.DOTALL)
_TEST_ENVIRONMENTS = ("testenv", "testenv:test", "testenv:tests", "testenv:py", "testenv:unit")


@dataclass(frozen=True)
class RequirementFiles:
    """The files to install from."""

    wanted: tuple[str, ...] = ()
    dispensable: tuple[str, ...] = ()
    """Those of `wanted` for the whole of development: the tests may do without what conflicts there."""


def requirement_files(files: Sequence[str], named: Iterable[str]) -> RequirementFiles:
    """Which requirement files tests need: the project's own, and those that tox or nox install from for tests
    (`named`), else those named for tests, else those named for development, which pin much that no test needs.
    """
    words = {path: (match["after"] or match["before"] or "") for path in files if (match := _FILE.match(path))}
    own = [path for path, word in words.items() if word in ("", "base")]
    present = frozenset(files)
    chosen = [path for path in dict.fromkeys(named) if path in present and not path.startswith("-")]
    if not chosen:
        chosen = [path for path, word in words.items() if word in _FOR_TESTS]
    development = [path for path, word in words.items() if word in _FOR_DEVELOPMENT]
    wanted = set(own + (chosen or development))
    return RequirementFiles(
        wanted=tuple(path for path in files if path in wanted),
        dispensable=() if chosen else tuple(development),
    )


def requirement_name(text: str) -> str:
    """The name of a requirement as package indexes compare names; empty if the text is none."""
    found = _NAME.match(text)
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found else ""


# --- tox and nox --------------------------------------------------------------------------


@dataclass(frozen=True)
class TestEnvironment:
    """What a project's own test runner would install for its tests."""

    __test__ = False

    requirements: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def tox_environment(tox: configparser.RawConfigParser, table: Mapping[str, Any]) -> TestEnvironment:
    """Of `tox.ini`, and of the table `tool.tox` of pyproject.toml."""
    lines = [line for name in _TEST_ENVIRONMENTS for line in tox.get(name, "deps", fallback="").splitlines()]
    base = table.get("env_run_base")
    lines += strings(base.get("deps")) if isinstance(base, dict) else []
    words = [line.split(" #")[0].strip() for line in lines if not line.lstrip().startswith("#")]
    return _environment(words)


def nox_environment(source: str) -> TestEnvironment:
    """The constant arguments of `session.install(…)` in sessions whose name has `test` in it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return TestEnvironment()
    words: list[str] = []
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef) or "test" not in function.name:
            continue
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "install":
                words += _joined(arg.value for arg in call.args if isinstance(arg, ast.Constant))
    return _environment(words)


def _joined(values: Iterable[object]) -> list[str]:
    """The words of one call, `-r` with its file in one; none where another option changes what they mean."""
    words: list[str] = []
    for word in (value for value in values if isinstance(value, str)):
        if words and words[-1] in ("-r", "--requirement"):
            words[-1] = f"-r {word}"
        else:
            words.append(word)
    return [] if any(word.startswith("-") and not _FROM_FILE.match(word) for word in words) else words


_FROM_FILE = re.compile(r"(?:-r|--requirement(?:=|\s))\s*(?:\{toxinidir\}/|\{tox_root\}/|\./)?(?P<file>[\w./-]+)\Z")


def _environment(words: Iterable[str]) -> TestEnvironment:
    requirements: list[str] = []
    files: list[str] = []
    for word in words:
        from_file = _FROM_FILE.match(word)
        if from_file:
            files.append(from_file["file"])
        # `py38: mock` is for one environment of many, and `{[base]deps}` for tox to resolve.
        elif "{" not in word and ": " not in word and _REQUIREMENT.match(word):
            requirements.append(word)
    return TestEnvironment(tuple(requirements), tuple(files))


# --- setup.py, setup.cfg, Poetry ----------------------------------------------------------


def keyword_of(source: str, name: str) -> Any:
    """The literal value of a keyword argument anywhere in `setup.py`; None if it isn't one."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == name:
            try:
                return ast.literal_eval(node.value)
            except (ValueError, TypeError, RecursionError, MemoryError):
                return _literal_keys(node.value)
    return None


def _literal_keys(node: ast.expr) -> Any:
    keys = node.keys if isinstance(node, ast.Dict) else []
    return {key.value: None for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}


def poetry_requirements(table: Any) -> Iterable[str]:
    """Poetry's own tables as requirements: `^1.2` and `~1.2` become a lower bound, which is all that tests need."""
    for name, wanted in table.items() if isinstance(table, dict) else ():
        version = wanted.get("version", "*") if isinstance(wanted, dict) else wanted
        if name == "python" or not isinstance(version, str):
            continue
        if isinstance(wanted, dict) and any(key in wanted for key in ("path", "git", "url")):
            continue
        bound = re.match(r"[\^~](\d[\w.]*)", version)
        if bound:
            yield f"{name}>={bound[1]}"
        elif re.match(r"[<>=!]", version):
            yield f"{name}{version}"
        else:
            yield f"{name}=={version}" if re.match(r"\d+(\.\d+)*\Z", version) else name


def strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def setup_cfg_requirements(setup_cfg: configparser.RawConfigParser) -> Iterable[str]:
    """Everything that `setup.cfg` requires, in extras too."""
    for option in ("install_requires", "tests_require"):
        yield from setup_cfg.get("options", option, fallback="").splitlines()
    if setup_cfg.has_section("options.extras_require"):
        for _, lines in setup_cfg.items("options.extras_require"):
            yield from lines.splitlines()


def setup_py_strings(source: str) -> Iterable[str]:
    """Every string in `setup.py`: its requirements are among them, however they are put together."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
