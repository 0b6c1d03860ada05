"""What a change takes from the tests: of pytest and unittest, of jest and its like, and in settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdlc.review_graphs.checks.quality.javascript import blocks, code_of
from sdlc.review_graphs.checks.quality.weakened_tests import WeakenedTests
from tests.trees import only, raised, trees

CHECK = WeakenedTests()
PRODUCT = {"shop/rates.py": "def rate(x):\n    return x\n\n\ndef other(x):\n    return x\n"}
IMPORT = "import pytest\nfrom shop.rates import rate\n\n\n"
ONE = "def test_one():\n    assert rate(1) == 1\n"
TWO = "def test_two():\n    with pytest.raises(ValueError):\n        rate('x')\n    assert rate(2.5) == 2.5\n"
BOTH = IMPORT + ONE + "\n\n" + TWO


def given(folder: Path, before: str, after: str, **more: str):  # type: ignore[no-untyped-def]
    """A change of one test file, and perhaps of the product."""
    head = {**PRODUCT, "tests/test_a.py": after}
    head.update({"shop/rates.py": more["product"]} if "product" in more else {})
    return trees(folder, {**PRODUCT, "tests/test_a.py": before}, head)


# removed


def test_a_removed_test_is_told_where_it_was(tmp_path: Path) -> None:
    found = only(CHECK, given(tmp_path, BOTH, IMPORT + TWO))
    assert (found.rule, found.file, found.line, found.severity) == ("test-removed", "tests/test_a.py", 5, "blocker")
    assert "`test_one`" in found.message
    assert "`rate`" in found.message


def test_a_removed_file_of_tests_is_one_finding(tmp_path: Path) -> None:
    found = only(CHECK, trees(tmp_path, {**PRODUCT, "tests/test_a.py": BOTH}, PRODUCT))
    assert (found.rule, found.file, found.line) == ("test-removed", "tests/test_a.py", 1)
    assert "2 tests are removed" in found.message
    assert "`test_one`, `test_two`" in found.message


def test_many_are_one_finding(tmp_path: Path) -> None:
    many = "\n\n".join(f"def test_{n}():\n    assert rate({n}) == {n}\n" for n in range(5))
    found = only(CHECK, given(tmp_path, IMPORT + many + ONE, IMPORT + ONE))
    assert "5 tests are removed" in found.message
    assert "and 2 more" in found.message


def test_a_test_that_is_commented_out_or_not_called_test_any_more(tmp_path: Path) -> None:
    commented = IMPORT + "# def test_one():\n#     assert rate(1) == 1\n\n\n" + TWO
    found = only(CHECK, given(tmp_path / "1", BOTH, commented))
    assert (found.rule, found.line) == ("test-disabled", 5)
    renamed = BOTH.replace("def test_one", "def xtest_one")
    found = only(CHECK, given(tmp_path / "2", BOTH, renamed))
    assert (found.rule, found.line) == ("test-disabled", 5)
    assert "`xtest_one`" in found.message


def test_a_file_that_pytest_no_longer_finds(tmp_path: Path) -> None:
    base, head = {"tests/test_a.py": BOTH}, {"tests/old_a.py": BOTH}
    found = only(CHECK, trees(tmp_path, base, head, renamed={"tests/old_a.py": "tests/test_a.py"}))
    assert (found.rule, found.file) == ("test-disabled", "tests/old_a.py")


@pytest.mark.parametrize(
    "after",
    [
        IMPORT + ONE.replace("test_one", "test_the_rate_of_one") + "\n\n" + TWO,
        IMPORT + "class TestRates:\n    def test_one(self):\n        assert rate(1) == 1\n\n\n" + TWO,
        IMPORT
        + "@pytest.mark.parametrize(('x', 'y'), [(1, 1), (2, 2)])\ndef test_rates(x, y):\n    assert rate(x) == y\n\n\n"
        + TWO,
        IMPORT + TWO + "    assert rate(1) == 1\n",
        IMPORT + "def test_ones():\n    result = rate(1)\n    assert result == 1\n\n\n" + TWO,
        BOTH.replace("\n", "\r\n"),
        BOTH.rstrip("\n"),
    ],
)
def test_a_test_that_moves_or_is_put_otherwise_is_still_there(tmp_path: Path, after: str) -> None:
    assert raised(CHECK, given(tmp_path, BOTH, after)) == []


def test_a_test_that_moves_to_another_file(tmp_path: Path) -> None:
    base = {**PRODUCT, "tests/test_a.py": BOTH}
    head = {**PRODUCT, "tests/test_a.py": IMPORT + TWO, "tests/test_b.py": IMPORT + ONE}
    assert raised(CHECK, trees(tmp_path / "1", base, head)) == []
    whole = {**PRODUCT, "tests/rates/test_rates.py": BOTH}
    assert raised(CHECK, trees(tmp_path / "2", base, whole)) == []
    renamed = {"tests/rates/test_rates.py": "tests/test_a.py"}
    assert raised(CHECK, trees(tmp_path / "3", base, whole, renamed=renamed)) == []


def test_a_test_goes_with_what_it_tests(tmp_path: Path) -> None:
    base = {**PRODUCT, "tests/test_a.py": BOTH}
    gone = {"shop/rates.py": "def other(x):\n    return x\n"}
    assert raised(CHECK, trees(tmp_path / "1", base, gone)) == []
    strict = {"shop/rates.py": "def rate(x):\n    if x == 'x':\n        raise ValueError(x)\n    return x\n"}
    head = {**PRODUCT, "tests/test_a.py": IMPORT + ONE}
    assert raised(CHECK, trees(tmp_path / "2", {**base, **strict}, head)) == [], "nothing raises a ValueError any more"


def test_a_test_that_was_skipped_proved_nothing(tmp_path: Path) -> None:
    before = BOTH.replace("def test_one", "@pytest.mark.skip\ndef test_one")
    assert raised(CHECK, given(tmp_path, before, IMPORT + TWO)) == []


def test_a_test_for_some_versions_goes_with_them(tmp_path: Path) -> None:
    before = BOTH.replace("def test_one", "@pytest.mark.skipif(PY39, reason='x')\ndef test_one")
    assert raised(CHECK, given(tmp_path, before, IMPORT + TWO)) == []


def test_a_test_goes_with_the_parameter_or_the_branch_that_it_was_about(tmp_path: Path) -> None:
    product = "def rate(x, net=False):\n    if x > 3:\n        return 3\n    return x\n"
    tests = IMPORT + ONE + "\n\ndef test_net():\n    with net():\n        assert rate(1, net=True) is x.net\n"
    base = {"shop/rates.py": product, "shop/b.py": "def f(net):\n    return net\n", "tests/test_a.py": tests}
    head = {**base, "shop/rates.py": product.replace(", net=False", ""), "tests/test_a.py": IMPORT + ONE}
    assert raised(CHECK, trees(tmp_path / "1", base, head)) == []
    less = {**base, "shop/rates.py": "def rate(x, net=False):\n    return x\n", "tests/test_a.py": IMPORT + ONE}
    assert raised(CHECK, trees(tmp_path / "2", base, less)) == []
    other = {**base, "shop/rates.py": product.replace("return 3", "return 4"), "tests/test_a.py": IMPORT + ONE}
    assert only(CHECK, trees(tmp_path / "3", base, other)).confidence < 0.9


def test_own_names_of_tests_are_nobody_elses_business(tmp_path: Path) -> None:
    own = {"pytest.ini": "[pytest]\npython_functions = test_* check_*\n", **PRODUCT}
    base = {**own, "tests/test_a.py": BOTH}
    head = {**own, "tests/test_a.py": BOTH.replace("def test_one", "def check_one")}
    assert [rule for rule, _, _ in raised(CHECK, trees(tmp_path, base, head))] == ["test-removed"]


# switched off


@pytest.mark.parametrize(
    ("mark", "line"),
    [
        ("@pytest.mark.skip\n", 5),
        ("@pytest.mark.skip(reason='flaky')\n", 5),
        ("@pytest.mark.skipif(True, reason='x')\n", 5),
        ("@pytest.mark.xfail\n", 5),
        ("@pytest.mark.xfail(reason='later', strict=False)\n", 5),
        ("@unittest.skip('x')\n", 5),
        ("@unittest.expectedFailure\n", 5),
    ],
)
def test_a_mark_that_switches_a_test_off(tmp_path: Path, mark: str, line: int) -> None:
    found = only(CHECK, given(tmp_path, BOTH, BOTH.replace("def test_one", f"{mark}def test_one")))
    assert (found.rule, found.line, found.severity) == ("test-disabled", line, "blocker")


def test_a_call_that_switches_a_test_off(tmp_path: Path) -> None:
    found = only(
        CHECK,
        given(tmp_path, BOTH, BOTH.replace("():\n    assert rate(1)", "():\n    pytest.skip('x')\n    assert rate(1)")),
    )
    assert (found.rule, found.line) == ("test-disabled", 6)


def test_a_mark_on_all_of_a_file_or_class_is_one_finding(tmp_path: Path) -> None:
    found = only(
        CHECK,
        given(
            tmp_path / "1",
            BOTH,
            BOTH.replace("\n\n\ndef test_one", "\n\npytestmark = pytest.mark.skip\n\n\ndef test_one"),
        ),
    )
    assert "2 tests are skipped" in found.message
    grouped = (
        IMPORT + "class TestRate:\n    def test_a(self):\n        assert rate(1) == 1\n\n    def test_b(self):\n"
        "        assert rate(2)\n"
    )
    found = only(CHECK, given(tmp_path / "2", grouped, grouped.replace("class", "@pytest.mark.skip\nclass")))
    assert "2 tests are skipped" in found.message


@pytest.mark.parametrize(
    "mark",
    [
        "@pytest.mark.skipif(sys.platform == 'win32', reason='x')\n",
        "@pytest.mark.xfail(sys.version_info < (3, 9), reason='x')\n",
        "@unittest.skipUnless(HAS_REDIS, 'x')\n",
        "@pytest.mark.slow\n",
        "@pytest.mark.usefixtures('skip')\n",
    ],
)
def test_a_condition_or_another_mark_switches_nothing_off(tmp_path: Path, mark: str) -> None:
    assert raised(CHECK, given(tmp_path, BOTH, BOTH.replace("def test_one", f"{mark}def test_one"))) == []


def test_a_new_test_that_is_skipped_takes_nothing_away(tmp_path: Path) -> None:
    new = "\n\n@pytest.mark.xfail\ndef test_three():\n    assert rate(3) == 4\n"
    assert raised(CHECK, given(tmp_path, BOTH, BOTH + new)) == []


def test_one_that_was_skipped_before_stays_so(tmp_path: Path) -> None:
    before = BOTH.replace("def test_one", "@pytest.mark.skip\ndef test_one")
    assert raised(CHECK, given(tmp_path, before, before.replace("mark.skip", "mark.skip(reason='slow')"))) == []


# assertions


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("    assert rate(1) == 1\n", "    assert rate(1)\n"),
        ("    assert rate(1) == 1\n", "    assert rate(1) is not None\n"),
        ("    assert rate(1) == 1\n", "    assert isinstance(rate(1), int)\n"),
        ("    assert rate(1) == [1]\n", "    assert len(rate(1)) > 0\n"),
        ("    assert rate(1) == 1\n", "    rate(1)\n    assert True\n"),
        ("    assert rate(1) == 1\n", "    assert rate(1) == 1 or True\n"),
        ("    x = rate(1)\n    assert x == 1\n", "    x = rate(1)\n    assert x == x\n"),
        ("    self.assertEqual(rate(1), 1)\n", "    self.assertTrue(rate(1))\n"),
        ("    self.assertEqual(rate(1), 1)\n", "    self.assertTrue(True)\n"),
        ("    self.assertEqual(rate(1), 1)\n", "    self.assertIsNotNone(rate(1))\n"),
        (
            "    with pytest.raises(ValueError):\n        rate(1)\n",
            "    with pytest.raises(Exception):\n        rate(1)\n",
        ),
        (
            "    with self.assertRaises(KeyError):\n        rate(1)\n",
            "    with self.assertRaises(Exception):\n        rate(1)\n",
        ),
    ],
)
def test_an_assertion_that_says_less(tmp_path: Path, before: str, after: str) -> None:
    head = IMPORT + "def test_it(self):\n"
    found = only(CHECK, given(tmp_path, head + before, head + after))
    assert (found.rule, found.severity) == ("assertion-weakened", "blocker")
    assert found.line >= 6


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("    assert rate(1) == 1\n", "    assert rate(1) == 2\n"),
        ("    assert rate(1) == True\n", "    assert rate(1)\n"),
        ("    assert rate(1)\n", "    assert rate(1) == 1\n"),
        ("    assert rate(1) == 1\n", "    self.assertEqual(rate(1), 1)\n"),
        ("    assert rate(1) == 1\n", "    x = rate(1)\n    assert x\n    assert x.value == 1\n"),
        ("    x = rate(1)\n    assert x == [1]\n", "    x = rate(1)\n    assert x\n    assert x[0] == 1\n"),
        ("    assert rate(1) == 1\n    assert rate(2) == 2\n", "    assert [rate(x) for x in (1, 2)] == [1, 2]\n"),
        ("    assert rate(1) == 1\n", "    assert rate(1) == pytest.approx(1)\n"),
        (
            "    with pytest.raises(Exception):\n        rate(1)\n",
            "    with pytest.raises(ValueError):\n        rate(1)\n",
        ),
        (
            "    with pytest.raises(KeyError):\n        rate(1)\n",
            "    with pytest.raises(ValueError):\n        rate(1)\n",
        ),
        ("    assert rate(1) == 1\n", "    check_rate(1)\n"),
        ("    assert rate(1) == 1\n    assert rate(2) == 2\n", "    assert_rates(1, 2)\n"),
    ],
)
def test_an_assertion_that_says_something_else(tmp_path: Path, before: str, after: str) -> None:
    head = IMPORT + "def test_it(self):\n"
    assert raised(CHECK, given(tmp_path, head + before, head + after)) == []


def test_an_assertion_that_goes(tmp_path: Path) -> None:
    text = IMPORT + "def test_it():\n    x = rate(1)\n    assert x == 1\n    assert x != 2\n"
    found = only(CHECK, given(tmp_path / "1", text, text.replace("    assert x == 1\n", "")))
    assert (found.rule, found.line, found.severity) == ("assertions-removed", 7, "minor")
    assert "1 of its 2 assertions" in found.message
    found = only(
        CHECK,
        given(
            tmp_path / "2",
            text,
            IMPORT + "def test_it():\n    x = rate(1)\n    print(x)\n".replace("    print(x)\n", ""),
        ),
    )
    assert (found.rule, found.severity) == ("assertions-removed", "blocker")


def test_an_assertion_that_goes_with_its_subject_or_to_another_test(tmp_path: Path) -> None:
    text = IMPORT + "def test_it():\n    x = rate(1)\n    assert x == 1\n    assert x.tax == 2\n"
    product = "def rate(x):\n    x.tax = 2\n    return x\n"
    base = {"shop/rates.py": product, "tests/test_a.py": text}
    head = {
        "shop/rates.py": "def rate(x):\n    return x\n",
        "tests/test_a.py": text.replace("    assert x.tax == 2\n", ""),
    }
    assert raised(CHECK, trees(tmp_path / "1", base, head)) == []
    split = (
        text.replace("    assert x.tax == 2\n", "") + "\n\ndef test_tax():\n    y = rate(1)\n    assert y.tax == 2\n"
    )
    assert raised(CHECK, given(tmp_path / "2", text, split)) == []


@pytest.mark.parametrize(
    "body",
    [
        "    try:\n        assert rate(1) == 1\n    except AssertionError:\n        pass\n",
        "    try:\n        assert rate(1) == 1\n    except Exception:\n        print('x')\n",
        "    with contextlib.suppress(AssertionError):\n        assert rate(1) == 1\n",
    ],
)
def test_an_assertion_whose_failure_is_caught(tmp_path: Path, body: str) -> None:
    before, after = IMPORT + ONE, IMPORT + "def test_one():\n" + body
    found = only(CHECK, given(tmp_path / "1", before, after))
    assert (found.rule, found.severity) == ("assertion-swallowed", "blocker")
    new = after.replace("test_one", "test_new")
    assert only(CHECK, given(tmp_path / "2", IMPORT, new)).rule == "assertion-swallowed"


@pytest.mark.parametrize(
    "body",
    [
        "    try:\n        rate(1)\n    except ValueError:\n        pass\n    else:\n        assert rate(1) == 1\n",
        "    try:\n        assert rate(1) == 1\n    except AssertionError:\n        raise\n",
        "    try:\n        assert rate(1) == 1\n    finally:\n        rate(0)\n",
        "    with contextlib.suppress(OSError):\n        assert rate(1) == 1\n",
        "    try:\n        assert rate(1) == 1\n    except Exception:\n        pytest.fail('x')\n",
    ],
)
def test_an_assertion_whose_failure_is_seen(tmp_path: Path, body: str) -> None:
    assert raised(CHECK, given(tmp_path, IMPORT + ONE, IMPORT + "def test_one():\n" + body)) == []


def test_a_new_test_that_cannot_fail(tmp_path: Path) -> None:
    new = "\n\ndef test_new():\n    rate(5)\n    assert True\n"
    found = only(CHECK, given(tmp_path, BOTH, BOTH + new))
    assert (found.rule, found.severity) == ("asserts-nothing", "minor")


def test_cases_that_go_or_are_skipped(tmp_path: Path) -> None:
    text = IMPORT + "@pytest.mark.parametrize('x', [1, 2, -3])\ndef test_it(x):\n    assert rate(x) == x\n"
    found = only(CHECK, given(tmp_path / "1", text, text.replace(", -3", "")))
    assert (found.rule, found.line, found.severity) == ("cases-removed", 5, "minor")
    skipped = text.replace("-3", "pytest.param(-3, marks=pytest.mark.xfail)")
    assert only(CHECK, given(tmp_path / "2", text, skipped)).rule == "test-disabled"
    assert raised(CHECK, given(tmp_path / "3", text, text.replace("-3", "-4"))) == []
    assert raised(CHECK, given(tmp_path / "4", text, text.replace("-3", "-3, 4"))) == []


def test_what_does_not_parse_is_left_to_others(tmp_path: Path) -> None:
    assert raised(CHECK, given(tmp_path / "1", BOTH, BOTH + "def (:\n")) == []
    assert raised(CHECK, given(tmp_path / "2", BOTH + "def (:\n", BOTH)) == []
    binary = trees(tmp_path / "3", {"tests/test_a.py": BOTH}, {"tests/test_a.py": b"\0\1"})
    assert raised(CHECK, binary) == []


# JavaScript

CART = (
    'describe("cart", () => {\n  it("adds", () => { expect(add(1, 2)).toBe(3); });\n'
    '  it("sums", () => { expect(sum([1])).toBe(1); });\n});\n'
)


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('it("adds"', 'it.skip("adds"', "test-disabled"),
        ('it("adds"', 'xit("adds"', "test-disabled"),
        ('describe("cart"', 'describe.skip("cart"', "test-disabled"),
        ('it("adds"', 'it.only("adds"', "focused-test"),
        ('describe("cart"', 'fdescribe("cart"', "focused-test"),
        ('  it("sums", () => { expect(sum([1])).toBe(1); });\n', "", "test-removed"),
    ],
)
def test_scripts_lose_tests(tmp_path: Path, old: str, new: str, rule: str) -> None:
    found = only(CHECK, trees(tmp_path, {"src/cart.test.ts": CART}, {"src/cart.test.ts": CART.replace(old, new)}))
    assert (found.rule, found.severity) == (rule, "blocker")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('it("adds"', '// it.only("adds"\n  it("adds"'),
        ('it("adds"', 'it("adds numbers"'),
        ('it("adds"', 'log("it.only(");\n  it("adds"'),
        ('it("adds"', 'it.todo("later");\n  it("adds"'),
        ('it("adds"', 'it.skip("new", () => {});\n  it("adds"'),
        ('it("adds"', 'list.only("x");\n  it("adds"'),
    ],
)
def test_scripts_keep_their_tests(tmp_path: Path, old: str, new: str) -> None:
    assert raised(CHECK, trees(tmp_path, {"src/a.test.js": CART}, {"src/a.test.js": CART.replace(old, new)})) == []


def test_a_test_of_a_script_goes_with_what_it_tests(tmp_path: Path) -> None:
    base = {"src/cart.ts": "export function sum() {}\nexport function add() {}\n", "src/cart.test.ts": CART}
    head = {
        "src/cart.ts": "export function add() {}\n",
        "src/cart.test.ts": CART.replace('  it("sums", () => { expect(sum([1])).toBe(1); });\n', ""),
    }
    assert raised(CHECK, trees(tmp_path, base, head)) == []


def test_comments_and_texts_of_scripts_are_no_code() -> None:
    text = "a('it.only(') // it.only(\n/* x */ `t ${b({c: 1})} it(` + /it.only\\(\"/.test(d)\nconst e = f / g / h;"
    code = code_of(text)
    assert len(code) == len(text)
    assert "only" not in code
    assert "b({c: 1})" in code
    assert "f / g / h" in code
    assert [block.title for block in blocks(CART)] == ["cart", "adds", "sums"]
    table = "it.each`\n a | b\n ${1} | ${2}\n`('adds $a', () => {});\ntest.each([[1], [2]])('x', () => {});\n"
    assert [block.title for block in blocks(table)] == ["adds $a", "x"]


# settings


def settings(folder: Path, name: str, before: str, after: str):  # type: ignore[no-untyped-def]
    rest = {"tests/unit/test_a.py": ONE, "tests/slow/test_b.py": ONE, "setup.py": ""}
    return trees(folder, {**rest, name: before}, {**rest, name: after})


PYPROJECT = (
    '[tool.pytest.ini_options]\naddopts = "-ra"\ntestpaths = ["tests"]\n[tool.coverage.report]\nfail_under = 90\n'
)


@pytest.mark.parametrize(
    ("old", "new", "rule", "line"),
    [
        ('"-ra"', '"-ra --ignore=tests/slow"', "deselected", 2),
        ('"-ra"', '"-ra --deselect tests/slow/test_b.py::test_one"', "deselected", 2),
        ('"-ra"', "\"-ra -k 'not slow'\"", "deselected", 2),
        ('["tests"]', '["tests/unit"]', "deselected", 3),
        ('["tests"]', '["tests"]\nnorecursedirs = ["slow"]', "deselected", 4),
        ('["tests"]', '["tests"]\npython_files = ["test_a*.py"]', "deselected", 4),
        ("= 90", "= 70", "coverage-lowered", 5),
        ("fail_under = 90\n", "", "coverage-lowered", 5),
    ],
)
def test_pyproject_leaves_out_tests(tmp_path: Path, old: str, new: str, rule: str, line: int) -> None:
    found = only(CHECK, settings(tmp_path, "pyproject.toml", PYPROJECT, PYPROJECT.replace(old, new)))
    assert (found.rule, found.severity) == (rule, "blocker")
    assert abs(found.line - line) <= 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"-ra"', "\"-ra -q --strict-markers -m 'not slow'\""),
        ('"-ra"', '"-ra --ignore=docs --ignore=build"'),
        ('["tests"]', '["tests", "more"]'),
        ('["tests"]', '["."]'),
        ('["tests"]', '["tests"]\nnorecursedirs = ["node_modules"]'),
        ('["tests"]', '["tests"]\npython_files = ["test_*.py", "check_*.py"]'),
        ("= 90", "= 95"),
        ("= 90", "= 90.0"),
        ("[tool.coverage.report]", "[tool.other]\nx = 1\n[tool.coverage.report]"),
        ("[tool.pytest", "[[[tool.pytest"),
    ],
)
def test_pyproject_says_more_or_something_else(tmp_path: Path, old: str, new: str) -> None:
    assert raised(CHECK, settings(tmp_path, "pyproject.toml", PYPROJECT, PYPROJECT.replace(old, new))) == []


@pytest.mark.parametrize(
    ("name", "before", "after", "rule"),
    [
        ("pytest.ini", "[pytest]\naddopts = -ra\n", "[pytest]\naddopts = -ra --ignore=tests/slow\n", "deselected"),
        ("setup.cfg", "[tool:pytest]\ntestpaths = tests\n", "[tool:pytest]\ntestpaths = tests/unit\n", "deselected"),
        (
            "tox.ini",
            "[pytest]\naddopts = --cov-fail-under=90\n",
            "[pytest]\naddopts = --cov-fail-under=50\n",
            "coverage-lowered",
        ),
        (".coveragerc", "[report]\nfail_under = 90\n", "[report]\nfail_under = 10\n", "coverage-lowered"),
        ("tests/conftest.py", "x = 1\n", 'x = 1\ncollect_ignore = ["slow/test_b.py"]\n', "deselected"),
        (".github/workflows/ci.yml", "- run: pytest\n", "- run: pytest --ignore=tests/slow\n", "deselected"),
        (".github/workflows/ci.yml", "- run: pytest\n", "- run: pytest || true\n", "deselected"),
        ("Makefile", "test:\n\tpytest -q\n", 'test:\n\tpytest -q -k "not slow"\n', "deselected"),
        (
            "Makefile",
            "test:\n\tpytest --cov-fail-under=90\n",
            "test:\n\tpytest --cov-fail-under=20\n",
            "coverage-lowered",
        ),
    ],
)
def test_other_settings_that_leave_out_tests(tmp_path: Path, name: str, before: str, after: str, rule: str) -> None:
    found = only(CHECK, settings(tmp_path, name, before, after))
    assert (found.rule, found.file) == (rule, name)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("conftest.py", "x = 1\n", 'x = 1\ncollect_ignore = ["setup.py"]\n'),
        (".github/workflows/ci.yml", "- run: pytest\n", "- run: pytest\n- run: make docs || true\n"),
        (".github/workflows/ci.yml", "- run: make\n", "- run: make\n- run: pytest -k 'not slow'\n"),
        (".github/workflows/ci.yml", "- run: pytest\n", "# - run: pytest || true\n- run: pytest\n"),
        ("Makefile", "test:\n\tpytest -q\n", "test:\n\tpytest -q -x --ff\n"),
        ("pytest.ini", "[pytest]\n", "[pytest\n"),
    ],
)
def test_other_settings_that_do_not(tmp_path: Path, name: str, before: str, after: str) -> None:
    assert raised(CHECK, settings(tmp_path, name, before, after)) == []


def test_jest_asks_for_less(tmp_path: Path) -> None:
    def package(**jest: object) -> str:
        return json.dumps({"name": "x", "jest": jest}, indent=2)

    before = package(coverageThreshold={"global": {"lines": 80}})
    after = package(coverageThreshold={"global": {"lines": 50}})
    assert only(CHECK, settings(tmp_path / "1", "package.json", before, after)).rule == "coverage-lowered"
    after = package(coverageThreshold={"global": {"lines": 80}}, testPathIgnorePatterns=["/slow/", "/node_modules/"])
    assert only(CHECK, settings(tmp_path / "2", "package.json", before, after)).rule == "deselected"
    assert raised(CHECK, settings(tmp_path / "3", "package.json", before, "{")) == []
