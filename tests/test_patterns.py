"""Patterns of paths: what `.gitignore` means by them, and no path on which they take long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdlc.integrations.project.patterns import fits


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("*.ts", ["a.ts", "src/deep/a.ts", ".ts"], ["a.tsx", "a.ts.txt", "ts"]),
        ("/*.ts", ["a.ts"], ["src/a.ts"]),
        ("src/*.ts", ["src/a.ts"], ["src/deep/a.ts", "lib/src/a.ts", "a.ts"]),
        ("src/**", ["src/a", "src/deep/a.ts"], ["src", "lib/src/a", "srcs/a"]),
        ("src/", ["src/a", "lib/src/deep/a.ts"], ["src"]),
        ("src", ["src", "src/a", "lib/src/a"], ["srcs/a"]),
        ("src/**/test_*.py", ["src/test_a.py", "src/a/b/test_a.py"], ["src/a/b/a.py", "a/src/test_a.py"]),
        ("**/gen/*.go", ["gen/a.go", "a/b/gen/a.go"], ["gen/a/b.go", "agen/a.go"]),
        ("**", ["a", "a/b"], []),
        ("*", ["a", "a/b", ".hidden"], []),
        ("[ab]?.c", ["ax.c", "d/by.c"], ["cx.c", "a.c"]),
        ("[!a].c", ["b.c"], ["a.c"]),
        ("A.ts", [], ["a.ts"]),
        ("", [], ["a", ""]),
        ("/", [], ["a", ""]),
        ("(a|b).c", ["(a|b).c"], ["a.c"]),
        ("src/**/**/a", ["src/a", "src/x/a", "src/x/y/a"], ["a"]),
    ],
)
def test_a_pattern_fits_as_in_gitignore(pattern: str, fitting: list[str], others: list[str]) -> None:
    assert [path for path in [*fitting, *others] if fits(path, [pattern])] == fitting


def test_the_last_pattern_that_fits_decides() -> None:
    patterns = ["*.ts", "!*.d.ts", "!vendor/", "vendor/ours.ts"]
    paths = ["a.ts", "a.d.ts", "vendor/a.ts", "vendor/ours.ts", "b.js"]
    assert [path for path in paths if fits(path, patterns)] == ["a.ts", "vendor/ours.ts"]
    assert not fits("a.ts", [])
    assert not fits("a.ts", ["!*.js"])


NAMES = st.sampled_from(["a", "b.py", "src", "x.ts", "a.ts"])
PARTS = st.sampled_from(["a", "*", "*.ts", "src", "?", "[ab]", "**", "s*"])


@given(st.lists(NAMES, min_size=1, max_size=5), st.lists(PARTS, min_size=1, max_size=4), st.booleans())
def test_it_agrees_with_the_library_for_it(names: list[str], parts: list[str], anchored: bool) -> None:
    pathspec = pytest.importorskip("pathspec")
    path, pattern = "/".join(names), "/" * anchored + "/".join(parts)
    assert fits(path, [pattern]) == pathspec.GitIgnoreSpec.from_lines([pattern]).match_file(path), pattern


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 90 + "b", "a" * 255),
        ("**/a/" * 40 + "b", "a/" * 2_000 + "c"),
        ("*/" * 90 + "b", "a/" * 2_000 + "b"),
    ],
)
def test_no_path_takes_long(pattern: str, path: str) -> None:
    started = time.process_time()
    assert not fits(path, [pattern])
    assert time.process_time() - started < 2
