"""Growth beyond a limit, and what only looks large."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdlc.review_graphs.checks.architecture.size import Size
from tests.trees import only, raised, trees

CHECK = Size()
SMALL = {"largest_module": 100}


def module(lines: int) -> str:
    return "".join(f"a{number} = {number}\n" for number in range(lines))


def function(lines: int, name: str = "work") -> str:
    return f"def {name}():\n" + "".join(f"    a{number} = {number}\n" for number in range(lines - 1))


def methods(count: int, name: str = "Cart") -> str:
    return f"class {name}:\n" + "".join(f"    def m{number}(self): ...\n" for number in range(count))


def test_a_module_that_grows_beyond_the_limit(tmp_path: Path) -> None:
    base = {"shop.py": module(90)}
    found = only(CHECK, trees(tmp_path, base, {"shop.py": module(90) + module(20)}, rules=SMALL))
    assert (found.rule, found.file, found.line, found.severity) == ("module", "shop.py", 91, "minor")
    assert "from 90 to 110 lines" in found.message
    assert len(found.message) <= 300


@pytest.mark.parametrize(
    ("before", "now", "is_found"),
    [(90, 100, False), (90, 101, True), (200, 219, False), (200, 221, True), (120, 90, False)],
)
def test_what_counts_as_growth(tmp_path: Path, before: int, now: int, is_found: bool) -> None:
    found = raised(
        CHECK, trees(tmp_path, {"shop.py": module(before)}, {"shop.py": "b = 1\n" + module(now - 1)}, rules=SMALL)
    )
    assert found == ([("module", "shop.py", 1)] if is_found else [])


def test_the_limit_is_a_thousand_lines_unless_the_repository_says_otherwise(tmp_path: Path) -> None:
    assert raised(CHECK, trees(tmp_path / "a", {}, {"a.py": module(1000)})) == []
    assert raised(CHECK, trees(tmp_path / "b", {}, {"a.py": module(1001)})) == [("module", "a.py", 1)]


def test_modules_that_are_no_code_to_read(tmp_path: Path) -> None:
    table = "TABLE = {\n" + "".join(f"    {number}: 'x',\n" for number in range(150)) + "}\n"
    head = {"table.py": table, "tests/test_a.py": module(200), "tests/data.py": module(200), "a_pb2.py": module(200)}
    head |= {"notes.md": module(200), "empty.py": "", "broken.py": "def (\n" + module(200)}
    assert raised(CHECK, trees(tmp_path, {}, head, rules=SMALL)) == []


def test_a_module_that_only_moves_was_as_large_before(tmp_path: Path) -> None:
    base = {"old.py": module(200)}
    given = trees(tmp_path, base, {"new.py": module(200) + "b = 1\n"}, renamed={"new.py": "old.py"}, rules=SMALL)
    assert raised(CHECK, given) == []


def test_a_function_that_grows_beyond_a_hundred_lines(tmp_path: Path) -> None:
    base = {"a.py": f"import os\n\n{function(90)}"}
    found = only(CHECK, trees(tmp_path, base, {"a.py": f"import os\n\n{function(110)}"}))
    assert (found.rule, found.file, found.line, found.severity) == ("function", "a.py", 93, "minor")
    assert "`work` has 110 lines of code, 90 before" in found.message
    assert len(found.message) <= 300
    assert raised(CHECK, trees(tmp_path / "new", {}, {"a.py": function(101)})) == [("function", "a.py", 1)]


def test_a_function_that_does_not_grow_beyond_it(tmp_path: Path) -> None:
    assert raised(CHECK, trees(tmp_path / "under", {}, {"a.py": function(100)})) == []
    assert raised(CHECK, trees(tmp_path / "was", {"a.py": function(110)}, {"a.py": function(190)})) == []
    head = {"a.py": f"x = 1\n{function(110)}"}
    assert raised(CHECK, trees(tmp_path / "beside", {"a.py": function(110)}, head)) == []


@pytest.mark.parametrize(
    "filling",
    [
        "    # why\n" * 60,
        "\n" * 60,
        "    rows = [\n" + "        ('a', 1),\n" * 60 + "    ]\n",
        "    sql = '''\n" + "        SELECT 1\n" * 60 + "    '''\n",
        "    def inner():\n" + "        x = 1\n" * 60,
        "    class Inner:\n" + "        x = 1\n" * 60,
        "    if True:\n        def inner():\n" + "            x = 1\n" * 60,
    ],
)
def test_what_is_no_code_of_a_function(tmp_path: Path, filling: str) -> None:
    assert raised(CHECK, trees(tmp_path, {}, {"a.py": function(80) + filling})) == []


def test_a_docstring_is_no_code(tmp_path: Path) -> None:
    text = function(80).replace(":\n", ':\n    """Long.\n' + "    text\n" * 60 + '    """\n', 1)
    assert raised(CHECK, trees(tmp_path, {}, {"a.py": text})) == []


def test_other_formatting_is_no_growth(tmp_path: Path) -> None:
    calls = "".join("    call(one, two)\n" for _ in range(60))
    wide = "".join("    call(\n        one,\n        two,\n    )\n" for _ in range(60))
    assert raised(CHECK, trees(tmp_path, {"a.py": f"def f():\n{calls}"}, {"a.py": f"def f():\n{wide}"})) == []


def test_what_is_renamed_or_moved_was_as_large_before(tmp_path: Path) -> None:
    base = {"a.py": function(120) + methods(40), "b.py": ""}
    renamed = {"a.py": function(121, "other") + methods(41, "Basket"), "b.py": ""}
    assert raised(CHECK, trees(tmp_path / "renamed", base, renamed)) == []
    moved = {"a.py": "", "b.py": function(121) + methods(41)}
    assert raised(CHECK, trees(tmp_path / "moved", base, moved)) == []
    assert raised(CHECK, trees(tmp_path / "deleted", base, {"b.py": function(121) + methods(41)})) == []
    added = {**base, "b.py": function(121) + methods(41)}
    assert raised(CHECK, trees(tmp_path / "again", base, added)) == [("class", "b.py", 122), ("function", "b.py", 1)]


def test_a_class_of_too_many_methods(tmp_path: Path) -> None:
    found = only(CHECK, trees(tmp_path, {"a.py": methods(30)}, {"a.py": methods(31)}))
    assert (found.rule, found.line, found.severity) == ("class", 32, "minor")
    assert "`Cart` has 31 methods, 30 before" in found.message
    assert raised(CHECK, trees(tmp_path / "was", {"a.py": methods(31)}, {"a.py": methods(35)})) == []
    visitor = methods(20) + "".join(f"    def visit_{number}(self): ...\n" for number in range(30))
    assert raised(CHECK, trees(tmp_path / "visitor", {}, {"a.py": visitor})) == []
    overloads = "class A:\n" + "    @overload\n    def f(self): ...\n" * 40
    assert raised(CHECK, trees(tmp_path / "overloads", {}, {"a.py": overloads})) == []


def test_too_many_parameters(tmp_path: Path) -> None:
    base = {"a.py": "x = 1\ndef f(a, b, c, d, e, f, g, h):\n    pass\n"}
    found = only(CHECK, trees(tmp_path, base, {"a.py": "x = 1\ndef f(a, b, c, d, e, f, g, h, i):\n    pass\n"}))
    assert (found.rule, found.line, found.severity) == ("parameters", 2, "minor")
    assert "`f` takes 9 parameters" in found.message
    wide = "def f(\n    a,\n    b, c, d, e, f, g, h,\n    *,\n    i,\n):\n    pass\n"
    assert raised(
        CHECK, trees(tmp_path / "wide", {"a.py": wide.replace("    i,\n", "    i=1,\n")}, {"a.py": wide})
    ) == [("parameters", "a.py", 5)]


@pytest.mark.parametrize(
    "text",
    [
        "def f(a, b, c, d, e, f, g, h, *args, **kwargs): ...",
        "def f(a, b, c, d, e, f, *, g=1, h=2, i=3, j=4): ...",
        "class A:\n    def f(self, a, b, c, d, e, f, g, h): ...",
        "class A:\n    @classmethod\n    def f(cls, a, b, c, d, e, f, g, h): ...",
        "class A(Base):\n    def f(self, a, b, c, d, e, f, g, h, i): ...",
        "@app.command()\ndef f(a, b, c, d, e, f, g, h, i): ...",
        "@pytest.fixture\ndef f(a, b, c, d, e, f, g, h, i): ...",
        "f = lambda a, b, c, d, e, f, g, h, i: 1",
        "def f(a, b, c, d, e, f, g, h: Annotated[int, Option()], i: t.Annotated[int, 1] = 1): ...",
        "def f(a, b, c, d, e, f, g, h=Depends(x), i=Query()): ...",
    ],
)
def test_parameters_that_nobody_mixes_up(tmp_path: Path, text: str) -> None:
    assert raised(CHECK, trees(tmp_path, {}, {"a.py": text})) == []


@pytest.mark.parametrize(
    "text",
    [
        "class A(Base):\n    def __init__(self, a, b, c, d, e, f, g, h, i): ...",
        "class A:\n    @staticmethod\n    def f(a, b, c, d, e, f, g, h, i): ...",
        "if True:\n    def f(a, b, c, d, e, f, g, h, /, i): ...",
        "def f(a, b, c, d, e, f, g, h, i): ...\r\n",
    ],
)
def test_parameters_that_are_mixed_up(tmp_path: Path, text: str) -> None:
    assert [item.rule for item in CHECK.run(trees(tmp_path, {}, {"a.py": text}))] == ["parameters"]


def test_a_body_that_changes_is_no_new_parameter(tmp_path: Path) -> None:
    text = "def f(a, b, c, d, e, f, g, h, i):\n    return {}\n"
    assert raised(CHECK, trees(tmp_path, {"a.py": text.format(1)}, {"a.py": text.format(2)})) == []
    latin = b"# caf\xe9\n" + text.format(1).encode()
    assert raised(CHECK, trees(tmp_path / "latin", {}, {"a.py": latin})) == [("parameters", "a.py", 2)]
