"""All checks of the panel on input of any kind: they end, they point into the change, and they are fast."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdlc.review_graphs.checks.base import Raised, Trees
from sdlc.review_graphs.checks.quality import CHECKS
from sdlc.review_graphs.checks.quality.javascript import blocks, code_of
from sdlc.review_graphs.checks.quality.source import head_line, parsed
from tests.trees import trees

NAMES = ["a.py", "tests/test_a.py", "a.test.ts", "a.ts", "pyproject.toml", "pytest.ini", "package.json", "Makefile"]
PIECES = st.sampled_from(
    [
        "def f(x):\n    return x\n",
        "def test_f():\n    assert f(1) == 1\n",
        "async def g():\n    f(1, 2)\n    g()\n",
        "class A:\n    def f(self):\n        if self.f:\n            return 1\n        else:\n            return 1\n",
        "for x in xs:\n    xs.remove(x)\n",
        "from a import f, g\nimport a as b\nb.h\n",
        "try:\n    assert x == x\nexcept Exception:\n    pass\n",
        "<<<<<<< a\n=======\n>>>>>>> b\n",
        "it.only('x', () => { `${a}` });\n",
        '{"jest": {"coverageThreshold": {"global": {"lines": 3}}}}\n',
        "[tool.pytest.ini_options]\naddopts = '--ignore=tests'\n",
        "[pytest]\naddopts = -k 'not x\n",
        "\tpytest -q || true\n",
        "    \tx\n",
        "def (:\n",
        "\r\n",
        "\x00",
        "\ufeff",
        "# DO NOT MERGE",
        "'''",
        "`",
        "é\u2028\x0c\n",
    ]
)
TEXTS = st.lists(PIECES, max_size=6).map("".join) | st.text(max_size=60)
FILES = st.dictionaries(st.sampled_from(NAMES), TEXTS | st.binary(max_size=30), max_size=4)


def all_of(change: Trees) -> list[tuple[str, Raised]]:
    return [(check.name, item) for check in CHECKS for item in check.run(change)]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FILES, FILES)
def test_any_change_is_looked_at_and_what_is_found_is_in_it(
    base: dict[str, str | bytes], head: dict[str, str | bytes]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        change = trees(Path(folder), base, head)
        for name, item in all_of(change):
            file = next((file for file in change.files if file.path == item.file), None)
            assert file is not None, (name, item)
            text = change.head.text(item.file) if file.status != "D" else ""
            assert 1 <= item.line <= max(len((text or "").split("\n")), 1), (name, item)
            assert len(item.message) <= 300, (name, item)
            assert 0 < item.confidence <= 1


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab\n", max_size=40), st.text(alphabet="ab\n", max_size=40), st.integers(1, 60))
def test_a_line_of_the_base_has_a_place_on_the_head(before: str, after: str, line: int) -> None:
    line = min(line, len(before.split("\n")))
    at = head_line(before, after, line)
    assert 1 <= at <= max(len(after.split("\n")), 1)
    if before == after and before.split("\n")[line - 1]:
        assert at == line


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="a`'\"${}()/*\\ \n.it", max_size=60))
def test_a_script_is_taken_apart_without_moving_anything(text: str) -> None:
    code = code_of(text)
    assert len(code) == len(text)
    assert [at for at, char in enumerate(code) if char == "\n"] == [at for at, char in enumerate(text) if char == "\n"]
    assert all(block.line >= 1 for block in blocks(text))


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 150 + ")" * 150 + "\n",
        "x = " + "-" * 3_000 + "1\n",
        "x = " + " + ".join("1" for _ in range(3_000)) + "\n",
        "if a:\n    pass\n" + "elif a:\n    pass\n" * 900,
        "def f():\n" + "".join("    " * n + "if x:\n" for n in range(1, 90)) + "    " * 90 + "pass\n",
        "if {[]: 1}:\n    pass\n",
        "if 1 / 0:\n    pass\n",
        "while not -'x':\n    pass\n",
        "def f():\n    return 1\n    # type: ignore[x] what\n    x = 1  # type: list[\n",
        "class A(A):\n    def f(self): return self.f()\n",
        "from . import x\nfrom .... import y\nfrom .x import z\nimport a\n",
        "x: int\nlambda: (yield)\nprint(*a, **b)\n",
        "match x:\n    case {'a': [1, *_], **rest} if y:\n        pass\n    case A(b=1) | None:\n        pass\n",
    ],
)
def test_odd_python_ends_without_an_error(tmp_path: Path, text: str) -> None:
    change = trees(tmp_path, {"a.py": "x = 1\n"}, {"a.py": text, "tests/test_a.py": f"{text}\n\ndef test_a(): pass\n"})
    all_of(change)


def test_a_tree_that_is_too_deep_is_left_alone() -> None:
    assert parsed("x = " + "-" * 3_000 + "1\n") is None
    assert parsed("x = 1\n") is not None


def test_a_file_of_fifty_thousand_lines_is_looked_at_in_seconds(tmp_path: Path) -> None:
    long = "".join(f"def f{n}(x):\n    return x + {n}\n" for n in range(25_000))
    change = trees(tmp_path, {}, {"a.py": long[:1_000_000], "b.ts": "it('x', () => {});\n" * 25_000})
    started = time.process_time()
    all_of(change)
    assert time.process_time() - started < 60


def test_thirty_files_take_well_below_a_second(tmp_path: Path) -> None:
    """In a process of its own, as a panel runs them; measured in processor time, since the machine may be busy."""
    module = Path("sdlc/review_graphs/checks/base.py").read_text(encoding="utf-8")
    base = {f"shop/m{n}.py": module for n in range(30)} | {"tests/test_m.py": "def test_m():\n    assert 1\n"}
    head = {**base, "shop/m3.py": module + "\n\ndef _unused(x):\n    return x\n", "shop/m4.py": module + "\nX = 1\n"}
    change = trees(tmp_path, base, head)
    subject = {
        "panel": "quality",
        "checks": [check.name for check in CHECKS],
        "head": str(change.head.root),
        "base": str(change.base.root),
        "files": [asdict(file) for file in change.files],
        "rules": {},
        "seconds": 60,
    }
    (tmp_path / "subject.json").write_text(json.dumps(subject), encoding="utf-8")
    program = (
        "import runpy, sys, time; sys.argv = ['checks', sys.argv[1]]; "
        "runpy.run_module('sdlc.review_graphs.checks', run_name='__main__'); print(time.process_time())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "subject.json")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    reports = {check.name: json.loads((tmp_path / f"{check.name}.json").read_bytes()) for check in CHECKS}
    assert {name: report["state"] for name, report in reports.items()} == dict.fromkeys(reports, "ok")
    assert [item["rule"] for item in reports["dead-code"]["findings"]] == ["unused"]
    assert float(done.stdout.split()[-1]) < 3  # about 0.5 on a quiet machine
