"""Complexity, dead code and missing tests, on two trees made from texts."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from sdlc.review_graphs.checks.base import NotRun
from sdlc.review_graphs.checks.quality import uses
from sdlc.review_graphs.checks.quality.complexity import Complexity
from sdlc.review_graphs.checks.quality.dead_code import DeadCode
from sdlc.review_graphs.checks.quality.missing_tests import MissingTests
from tests.trees import only, raised, trees

COMPLEXITY, DEAD, MISSING = Complexity(), DeadCode(), MissingTests()


def code(text: str) -> str:
    return dedent(text).lstrip("\n")


def nested(name: str, depth: int, *, prefix: str = "") -> str:
    """A function with a cognitive complexity of 1 + 2 + … + depth."""
    lines = [f"{prefix}def {name}(x):"]
    lines += [f"{prefix}{'    ' * (level + 1)}if x > {level}:" for level in range(depth)]
    return "\n".join([*lines, f"{prefix}{'    ' * (depth + 1)}return x", ""])


# complexity


def test_a_function_that_the_change_takes_above_the_limit_is_named_at_its_def(tmp_path: Path) -> None:
    given = trees(tmp_path, {"a.py": nested("f", 4)}, {"a.py": nested("f", 6)})
    found = only(COMPLEXITY, given)
    assert (found.rule, found.file, found.severity) == ("too-complex", "a.py", "minor")
    assert found.line == 6, "the def is as it was: the first line that is added in the function"
    assert "21 (10 before, the limit is 15)" in found.message


def test_a_new_function_is_named_at_its_def(tmp_path: Path) -> None:
    found = only(COMPLEXITY, trees(tmp_path, {"a.py": "x = 1\n"}, {"a.py": "x = 1\n\n\n" + nested("f", 6)}))
    assert (found.rule, found.line) == ("too-complex", 4)


def test_the_limit_is_that_of_the_base(tmp_path: Path) -> None:
    base, head = {"a.py": nested("f", 1)}, {"a.py": nested("f", 3)}
    assert raised(COMPLEXITY, trees(tmp_path / "1", base, head)) == []
    assert raised(COMPLEXITY, trees(tmp_path / "2", base, head, rules={"complexity": 5})) == [
        ("too-complex", "a.py", 3)
    ]


@pytest.mark.parametrize(("before", "after", "rules"), [(6, 7, ["more-complex"]), (5, 5, []), (7, 6, []), (7, 7, [])])
def test_one_that_is_above_already_counts_when_it_grows_by_much(
    tmp_path: Path, before: int, after: int, rules: list[str]
) -> None:
    head = nested("f", after) + "    return 0\n"
    found = raised(COMPLEXITY, trees(tmp_path, {"a.py": nested("f", before)}, {"a.py": head}))
    assert [rule for rule, _, _ in found] == rules


def test_methods_are_told_apart_by_their_classes(tmp_path: Path) -> None:
    base = "class A:\n" + nested("f", 6, prefix="    ") + "class B:\n" + nested("f", 1, prefix="    ")
    head = "class A:\n" + nested("f", 6, prefix="    ") + "class B:\n" + nested("f", 6, prefix="    ")
    assert "`B.f`" in only(COMPLEXITY, trees(tmp_path, {"a.py": base}, {"a.py": head})).message


def test_a_function_that_moves_or_gets_another_name_has_not_become_complex(tmp_path: Path) -> None:
    long = nested("f", 6)
    moved = trees(tmp_path / "1", {"a.py": long + "\nx = 1\n"}, {"a.py": "x = 1\n", "b.py": long})
    renamed = trees(tmp_path / "2", {"a.py": long}, {"a.py": long.replace("def f", "def g")})
    file = trees(tmp_path / "3", {"old.py": long}, {"new.py": long + "\ny = 2\n"}, renamed={"new.py": "old.py"})
    into_class = trees(
        tmp_path / "4",
        {"a.py": long},
        {"a.py": "class A:\n" + nested("f", 6, prefix="    ").replace("(x)", "(self, x)")},
    )
    for given in (moved, renamed, file, into_class):
        assert raised(COMPLEXITY, given) == []


def test_tests_generated_files_and_what_does_not_parse_are_left_alone(tmp_path: Path) -> None:
    head: dict[str, str | bytes] = {
        "tests/test_a.py": nested("test_f", 6),
        "vendor/a.py": nested("f", 6),
        "broken.py": nested("f", 6) + "def (:\n",
        "latin.py": b"# \xe9\n" + nested("f", 6).encode(),
        "empty.py": "",
    }
    assert raised(COMPLEXITY, trees(tmp_path, {}, head)) == [("too-complex", "latin.py", 2)]


def test_the_change_does_not_excuse_itself_but_the_base_may(tmp_path: Path) -> None:
    excused = nested("f", 6).replace("(x):", "(x):  # complexipy: ignore", 1)
    assert raised(COMPLEXITY, trees(tmp_path / "1", {}, {"a.py": excused})) == [("too-complex", "a.py", 1)]
    longer = excused + "    return 0\n"
    assert raised(COMPLEXITY, trees(tmp_path / "2", {"a.py": excused}, {"a.py": longer})) == []


def test_crlf_and_decorators_do_not_move_the_line(tmp_path: Path) -> None:
    text = "import functools\n\n\n@functools.cache\n" + nested("f", 6)
    assert raised(COMPLEXITY, trees(tmp_path, {}, {"a.py": text.replace("\n", "\r\n")})) == [("too-complex", "a.py", 5)]


# dead code: what nobody uses


def test_a_private_function_that_nobody_uses_is_dead(tmp_path: Path) -> None:
    base = {"shop/rates.py": "def rate():\n    return 1\n", "shop/__init__.py": ""}
    head = {**base, "shop/rates.py": base["shop/rates.py"] + "\n\ndef _legacy(x):\n    return x + 1\n"}
    found = only(DEAD, trees(tmp_path, base, head))
    assert (found.rule, found.line, found.severity) == ("unused", 5, "minor")
    assert "`_legacy`" in found.message
    assert found.confidence >= 0.8


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"shop/other.py": "from shop.rates import _legacy\n\nprint(_legacy(1))\n"},
        {"shop/other.py": "import shop.rates\n\nshop.rates._legacy(2)\n"},
        {"tests/test_rates.py": "from shop.rates import _legacy\n\n\ndef test_it():\n    assert _legacy(1) == 2\n"},
        {"shop/other.py": "HANDLERS = ['shop.rates._legacy']\n"},
        {"shop/__init__.py": "from shop.rates import _legacy\n"},
        {"templates/page.html": "{{ _legacy(1) }}"},
        {"docs/index.rst": "Call ``_legacy`` instead.\n"},
        {"setup.cfg": "[options.entry_points]\nconsole_scripts =\n    x = shop.rates:_legacy\n"},
        {"shop/odd.py": "def (:\n    _legacy()\n"},
        {"shop/other.py": "import shop.rates as rates\n\n\ndef f(x):\n    return getattr(rates, x)()\n"},
        {"shop/other.py": "def f(m, x):\n    return getattr(m, '_leg' + x)()\n"},
        {"shop/other.py": "def f(m, x):\n    return getattr(m, f'_leg{x}')()\n"},
    ],
)
def test_whatever_looks_like_a_use_is_one(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    base = {"shop/rates.py": "def rate():\n    return 1\n", **elsewhere}
    head = {**base, "shop/rates.py": base["shop/rates.py"] + "\n\ndef _legacy(x):\n    return x + 1\n"}
    assert raised(DEAD, trees(tmp_path, base, head)) == []


def test_a_comment_or_a_docstring_is_no_use(tmp_path: Path) -> None:
    text = code(
        '''
        def rate():
            """See `_legacy`."""
            return 1  # as _legacy did


        def _legacy(x):
            return x
        '''
    )
    assert raised(DEAD, trees(tmp_path, {"shop/rates.py": "x = 1\n"}, {"shop/rates.py": text})) == [
        ("unused", "shop/rates.py", 1),
        ("unused", "shop/rates.py", 6),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "@app.route('/')\ndef _index():\n    return 1\n",
        "@pytest.fixture\ndef _money():\n    return 1\n",
        "@validator('x')\ndef _check(x):\n    return x\n",
        "def __getattr__(name):\n    raise AttributeError(name)\n",
        "def main():\n    return 1\n",
        "def pytest_addoption(parser):\n    return 1\n",
        "class Rate(Model):\n    def _hook(self):\n        return 1\n",
        "class Rate(metaclass=Registry):\n    pass\n",
        "class _Rate(plugins.Plugin):\n    pass\n",
        "__all__ = ['_rate']\n\n\ndef _rate():\n    return 1\n",
        "def _rate():\n    return 1\n\n\nif True:\n    _rate()\n",
        "def _do_get(x):\n    return x\n\n\ndef handler(name):\n    return globals()[name]\n",
        "class Walker:\n    def visit_Name(self, node):\n        return node\n\n\nWalker()\n",
        "class Box:\n    def __len__(self):\n        return 1\n\n\nBox()\n",
        "class Calls:\n    def _x_a(self):\n        return 1\n\n    def __call__(self, n):\n"
        "        return getattr(self, n)()\n"
        "\n\nCalls()\n",
    ],
)
def test_what_frameworks_and_conventions_call_is_not_dead(tmp_path: Path, text: str) -> None:
    assert raised(DEAD, trees(tmp_path, {"shop/a.py": "x = 1\n"}, {"shop/a.py": "x = 1\n\n\n" + text})) == []


def test_in_a_library_what_is_public_is_for_others(tmp_path: Path) -> None:
    base = {"shop/a.py": "x = 1\n", "pyproject.toml": "[project]\nname = 'shop'\n"}
    head = {**base, "shop/a.py": "x = 1\n\n\ndef total():\n    return 1\n\n\ndef _total():\n    return 1\n"}
    assert raised(DEAD, trees(tmp_path / "library", base, head)) == [("unused", "shop/a.py", 8)]
    app = {"manage.py": "x = 1\n"}
    found = raised(DEAD, trees(tmp_path / "application", {**base, **app}, {**head, **app}))
    assert found == [("unused", "shop/a.py", 4), ("unused", "shop/a.py", 8)]


def test_a_dead_class_is_one_finding_and_a_dead_method_one(tmp_path: Path) -> None:
    text = code(
        """
        class Cart:
            def total(self):
                return self._sum()

            def _sum(self):
                return 1


        class Used:
            def _never(self):
                return 1


        Used()
        """
    )
    found = raised(DEAD, trees(tmp_path, {"shop/a.py": "x = 1\n"}, {"shop/a.py": text}))
    assert found == [("unused", "shop/a.py", 1), ("unused", "shop/a.py", 10)]


def test_scripts_tests_and_migrations_may_hold_what_nobody_calls(tmp_path: Path) -> None:
    names = ["tests/test_a.py", "scripts/a.py", "migrations/0001.py", "docs/conf.py", "conftest.py", "shop/urls.py"]
    assert raised(DEAD, trees(tmp_path, {}, dict.fromkeys(names, "def _f():\n    return 1\n"))) == []


def test_what_was_dead_before_or_only_moves_is_not_brought(tmp_path: Path) -> None:
    dead = "def _f(x):\n    return x\n"
    edited = trees(tmp_path / "1", {"a.py": dead}, {"a.py": dead.replace("(x)", "(x, y=1)")})
    moved = trees(tmp_path / "2", {"a.py": dead, "b.py": ""}, {"a.py": "", "b.py": dead})
    renamed = trees(tmp_path / "3", {"a.py": dead}, {"b.py": dead}, renamed={"b.py": "a.py"})
    assert [raised(DEAD, given) for given in (edited, moved, renamed)] == [[], [], []]


# dead code: what a change leaves behind


def test_a_function_whose_last_use_goes_is_left_behind(tmp_path: Path) -> None:
    base = code(
        """
        def _old(x):
            return x


        def total(x):
            y = _old(x)
            return y


        print(total(1))
        """
    )
    found = only(
        DEAD, trees(tmp_path, {"a.py": base}, {"a.py": base.replace("_old(x)\n    return y", "x\n    return y")})
    )
    assert (found.rule, found.line) == ("left-behind", 6)
    assert "`_old` (line 1)" in found.message


def test_a_use_that_goes_in_another_file_leads_to_the_definition(tmp_path: Path) -> None:
    base = {"a.py": "X = 1\n\n\ndef _old(x):\n    return x\n", "b.py": "from a import _old\n\nprint(_old(1))\n"}
    head = {"a.py": "X = 2\n\n\ndef _old(x):\n    return x\n", "b.py": "print(1)\n"}
    assert raised(DEAD, trees(tmp_path, base, head)) == [("left-behind", "a.py", 4)]


def test_a_use_that_stays_somewhere_keeps_it(tmp_path: Path) -> None:
    keeper = {"c.py": "from a import _old\n\nprint(_old(2))\n"}
    base = {"a.py": "def _old(x):\n    return x\n\n\nprint(_old(1))\n", **keeper}
    head = {"a.py": "def _old(x):\n    return x\n\n\nprint(1)\n", **keeper}
    assert raised(DEAD, trees(tmp_path, base, head)) == []


# dead code: after the end


def test_an_early_return_cuts_off_what_ran_before(tmp_path: Path) -> None:
    base = "def f(x):\n    y = x + 1\n    return y\n\n\nf(1)\n"
    head = "def f(x):\n    return x\n    y = x + 1\n    return y\n\n\nf(1)\n"
    found = only(DEAD, trees(tmp_path, {"a.py": base}, {"a.py": head}))
    assert (found.rule, found.line, found.severity) == ("cut-off", 2, "major")
    assert "lines 3 to 4" in found.message


def test_new_code_behind_a_return_is_never_reached(tmp_path: Path) -> None:
    base = "def f(x):\n    return x\n\n\nf(1)\n"
    head = "def f(x):\n    return x\n    print(x)\n\n\nf(1)\n"
    found = only(DEAD, trees(tmp_path, {"a.py": base}, {"a.py": head}))
    assert (found.rule, found.line, found.severity) == ("unreachable", 3, "minor")


def test_a_test_that_returns_before_it_asserts(tmp_path: Path) -> None:
    base = "def test_f():\n    x = 1\n    assert x == 1\n"
    head = "def test_f():\n    x = 1\n    return\n    assert x == 1\n"
    found = only(DEAD, trees(tmp_path, {"tests/test_a.py": base}, {"tests/test_a.py": head}))
    assert found.line == 3


@pytest.mark.parametrize(
    "body",
    [
        "    return\n    yield\n",
        "    raise NotImplementedError\n    yield 1\n",
        "    if x:\n        return 1\n    else:\n        return 2\n    raise AssertionError(x)\n",
        "    while True:\n        x += 1\n    return x\n",
        "    if x:\n        return 1\n    return 2\n",
        "    for i in x:\n        if i:\n            break\n        continue\n    return 1\n",
        "    try:\n        return 1\n    except OSError:\n        x = 2\n    return x\n",
        "    with x:\n        return 1\n    return 2\n",
    ],
)
def test_what_is_reached_or_there_on_purpose(tmp_path: Path, body: str) -> None:
    assert raised(DEAD, trees(tmp_path, {}, {"tests/test_a.py": "def test_f(x):\n" + body})) == []


def test_what_could_not_be_reached_before_is_not_brought(tmp_path: Path) -> None:
    base = "def f(x):\n    return x\n    print(x)\n\n\nf(1)\n"
    assert raised(DEAD, trees(tmp_path, {"a.py": base}, {"a.py": "import os\n\n\n" + base + "os.getcwd()\n"})) == []


def test_too_many_files_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uses, "MOST_FILES", 1)
    given = trees(tmp_path, {"a.py": "", "b.py": ""}, {"a.py": "def _f():\n    return 1\n", "b.py": ""})
    with pytest.raises(NotRun, match=r"review\.without"):
        list(DEAD.run(given))


# missing tests

TESTS = {"tests/test_rates.py": "from shop.rates import rate\n\n\ndef test_rate():\n    assert rate(1) == 1\n"}
RATES = "def rate(x):\n    return x\n"
PARSE = code(
    """


    def parse_rate(text):
        if not text:
            raise ValueError("empty")
        return int(text)
    """
)


def test_a_new_function_without_any_test_is_one_finding(tmp_path: Path) -> None:
    base = {"shop/rates.py": RATES, **TESTS}
    found = only(MISSING, trees(tmp_path, base, {**base, "shop/rates.py": RATES + "\n\n" + PARSE}))
    assert (found.rule, found.file, found.line, found.severity) == ("no-test", "shop/rates.py", 5, "minor")
    assert "`parse_rate`" in found.message
    assert "`tests/test_rates.py`" in found.message


def test_many_functions_are_one_finding_at_the_largest(tmp_path: Path) -> None:
    base = {"shop/rates.py": RATES, **TESTS}
    more = "\n\n".join(f"def f{n}(x):\n    if x > {n + 2}:\n        return {n}\n    return x\n" for n in range(4))
    head = {**base, "shop/rates.py": RATES + "\n\n" + more, "shop/b.py": PARSE + "\n\n\nX = parse_rate('1')\n"}
    found = only(MISSING, trees(tmp_path, base, head))
    assert "and 2 more" in found.message


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def rate(x):\n    return x\n", "def rate(x):\n    if x < 0:\n        return 0\n    return x\n"),
        ("def rate(x):\n    return x > 3\n", "def rate(x):\n    return x >= 3\n"),
        ("def rate(x):\n    return x * 19\n", "def rate(x):\n    return x * 20\n"),
        (
            "def rate(x):\n    if x:\n        return 1\n    return 2\n",
            "def rate(x):\n    if x and len(x):\n        return 1\n    return 2\n",
        ),
        (
            "def rate(x):\n    return x\n",
            "def rate(x):\n    try:\n        return x()\n    except OSError:\n        return x\n",
        ),
        ("def rate(x):\n    return [y for y in x]\n", "def rate(x):\n    return [y for y in x if y]\n"),
    ],
)
def test_a_changed_decision_counts(tmp_path: Path, before: str, after: str) -> None:
    given = trees(tmp_path, {"shop/rates.py": before, **TESTS}, {"shop/rates.py": after, **TESTS})
    assert only(MISSING, given).rule == "no-test"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def rate(x):\n    return x\n", 'def rate(x):\n    """The rate."""\n    return x  # as it is\n'),
        ("def rate(x):\n    return x\n", "def rate(x: int) -> int:\n    return x\n"),
        ("def rate(x):\n    y = x + 1\n    return y\n", "def rate(x):\n    total = x + 1\n    return total\n"),
        ("RATE = 1\n", "RATE = 2\n"),
        ('__version__ = "1"\n', '__version__ = "2"\n'),
        (
            "def rate(x):\n    return x\n",
            "import logging\n\n\ndef rate(x):\n    logging.info('%s %s', x, 3)\n    return x\n",
        ),
        (
            "def rate(x, y=()):\n    return x\n",
            "def rate(x, y=None):\n    if y is None:\n        y = ()\n    return x\n",
        ),
        (
            "def rate(x):\n    if x > 3:\n        y = 1\n    else:\n        y = 2\n    return y\n",
            "def rate(x):\n    return _of(x)\n\n\ndef _of(x):\n    if x > 3:\n        y = 1\n"
            "    else:\n        y = 2\n    return y\n",
        ),
        ("def rate(x):\n    if x > 3:\n        return 1\n    return 2\n", "def rate(x):\n    return 2\n"),
        ("def rate(x):\n    return x\n\n\ndef b(x):\n    return 2 if x else 3\n", "def rate(x):\n    return x\n"),
        (
            "def rate(x):\n    out = []\n    for y in x:\n        out.append(y)\n    return out\n",
            "def rate(x):\n    return [y for y in x]\n",
        ),
    ],
)
def test_what_changes_nothing_that_is_decided_needs_no_test(tmp_path: Path, before: str, after: str) -> None:
    given = trees(tmp_path, {"shop/rates.py": before, **TESTS}, {"shop/rates.py": after, **TESTS})
    assert raised(MISSING, given) == []


def test_a_function_that_moves_to_another_file_was_there_before(tmp_path: Path) -> None:
    base = {"shop/rates.py": RATES + "\n\n" + PARSE, "shop/parse.py": "", **TESTS}
    head = {"shop/rates.py": RATES, "shop/parse.py": PARSE, **TESTS}
    assert raised(MISSING, trees(tmp_path, base, head)) == []


def test_a_changed_test_silences_and_so_does_a_doctest(tmp_path: Path) -> None:
    base = {"shop/rates.py": RATES, **TESTS}
    tested = {"shop/rates.py": RATES + PARSE, "tests/test_rates.py": TESTS["tests/test_rates.py"] + "\n\n# more\n"}
    doctest = {
        **TESTS,
        "shop/rates.py": RATES + PARSE.replace("(text):", '(text):\n    """\n    >>> 1\n    1\n    """'),
    }
    assert raised(MISSING, trees(tmp_path / "1", base, tested)) == []
    assert raised(MISSING, trees(tmp_path / "2", base, doctest)) == []


def test_deleting_tests_is_not_testing(tmp_path: Path) -> None:
    base = {"shop/rates.py": RATES, "tests/test_b.py": "def test_b():\n    assert 1\n", **TESTS}
    assert only(MISSING, trees(tmp_path, base, {"shop/rates.py": RATES + PARSE, **TESTS})).rule == "no-test"


def test_a_repository_without_tests_and_files_that_are_no_product_are_left_alone(tmp_path: Path) -> None:
    assert raised(MISSING, trees(tmp_path / "1", {"shop/rates.py": RATES}, {"shop/rates.py": RATES + PARSE})) == []
    paths = [
        "typing-examples/a.py",
        "scripts/a.py",
        "docs/conf.py",
        "examples/a.py",
        "shop/migrations/0001.py",
        "setup.py",
    ]
    assert raised(MISSING, trees(tmp_path / "2", TESTS, {**TESTS, **dict.fromkeys(paths, PARSE)})) == []


def test_in_a_library_a_new_function_that_no_test_names(tmp_path: Path) -> None:
    library = {"pyproject.toml": "[project]\nname = 'shop'\n", "shop/rates.py": RATES, **TESTS}
    changed = {"tests/test_rates.py": TESTS["tests/test_rates.py"] + "    assert rate(2) == 2\n"}
    head = {**library, "shop/rates.py": RATES + "\n\n" + PARSE, **changed}
    assert only(MISSING, trees(tmp_path / "1", library, head)).rule == "new-untested"
    used = {**head, "shop/b.py": "from shop.rates import parse_rate\n\nX = parse_rate('1')\n"}
    assert raised(MISSING, trees(tmp_path / "2", library, used)) == []
    named = {
        **head,
        "tests/test_rates.py": TESTS["tests/test_rates.py"]
        + "\n\nfrom shop.rates import parse_rate\nparse_rate('1')\n",
    }
    assert raised(MISSING, trees(tmp_path / "3", library, named)) == []


def test_a_script_with_a_test_beside_it(tmp_path: Path) -> None:
    base = {"src/cart.ts": "export function a() { return 1; }\n", "src/cart.test.ts": "it('a', () => {});\n"}
    more = "export function total(x) {\n  if (x > 1) { return 2; }\n  return 1;\n}\n"
    given = trees(tmp_path / "1", base, {**base, "src/cart.ts": base["src/cart.ts"] + more})
    assert raised(MISSING, given) == [("no-test", "src/cart.ts", 2)]
    alone = {"src/cart.ts": base["src/cart.ts"]}
    assert raised(MISSING, trees(tmp_path / "2", alone, {"src/cart.ts": alone["src/cart.ts"] + more})) == []
    tested = {"src/cart.ts": base["src/cart.ts"] + more, "src/cart.test.ts": "it('b', () => {});\n"}
    assert raised(MISSING, trees(tmp_path / "3", base, tested)) == []
