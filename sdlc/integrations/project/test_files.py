"""Which files are tests, which are documents, by their names alone. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_TEST_FOLDERS = frozenset({"test", "tests", "testing", "__tests__", "spec", "specs", "integration_tests"})
_PYTHON_TEST = re.compile(r"(?:test_.*|.*_test|tests?)\.py\Z")
_OTHER_TEST = re.compile(r"(?:.*[._](?:test|spec)\.[cm]?[jt]sx?|.*_test\.go)\Z")
_DOCUMENTS = frozenset({".md", ".rst", ".adoc", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".pdf"})
_CONFIGURATION = frozenset({".toml", ".cfg", ".ini", ".yml", ".yaml", ".json", ".lock", ".txt", ".editorconfig"})
_DOCUMENT_FOLDERS = frozenset({"docs", "doc", ".github", ".gitlab", ".circleci"})
_DOCUMENT_NAMES = frozenset({"LICENSE", "COPYING", "NOTICE", "AUTHORS", "CHANGELOG", "CODEOWNERS", "MAINTAINERS"})


def is_python_test(path: str) -> bool:
    """A file that pytest or unittest would collect by its name."""
    return bool(_PYTHON_TEST.match(PurePosixPath(path).name))


def tests_nearby(path: str) -> bool:
    """It lies in a folder for tests: a test, or what tests need."""
    return not _TEST_FOLDERS.isdisjoint(PurePosixPath(path).parts[:-1])


def is_test(path: str) -> bool:
    """A file with tests in it, in any of the languages that we know."""
    name = PurePosixPath(path).name
    if is_python_test(path) or _OTHER_TEST.match(name):
        return True
    return tests_nearby(path) and name.endswith((".rs", ".js", ".ts", ".tsx", ".jsx", ".mjs", ".cjs"))


def belongs_to_tests(path: str) -> bool:
    """A test or its support: conftest, fixtures, snapshots. Goes along when tests are carried to another commit."""
    return is_test(path) or tests_nearby(path) or PurePosixPath(path).name == "conftest.py"


def is_document(path: str) -> bool:
    """Documentation or configuration: nothing that a test could show."""
    name = PurePosixPath(path)
    if name.parts[0] in _DOCUMENT_FOLDERS or name.suffix in _DOCUMENTS or name.stem in _DOCUMENT_NAMES:
        return True
    at_the_top = len(name.parts) == 1
    return at_the_top and (name.suffix in _CONFIGURATION or name.name.startswith("."))
