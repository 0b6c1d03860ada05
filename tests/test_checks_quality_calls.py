"""Calls that do not fit, and imports of what is not there."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from sdlc.review_graphs.checks.quality.broken_imports import BrokenImports
from sdlc.review_graphs.checks.quality.calls import Calls
from tests.trees import only, raised, trees

CALLS, IMPORTS = Calls(), BrokenImports()


def code(text: str) -> str:
    return dedent(text).lstrip("\n")


RATES = {"shop/__init__.py": "", "shop/rates.py": "def rate(amount, country='DE', *, net=False):\n    return amount\n"}
NEW = {**RATES, "shop/rates.py": "def rate(amount, country, currency, *, net=False):\n    return amount\n"}


# a signature that changes


@pytest.mark.parametrize(
    "caller",
    [
        "from shop.rates import rate\n\nx = rate(1)\n",
        "from shop.rates import rate as r\n\nx = r(1, 'FR')\n",
        "import shop.rates as rates\n\nx = rates.rate(1, country='FR')\n",
        "from shop import rates\n\n\ndef f():\n    return rates.rate(1)\n",
    ],
)
def test_a_call_that_was_left_behind(tmp_path: Path, caller: str) -> None:
    found = only(CALLS, trees(tmp_path, {**RATES, "app/use.py": caller}, {**NEW, "app/use.py": caller}))
    assert (found.rule, found.file, found.line, found.severity) == ("caller-left-behind", "shop/rates.py", 1, "major")
    assert "app/use.py:" in found.message
    assert "`currency`" in found.message


def test_calls_inside_the_package_and_through_it(tmp_path: Path) -> None:
    callers = {
        "shop/a.py": "from .rates import rate\n\nrate(1)\n",
        "shop/sub/__init__.py": "",
        "shop/sub/b.py": "from ..rates import rate\n\nrate(1, 'x')\n",
        "shop/__init__.py": "from shop.rates import rate\n",
        "c.py": "from shop import rate\n\nrate(2)\n",
    }
    found = only(CALLS, trees(tmp_path, {**RATES, **callers}, {**NEW, **callers}))
    assert "2 more such calls" in found.message


@pytest.mark.parametrize(
    "caller",
    [
        "from shop.rates import rate\n\nrate(1, 'DE', 'EUR')\n",
        "from shop.rates import rate\n\nrate(1, currency='EUR', country='DE', net=True)\n",
        "from shop.rates import rate\n\nrate(*[1, 2, 3])\n",
        "from shop.rates import rate\n\nrate(**{})\n",
        "from other.rates import rate\n\nrate(1)\n",
        "from shop.rates import rate\n\n\ndef f(rate):\n    return rate(1)\n",
        "from shop.rates import rate\n\n\ndef f():\n    rate = print\n    rate(1)\n",
        "import pytest\nfrom shop.rates import rate\n\n\ndef test_f():\n"
        "    with pytest.raises(TypeError):\n        rate(1)\n",
        "from shop.rates import rate\n\ntry:\n    rate(1)\nexcept TypeError:\n    rate(1, 2, 3)\n",
        "try:\n    from shop.rates import rate\nexcept ImportError:\n    rate = None\nrate(1)\n",
        "from shop.rates import rate\n\nrate = wrap(rate)\nrate(1)\n",
        "from shop.rates import *\n\nrate(1)\n",
        "x.rate(1)\n",
        "def (:\n",
    ],
)
def test_a_call_that_fits_or_of_which_nobody_knows(tmp_path: Path, caller: str) -> None:
    assert raised(CALLS, trees(tmp_path, {**RATES, "use.py": caller}, {**NEW, "use.py": caller})) == []


def test_a_call_that_did_not_fit_before_is_not_brought(tmp_path: Path) -> None:
    caller = {"use.py": "from shop.rates import rate\n\nrate(1, 2, 3, 4)\n"}
    assert raised(CALLS, trees(tmp_path, {**RATES, **caller}, {**NEW, **caller})) == []


def test_what_is_decorated_or_bound_twice_may_take_anything(tmp_path: Path) -> None:
    caller = {"use.py": "from shop.rates import rate\n\nrate(1)\n"}
    decorated = {**NEW, "shop/rates.py": "@wrap\n" + NEW["shop/rates.py"]}
    twice = {**NEW, "shop/rates.py": NEW["shop/rates.py"] + "\n\nrate = wrap(rate)\n"}
    conditional = {**NEW, "shop/rates.py": "if True:\n    def rate(a, b, c):\n        return a\n"}
    for number, head in enumerate((decorated, twice, conditional)):
        assert raised(CALLS, trees(tmp_path / str(number), {**RATES, **caller}, {**head, **caller})) == []


def test_two_modules_of_that_name_are_one_too_many(tmp_path: Path) -> None:
    caller = {"use.py": "from rates import rate\n\nrate(1)\n", "src/rates.py": "def rate(a):\n    return a\n"}
    base = {"rates.py": RATES["shop/rates.py"], **caller}
    assert raised(CALLS, trees(tmp_path, base, {**base, "rates.py": NEW["shop/rates.py"]})) == []


# a call that is new


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("rate()", "leaves out `amount`"),
        ("rate(1, 'DE', True)", "3 arguments by position where it takes 2"),
        ("rate(1, county='DE')", "`county`, which it does not take"),
        ("rate(1, amount=2)", "`amount` twice"),
        ("Cart()", "leaves out `owner`"),
        ("Cart(1, 2)", "2 arguments by position where it takes 1"),
        ("later(1)", "does not await it"),
    ],
)
def test_a_new_call_that_does_not_fit(tmp_path: Path, call: str, told: str) -> None:
    shop = RATES["shop/rates.py"] + code(
        """


        class Cart:
            def __init__(self, owner):
                self.owner = owner


        async def later(x):
            return x
        """
    )
    base = {"shop/__init__.py": "", "shop/rates.py": shop, "use.py": "from shop.rates import Cart, later, rate\n"}
    found = only(CALLS, trees(tmp_path, base, {**base, "use.py": base["use.py"] + f"\n{call}\n"}))
    assert (found.file, found.line, found.severity) == ("use.py", 3, "major")
    assert told in found.message


def test_methods_of_a_plain_class(tmp_path: Path) -> None:
    text = code(
        """
        class Cart:
            def total(self, tax):
                return tax

            async def save(self):
                return 1

            @staticmethod
            def parse(text):
                return text

            def wrong(self):
                return self.total()

            def right(self):
                return self.total(1), self.parse("x"), self.unknown()

            async def keep(self):
                self.save()
                await self.save()
        """
    )
    found = raised(CALLS, trees(tmp_path / "1", {}, {"a.py": text}))
    assert found == [("not-awaited", "a.py", 19), ("wrong-arguments", "a.py", 13)]
    for number, head in enumerate(("class Cart(Base):", "@dataclass\nclass Cart:", "class Cart(metaclass=M):")):
        given = trees(tmp_path / f"n{number}", {}, {"a.py": text.replace("class Cart:", head)})
        assert raised(CALLS, given) == []


def test_an_example_may_show_what_is_refused(tmp_path: Path) -> None:
    base = {**RATES, "typing-examples/a.py": "", "shop/a.py": ""}
    use = "from shop.rates import rate\n\nrate(x=1)\n"
    given = trees(tmp_path, base, {**base, "typing-examples/a.py": use, "shop/a.py": use})
    assert raised(CALLS, given) == [("wrong-arguments", "shop/a.py", 3)]


def test_modules_of_python_itself_are_not_the_repositorys(tmp_path: Path) -> None:
    base = {"shop/__init__.py": "", "shop/logging.py": "def info():\n    return 1\n", "shop/rates.py": ""}
    use = "import logging\nfrom logging import INFO, basicConfig\n\nlogging.info('x')\nbasicConfig(level=INFO)\n"
    given = trees(tmp_path, base, {**base, "shop/rates.py": use})
    assert [raised(CALLS, given), raised(IMPORTS, given)] == [[], []]


def test_a_script_finds_what_lies_beside_it_and_a_module_of_a_package_does_not(tmp_path: Path) -> None:
    script = {"tool/rates.py": "def rate(a):\n    return a\n", "tool/use.py": "from rates import rate\n\nrate()\n"}
    assert raised(CALLS, trees(tmp_path / "1", {}, script)) == [("wrong-arguments", "tool/use.py", 3)]
    assert raised(CALLS, trees(tmp_path / "2", {}, {**script, "tool/__init__.py": ""})) == []


def test_a_function_that_has_to_be_awaited_now(tmp_path: Path) -> None:
    base = {"a.py": "def save(x):\n    return x\n", "b.py": "from a import save\n\n\ndef f():\n    save(1)\n"}
    head = {**base, "a.py": "async def save(x):\n    return x\n"}
    found = only(CALLS, trees(tmp_path, base, head))
    assert (found.rule, found.file, found.line) == ("caller-not-awaiting", "a.py", 1)


@pytest.mark.parametrize(
    "use",
    ["await save(1)", "return save(1)", "task = create_task(save(1))", "x = save(1)", "asyncio.run(save(1))"],
)
def test_a_coroutine_that_somebody_takes(tmp_path: Path, use: str) -> None:
    text = f"import asyncio\n\n\nasync def save(x):\n    return x\n\n\nasync def f(create_task):\n    {use}\n"
    assert raised(CALLS, trees(tmp_path, {}, {"a.py": text})) == []


def test_arguments_in_the_wrong_order(tmp_path: Path) -> None:
    text = "def move(source, target):\n    return source, target\n\n\ndef f(source, target):\n    return move({})\n"
    found = only(CALLS, trees(tmp_path / "1", {}, {"a.py": text.format("target, source")}))
    assert (found.rule, found.line, found.severity) == ("swapped-arguments", 6, "major")
    fine = ["source, target", "target=source, source=target", "target, target", "source, f"]
    for number, arguments in enumerate(fine):
        assert raised(CALLS, trees(tmp_path / f"f{number}", {}, {"a.py": text.format(arguments)})) == []
    letters = text.replace("source", "x").replace("target", "y").format("y, x")
    assert raised(CALLS, trees(tmp_path / "2", {}, {"a.py": letters})) == []


# imports


def test_a_name_that_is_gone_while_others_import_it(tmp_path: Path) -> None:
    use = {"use.py": "from shop.rates import rate\n\nrate(1)\n"}
    head = {**RATES, "shop/rates.py": "def other(amount):\n    return amount\n"}
    found = only(IMPORTS, trees(tmp_path, {**RATES, **use}, {**head, **use}))
    assert (found.rule, found.file, found.line, found.severity) == ("name-gone", "shop/rates.py", 1, "blocker")
    assert "use.py:1" in found.message


def test_an_attribute_of_a_module_that_is_gone_fails_later(tmp_path: Path) -> None:
    use = {"use.py": "from shop import rates\n\n\ndef f():\n    return rates.rate(1)\n"}
    head = {**RATES, "shop/rates.py": "x = 1\n"}
    found = only(IMPORTS, trees(tmp_path, {**RATES, **use}, {**head, **use}))
    assert (found.rule, found.severity) == ("name-gone", "major")
    assert "use.py:5" in found.message


def test_a_module_that_is_gone_or_has_another_name(tmp_path: Path) -> None:
    use = {
        "use.py": "from shop.rates import rate\n",
        "shop/b.py": "from . import rates\n",
        "c.py": "import shop.rates\n",
    }
    deleted = trees(tmp_path / "1", {**RATES, **use}, {"shop/__init__.py": "", **use})
    found = only(IMPORTS, deleted)
    assert (found.rule, found.file, found.line, found.severity) == ("module-gone", "shop/rates.py", 1, "blocker")
    assert "and 1 more" in found.message
    head = {"shop/__init__.py": "", "shop/prices.py": RATES["shop/rates.py"], **use}
    found = only(IMPORTS, trees(tmp_path / "2", {**RATES, **use}, head, renamed={"shop/prices.py": "shop/rates.py"}))
    assert (found.rule, found.file) == ("module-gone", "shop/prices.py")


def test_a_new_import_of_what_is_not_there(tmp_path: Path) -> None:
    head = {
        **RATES,
        "use.py": "from shop.rates import (\n    rate,\n    rats,\n)\nimport shop.rates as r\n\nx = r.tate\n",
    }
    assert raised(IMPORTS, trees(tmp_path, RATES, head)) == [
        ("unknown-name", "use.py", 3),
        ("unknown-name", "use.py", 7),
    ]


@pytest.mark.parametrize(
    ("more", "use"),
    [
        ({}, "try:\n    from shop.rates import gone\nexcept ImportError:\n    gone = None\n"),
        ({}, "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from shop.rates import gone\n"),
        ({}, "from shop import rates\n"),
        ({}, "from shop.rates import *\n"),
        ({}, "from elsewhere.rates import gone\n"),
        ({}, "import shop.rates as rates\n\nrates.__name__\n\n\ndef f(rates):\n    return rates.gone\n"),
        ({"shop/rates.py": "def __getattr__(name):\n    return name\n"}, "from shop.rates import gone\n"),
        ({"shop/rates.py": "from x import *\n"}, "from shop.rates import gone\n"),
        ({"shop/rates.py": "globals().update(x=1)\n"}, "from shop.rates import gone\n"),
        ({"shop/rates.py": "if x:\n    gone = 1\n"}, "from shop.rates import gone\n"),
        ({"shop/rates.py": "for gone in x:\n    pass\n"}, "from shop.rates import gone\n"),
        ({"shop/rates.py": "with x as (gone, y):\n    pass\n"}, "from shop.rates import gone\n"),
        ({"shop/rates.py": "def f():\n    global gone\n    gone = 1\n"}, "from shop.rates import gone\n"),
        ({"shop/rates.py": "import gone.x\n"}, "from shop.rates import gone\n"),
        ({"shop/rates.py": "def (:\n"}, "from shop.rates import gone\n"),
        ({"shop/gone.pyx": ""}, "from shop import gone\n"),
        ({"shop/gone/x.py": ""}, "from shop import gone\n"),
        ({"other/shop/rates.py": "gone = 1\n", "other/shop/__init__.py": ""}, "from shop.rates import gone\n"),
    ],
)
def test_an_import_that_may_well_work(tmp_path: Path, more: dict[str, str], use: str) -> None:
    base = {**RATES, "shop/rates.py": "gone = 1\n"}
    assert raised(IMPORTS, trees(tmp_path, base, {**RATES, **more, "use.py": use})) == []


def test_an_import_that_failed_before_is_not_brought(tmp_path: Path) -> None:
    base = {**RATES, "use.py": "from shop.rates import never\n"}
    head = {**base, "use.py": "x = 1\nfrom shop.rates import never\n", "shop/rates.py": "y = 1\n"}
    assert raised(IMPORTS, trees(tmp_path, base, head)) == []
