"""Mistakes that the syntax tree proves, and what looks like them and is none."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from sdlc.review_graphs.checks.quality.logic import Logic
from tests.trees import only, raised, trees

CHECK = Logic()


def code(text: str) -> str:
    return dedent(text).lstrip("\n")


def found_in(folder: Path, text: str, name: str = "a.py") -> list[tuple[str, int]]:
    return [(rule, line) for rule, _, line in raised(CHECK, trees(folder, {}, {name: code(text)}))]


CLASS = """
class Order:
    def __init__(self, items):
        self.items = items

    def is_paid(self):
        return True

    def total(self):
        return 3

    @property
    def open(self):
        return False

    def say(self):
"""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("if self.is_paid: return 1", "always true"),
        ("return 1 if not self.is_paid else 2", "always true"),
        ("while self.items and self.is_paid: pass", "always true"),
        ("assert self.is_paid", "always true"),
        ("return [x for x in self.items if self.is_paid]", "always true"),
        ("return self.total == 3", "never holds"),
        ("return self.total > 3", "TypeError"),
        ("return self.total + 1", "TypeError"),
        ("return f'{self.total}'", "in memory"),
    ],
)
def test_a_method_that_is_not_called(tmp_path: Path, line: str, told: str) -> None:
    found = only(CHECK, trees(tmp_path, {}, {"a.py": code(CLASS) + f"        {line}\n"}))
    assert (found.rule, found.line, found.severity) == ("not-called", 16, "major")
    assert told in found.message


@pytest.mark.parametrize(
    "line",
    [
        "if self.is_paid(): return 1",
        "if self.open: return 1",
        "if self.items: return 1",
        "if self.unknown: return 1",
        "callback = self.is_paid",
        "return self.is_paid or None",
        "return self.is_paid is None",
        "return self.is_paid == other.is_paid",
        "return sorted(self.items, key=self.total)",
        "return f'{self.total!r}'",
        "return f'{self.total()}'",
    ],
)
def test_a_method_that_is_meant(tmp_path: Path, line: str) -> None:
    assert found_in(tmp_path, code(CLASS) + f"        {line}\n") == []


def test_a_method_that_an_attribute_may_hide_is_not_sure(tmp_path: Path) -> None:
    hidden = code(CLASS).replace("self.items = items", "self.is_paid = items")
    assert found_in(tmp_path, hidden + "        if self.is_paid: return 1\n") == []


def test_a_function_that_is_not_called(tmp_path: Path) -> None:
    text = """
        def is_ready():
            return True

        def f():
            if is_ready:
                return 1

        def g(is_ready):
            if is_ready:
                return 1

        try:
            from fast import parse
        except ImportError:
            def parse(x):
                return x

        def h():
            if parse:
                return 1
        """
    assert found_in(tmp_path, text) == [("not-called", 5)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("if x == 1:\n    a()\nelif y:\n    b()\nelif x == 1:\n    c()\n", [("asked-twice", 5)]),
        ("if x == 1:\n    a()\nelif x == 2:\n    b()\n", []),
        ("if x():\n    a()\nelif x():\n    b()\n", []),
        ("if x:\n    a()\nif x:\n    b()\n", []),
        ("if x:\n    a()\nelse:\n    a()\n", [("same-branches", 1)]),
        ("if x:\n    pass\nelse:\n    pass\n", []),
        ("if x:\n    a()\nelif y:\n    a()\n", []),
        ("if x:\n    a(1)\nelse:\n    a(2)\n", []),
        ("y = x.total == x.total\n", [("compared-with-itself", 1)]),
        ("y = x <= x\n", [("compared-with-itself", 1)]),
        ("y = x != x\n", []),
        ("y = x() == x()\n", []),
        ("y = 1 == 1\n", []),
        ("try:\n    a()\nexcept Exception:\n    b()\nexcept ValueError:\n    c()\n", [("never-caught", 5)]),
        (
            "try:\n    a()\nexcept (OSError, KeyError):\n    b()\nexcept FileNotFoundError:\n    c()\n",
            [("never-caught", 5)],
        ),
        ("try:\n    a()\nexcept ValueError:\n    b()\nexcept ValueError:\n    c()\n", []),
        ("try:\n    a()\nexcept ValueError:\n    b()\nexcept Exception:\n    c()\n", []),
        ("try:\n    a()\nexcept Exception:\n    b()\nexcept KeyboardInterrupt:\n    c()\n", []),
        ("from x import TimeoutError\ntry:\n    a()\nexcept OSError:\n    b()\nexcept TimeoutError:\n    c()\n", []),
    ],
)
def test_conditions(tmp_path: Path, text: str, expected: list[tuple[str, int]]) -> None:
    assert found_in(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("for x in xs:\n    if x:\n        xs.remove(x)\n", 4),
        ("for x in self.xs:\n    self.xs.pop()\n", 3),
        ("for n, x in enumerate(xs):\n    del xs[n]\n", 3),
        ("for k, v in d.items():\n    if not v:\n        del d[k]\n", 4),
        ("for k in d:\n    v = d.pop(k)\n", 3),
        ("for x in list(xs):\n    xs.remove(x)\n", 0),
        ("for x in xs[:]:\n    xs.remove(x)\n", 0),
        ("for x in xs:\n    if x:\n        xs.remove(x)\n        break\n", 0),
        ("for x in xs:\n    if x:\n        with lock:\n            xs.remove(x)\n        return\n", 0),
        ("for x in xs:\n    ys.remove(x)\n", 0),
        ("for x in xs:\n    xs = list(xs)\n    xs.remove(x)\n", 0),
        ("for x in xs:\n    xs.append(x)\n", 0),
        ("for x in xs:\n    def f():\n        xs.remove(x)\n", 0),
        ("for n in range(3):\n    xs.pop()\n", 0),
        ("while xs:\n    xs.pop()\n", 0),
    ],
)
def test_a_list_that_is_changed_while_it_is_gone_through(tmp_path: Path, body: str, expected: int) -> None:
    text = "def f(self, xs, ys, d, lock):\n" + "".join(f"    {line}\n" for line in body.splitlines())
    assert found_in(tmp_path, text) == ([("changed-while-iterated", expected)] if expected else [])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("total = 0\nfor x in xs:\n    total += x\n    return total\n", 5),
        ("out = []\nfor x in xs:\n    out.append(x)\n    return out\n", 5),
        ("out = {}\nfor x in xs:\n    out[x] = 1\n    return out\n", 5),
        ("total = 0\nfor x in xs:\n    total += x\nreturn total\n", 0),
        ("for x in xs:\n    y = x\n    return y\n", 0),
        ("for x in xs:\n    return x\n", 0),
        ("total = 0\nfor x in xs:\n    if not x:\n        continue\n    total += x\n    return total\n", 0),
        ("total = 0\nfor x in xs:\n    total += x\n    if total > 3:\n        return total\n", 0),
    ],
)
def test_a_return_one_level_too_deep(tmp_path: Path, body: str, expected: int) -> None:
    text = "def f(xs):\n" + "".join(f"    {line}\n" for line in body.splitlines())
    assert found_in(tmp_path, text) == ([("returns-in-first-round", expected)] if expected else [])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("sorted(xs)", "result-dropped"),
        ("name.strip()", "result-dropped"),
        ("name.replace('a', 'b')", "result-dropped"),
        ("name.lower()", "result-dropped"),
        ("asyncio.sleep(1)", "not-awaited"),
        ("ys = [1]\n    ys = ys.sort()", "nothing-assigned"),
        ("ys = sorted(xs)\n    return ys.reverse()", "nothing-assigned"),
        ("raise ValueError('no {name} here')", "not-formatted"),
        ("log.info('got {name:>3} and {xs}')", "not-formatted"),
        ("xs.sort()", ""),
        ("window.lower()", ""),
        ("path.replace('a', 'b')", ""),
        ("name = name.strip()", ""),
        ("x = asyncio.sleep(1)", ""),
        ("xs = xs.sort()", ""),
        ("ys = [1]\n    z = ys.pop()", ""),
        ("ys = [1]\n    return ys.clear()", ""),
        ("raise ValueError(f'no {name} here')", ""),
        ("raise ValueError('no {nobody} here')", ""),
        ("raise ValueError('no {{name}} here')", ""),
        ("raise ValueError('no {name} here'.format(name=name))", ""),
        ("log.info('got {name}', name=name)", ""),
        ("print('{' + name + '}')", ""),
    ],
)
def test_values(tmp_path: Path, body: str, expected: str) -> None:
    text = f"import asyncio\n\n\ndef f(xs, name: str, window, path, log):\n    {body}\n"
    assert [rule for rule, _ in found_in(tmp_path, text)] == ([expected] if expected else [])


def test_a_name_of_ones_own_is_not_the_builtin(tmp_path: Path) -> None:
    assert found_in(tmp_path, "from x import sorted\n\nsorted([1])\n") == []
    assert found_in(tmp_path, "from x import asyncio\n\nasyncio.sleep(1)\n") == []


def test_a_method_without_self(tmp_path: Path) -> None:
    text = """
        class A:
            def f(self):
                return 1

            def g():
                return 2

            @staticmethod
            def h():
                return 3

            def make():
                return 4

            x = make()
        """
    assert found_in(tmp_path / "1", text) == [("no-self", 5)]
    group = "class A:\n    def f():\n        return 1\n"
    based = "class A(Interface):\n    def f(self):\n        pass\n\n    def g():\n        pass\n"
    assert [found_in(tmp_path / "2", group), found_in(tmp_path / "3", based)] == [[], []]


def test_errors_that_are_passed_over(tmp_path: Path) -> None:
    text = "try:\n    a()\n    b()\nexcept Exception:\n    pass\n"
    assert found_in(tmp_path / "1", text) == [("swallowed", 4)]
    quiet = [
        text.replace("    b()\n", ""),
        text.replace("Exception", "OSError"),
        text.replace("    pass", "    log.exception('x')"),
    ]
    assert [found_in(tmp_path / f"q{n}", one) for n, one in enumerate(quiet)] == [[], [], []]


# a return that is lost

FULL = """
def rate(x):
    if x > 1:
        return 1
    return 2


print(rate(3) + 1)
"""


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (FULL, FULL.replace("    return 2\n", ""), 2),
        (FULL, FULL.replace("    return 2\n", "    x += 1\n"), 4),
        (FULL, FULL.replace("    return 2\n", "    if x > 0:\n        return 2\n"), 4),
        (FULL, FULL.replace("        return 1\n", "        x = 1\n").replace("    return 2", "    x = 2"), 4),
        (FULL.replace("return 2", "raise ValueError"), FULL.replace("return 2", "log.error('x')"), 4),
    ],
)
def test_a_way_that_no_longer_gives_a_value(tmp_path: Path, before: str, after: str, line: int) -> None:
    found = only(CHECK, trees(tmp_path, {"a.py": code(before)}, {"a.py": code(after)}))
    assert (found.rule, found.severity) == ("return-lost", "major")
    assert abs(found.line - line) <= 1
    assert "a.py:" in found.message


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (FULL, FULL.replace("return 2", "return None")),
        (FULL, FULL.replace("    return 2\n", "").replace("(x):", "(x) -> int | None:")),
        (FULL, FULL.replace("    return 2\n", "    _fail(x)\n")),
        (FULL, FULL.replace("    return 2\n", "    raise ValueError(x)\n")),
        (
            FULL,
            FULL.replace(
                "    return 2\n", "    while True:\n        x += 1\n        if x > 9:\n            return x\n"
            ),
        ),
        (FULL, FULL.replace("    return 2\n", "    try:\n        return 2\n    except OSError:\n        raise\n")),
        (FULL, FULL.replace("    return 2\n", "    yield 2\n")),
        (FULL, FULL.replace("print(rate(3) + 1)", "rate(3)").replace("    return 2\n", "")),
        (FULL.replace("    return 2\n", ""), FULL.replace("    return 2\n", "    x = 2\n")),
        (FULL, FULL.replace("return 2", "return 3")),
    ],
)
def test_ways_that_all_give_one_or_never_did(tmp_path: Path, before: str, after: str) -> None:
    assert raised(CHECK, trees(tmp_path, {"a.py": code(before)}, {"a.py": code(after)})) == []


# what the change brings


def test_only_what_the_change_adds_counts(tmp_path: Path) -> None:
    old = "def f(xs):\n    for x in xs:\n        xs.remove(x)\n    sorted(xs)\n"
    assert raised(CHECK, trees(tmp_path / "1", {"a.py": old}, {"a.py": "import os\n\n\n" + old})) == []
    moved = trees(tmp_path / "2", {"a.py": old}, {"b.py": old + "x = 1\n"}, renamed={"b.py": "a.py"})
    assert raised(CHECK, moved) == []
    loop = "def f(xs):\n    for x in list(xs):\n        xs.remove(x)\n"
    given = trees(tmp_path / "3", {"a.py": loop}, {"a.py": loop.replace("list(xs)", "xs")})
    assert raised(CHECK, given) == [("changed-while-iterated", "a.py", 2)]


def test_tests_may_do_on_purpose_what_is_a_mistake_elsewhere(tmp_path: Path) -> None:
    text = "def test_f(x):\n    assert x == x\n    sorted(x)\n"
    assert found_in(tmp_path, text, "tests/test_a.py") == []


def test_what_can_not_be_read_is_left_to_others(tmp_path: Path) -> None:
    head: dict[str, str | bytes] = {"a.py": "def (:\n", "b.py": b"\xff\xfe", "c.py": "", "d.py": b"x = '\0'\n"}
    assert raised(CHECK, trees(tmp_path, {}, head)) == []
    crlf = "def f(xs):\r\n    sorted(xs)"
    assert raised(CHECK, trees(tmp_path / "2", {}, {"a.py": crlf})) == [("result-dropped", "a.py", 2)]
