"""What a change takes away from those who use it, in the repository and elsewhere, and what nobody can miss."""

from __future__ import annotations

import inspect
import itertools
from inspect import Parameter, Signature
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdlc.review_graphs.checks.architecture.breaks import breaks_of
from sdlc.review_graphs.checks.architecture.calls import Given, all_fit, misfit
from sdlc.review_graphs.checks.architecture.names import Names
from sdlc.review_graphs.checks.architecture.public_api import PublicApi
from sdlc.review_graphs.checks.base import Tree
from tests.trees import only, raised, trees

CHECK = PublicApi()
LIBRARY = '[build-system]\nrequires = ["hatchling"]\n[project]\nname = "shop"\nversion = "1.2.0"\n'
CART = "def total(items, tax=0): ...\n\n\ndef count(items): ...\n"
APPLICATION = {"shop/__init__.py": "", "shop/cart.py": CART}
SHOP = {**APPLICATION, "pyproject.toml": LIBRARY}


# Users in the repository


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("from shop.cart import total\n", 1),
        ("import os\nfrom .cart import (\n    count,\n    total as t,\n)\n", 4),
        ("from shop import cart\n\nx = cart.total([])\n", 3),
        ("import shop.cart\n\ndef f():\n    return shop.cart.total([])\n", 4),
        ("import shop.cart as c\nf = c.total\n", 2),
        ("def f():\n    from shop import cart\n    return cart.total\n", 3),
    ],
)
def test_a_name_that_is_gone_and_still_used(tmp_path: Path, text: str, line: int) -> None:
    base = {**APPLICATION, "shop/order.py": text}
    head = {**base, "shop/cart.py": "def count(items): ...\n"}
    found = only(CHECK, trees(tmp_path, base, head))
    assert (found.rule, found.file, found.line, found.severity) == ("removed-in-use", "shop/cart.py", 1, "major")
    assert found.message.startswith(f"`shop.cart.total` is gone, but `shop/order.py:{line}` still ")
    assert len(found.message) <= 300


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    from shop.cart import total\nexcept ImportError:\n    total = None\n",
        "from shop import cart\nif hasattr(cart, 'total'):\n    cart.total()\n",
        "from shop import cart\ntry:\n    cart.total()\nexcept AttributeError:\n    pass\n",
        "import pytest\nfrom shop import cart\nwith pytest.raises(AttributeError):\n    cart.total()\n",
        "from shop import cart\ndef f(cart):\n    cart.total()\n",
        "from shop import cart\nfor cart in []:\n    cart.total()\n",
        "from shop import cart\nx = [cart.total for cart in y]\n",
        "from other import cart\ncart.total()\n",
        "from other.cart import total\n",
        "total = 1\nprint(total)\n",
        "# from shop.cart import total\n",
        "from shop import cart\ncart.total = 1\n",
        "from shop.cart import total\ndef (\n",
    ],
)
def test_what_is_no_certain_use(tmp_path: Path, text: str) -> None:
    base = {**APPLICATION, "shop/order.py": text}
    assert raised(CHECK, trees(tmp_path, base, {**base, "shop/cart.py": "def count(items): ...\n"})) == []


@pytest.mark.parametrize(
    "cart",
    [
        "from shop.sums import total\n",
        "from shop.sums import *\n",
        "from os.path import *\n",
        "def __getattr__(name): ...\n",
        "globals()['total'] = 1\n",
        "if True:\n    def total(items, tax=0): ...\n",
        "try:\n    from fast import total\nexcept ImportError:\n    total = None\n",
        "import shop.sums as total\n",
        "def f():\n    global total\n    total = 1\n",
        "for total in []: ...\n",
        "with x as (total, y): ...\n",
        "total, x = 1, 2\n",
        "match x:\n    case [total]: ...\n",
        "(total := 1)\n",
        "class total: ...\n",
        "total = lambda items, tax=0: 1\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop.sums import total\n",
    ],
)
def test_a_name_that_is_still_there_in_another_way(tmp_path: Path, cart: str) -> None:
    base = {**SHOP, "shop/order.py": "from shop.cart import total\n", "shop/sums.py": "def total(items, tax=0): ...\n"}
    head = {**base, "shop/cart.py": cart + "def count(items): ...\n"}
    assert raised(CHECK, trees(tmp_path, base, head)) == []


def test_the_name_comes_by_way_of_other_modules(tmp_path: Path) -> None:
    base = {
        **APPLICATION,
        "shop/__init__.py": "from shop.cart import total\n",
        "app.py": "import shop\nshop.total([])\n",
    }
    head = {**base, "shop/cart.py": "def count(items): ...\n"}
    found = only(CHECK, trees(tmp_path, base, head))
    assert "`shop/__init__.py:1`" in found.message or "`app.py:2`" in found.message
    assert "(and 1 more)" in found.message


def test_tests_that_use_it_are_named_after_other_code(tmp_path: Path) -> None:
    base = {**APPLICATION, "a_test.py": "from shop.cart import total\n", "shop/z.py": "from shop.cart import total\n"}
    head = {**base, "shop/cart.py": "def count(items): ...\n"}
    assert "`shop/z.py:1`" in only(CHECK, trees(tmp_path, base, head)).message
    del base["shop/z.py"], head["shop/z.py"]
    assert "`a_test.py:1`" in only(CHECK, trees(tmp_path / "tests", base, head)).message


def test_private_names_are_used_too(tmp_path: Path) -> None:
    base = {"shop/__init__.py": "", "shop/a.py": "def _help(): ...\n", "shop/b.py": "from shop.a import _help\n"}
    found = only(CHECK, trees(tmp_path, base, {**base, "shop/a.py": "X = 1\n"}))
    assert (found.rule, found.severity) == ("removed-in-use", "major")


def test_an_import_that_others_have_used(tmp_path: Path) -> None:
    base = {
        "shop/__init__.py": "",
        "shop/a.py": "from decimal import Decimal\n",
        "shop/b.py": "from shop.a import Decimal\n",
    }
    found = only(CHECK, trees(tmp_path, base, {**base, "shop/a.py": "X = 1\n"}))
    assert "`shop.a.Decimal` is gone, but `shop/b.py:1` still imports it" in found.message


def test_a_module_that_is_gone_and_still_imported(tmp_path: Path) -> None:
    base = {**APPLICATION, "shop/order.py": "from shop import cart\n", "shop/z.py": "import shop.cart\n"}
    head = {path: text for path, text in base.items() if path != "shop/cart.py"}
    found = only(CHECK, trees(tmp_path / "deleted", base, {**head, "shop/new.py": "X = 1\n"}))
    assert (found.rule, found.file, found.line, found.severity) == ("module-removed-in-use", "shop/new.py", 1, "major")
    assert "`shop/order.py:1` still imports it: ImportError (and 1 more)" in found.message
    renamed = trees(
        tmp_path / "renamed", base, {**head, "shop/basket.py": CART}, renamed={"shop/basket.py": "shop/cart.py"}
    )
    assert (only(CHECK, renamed).file, only(CHECK, renamed).line) == ("shop/basket.py", 1)
    alone = only(CHECK, trees(tmp_path / "alone", base, head))
    assert (alone.file, alone.line) == ("shop/cart.py", 1)


def test_a_module_that_becomes_a_package_is_still_there(tmp_path: Path) -> None:
    base = {**SHOP, "shop/order.py": "from shop.cart import total\n"}
    head = {path: text for path, text in base.items() if path != "shop/cart.py"}
    assert raised(CHECK, trees(tmp_path, base, {**head, "shop/cart/__init__.py": CART})) == []
    other = trees(tmp_path / "less", base, {**head, "shop/cart/__init__.py": "def count(items): ...\n"})
    assert raised(CHECK, other) == [("removed-in-use", "shop/cart/__init__.py", 1)]


@pytest.mark.parametrize(
    ("before", "now", "call", "error"),
    [
        ("a, b=1", "a", "f(1, 2)", "too many positional arguments"),
        ("a, b=1", "a", "f(1, b=2)", "unexpected keyword argument 'b'"),
        ("a", "a, b", "f(1)", "missing a required argument: 'b'"),
        ("a, b=1", "a, *, b=1", "f(1, 2)", "too many positional arguments"),
        ("a, b", "a, c", "f(1, b=2)", "'c'"),
        ("a, b", "b, a", "f(1, 2)", "what it gives for `a` is taken for `b`"),
        ("a=1, b=2", "z=0, a=1, b=2", "f(1)", "what it gives for `a` is taken for `z`"),
    ],
)
def test_a_call_that_does_not_fit_any_more(tmp_path: Path, before: str, now: str, call: str, error: str) -> None:
    base = {
        "shop/__init__.py": "",
        "shop/a.py": f"X = 1\ndef f({before}): ...\n",
        "shop/b.py": f"from .a import f\n{call}\n",
    }
    found = only(CHECK, trees(tmp_path, base, {**base, "shop/a.py": f"X = 1\ndef f({now}): ...\n"}))
    assert (found.rule, found.file, found.line, found.severity) == ("parameters-in-use", "shop/a.py", 2, "major")
    assert "`shop/b.py:2` still calls it the old way" in found.message
    assert error in found.message
    assert len(found.message) <= 300


@pytest.mark.parametrize(
    ("before", "now", "call"),
    [
        ("a, b=1", "a", "f(1)"),
        ("a", "a, b=1", "f(1)"),
        ("a", "a, *, b=1", "f(1)"),
        ("a, b", "a, c", "f(1, 2)"),
        ("a, b", "b, a", "f(a=1, b=2)"),
        ("a, b=1", "a", "f(*x)"),
        ("a, b=1", "a", "f(1, **x)"),
        ("a, b=1", "*args, **kwargs", "f(1, b=2)"),
        ("a, b=1", "a", "g(1, 2)"),
        ("a", "a, b", "f()"),
        ("a, b=1", "a, b=2", "f(1)"),
    ],
)
def test_a_call_that_still_fits(tmp_path: Path, before: str, now: str, call: str) -> None:
    base = {"shop/__init__.py": "", "shop/a.py": f"def f({before}): ...\n", "shop/b.py": f"from .a import f\n{call}\n"}
    assert raised(CHECK, trees(tmp_path, base, {**base, "shop/a.py": f"def f({now}): ...\n"})) == []


def test_calls_that_the_change_has_adapted(tmp_path: Path) -> None:
    base = {"shop/__init__.py": "", "shop/a.py": "def f(a, b): ...\n", "shop/b.py": "from .a import f\nf(1, 2)\n"}
    head = {**base, "shop/a.py": "def f(b, a): ...\n", "shop/b.py": "from .a import f\nf(2, 1)\n"}
    assert raised(CHECK, trees(tmp_path, base, head)) == []


def test_calls_in_the_module_itself(tmp_path: Path) -> None:
    base = {"shop.py": "def _f(a): ...\n\n\ndef g():\n    return _f(1)\n"}
    found = only(CHECK, trees(tmp_path, base, {"shop.py": "def _f(a, b): ...\n\n\ndef g():\n    return _f(1)\n"}))
    assert "`shop.py:5`" in found.message


@pytest.mark.parametrize("decorator", ["@app.command", "@click.option('--x')", "@old_names(a='b')", "@fixture()"])
def test_what_decorators_make_of_parameters_is_not_known(tmp_path: Path, decorator: str) -> None:
    base = {**SHOP, "shop/a.py": f"{decorator}\ndef f(a): ...\n", "shop/b.py": "from .a import f\nf(1)\n"}
    assert raised(CHECK, trees(tmp_path, base, {**base, "shop/a.py": f"{decorator}\ndef f(a, b): ...\n"})) == []


CLASS = """class Cart:
    def __init__(self, owner): ...
    def add(self, item): ...
    @classmethod
    def of(cls, a): ...
"""


@pytest.mark.parametrize(
    ("change", "use"),
    [
        (("owner)", "owner, shop)"), "Cart('x')"),
        (("owner)", "owner, shop)"), "x = Cart(owner='x')"),
        (("item)", "item, count)"), "Cart('x').add(1)"),
        (("item)", "item, count)"), "cart = Cart('x')\ncart.add(1)"),
        (("item)", "item, count)"), "def f(cart: Cart):\n    cart.add(1)"),
        (("item)", "item, count)"), "class Big(Cart):\n    def f(self):\n        self.add(1)"),
        (("item)", "item, count)"), "class Big(Cart):\n    def add(self, item):\n        super().add(item)"),
        (("owner)", "owner, shop)"), "class Big(Cart):\n    def __init__(self):\n        super().__init__('x')"),
        (("of(cls, a)", "of(cls, a, b)"), "Cart.of(1)"),
        (("item)", "item, count)"), "Cart.add(cart, 1)"),
        (("def add(self, item)", "def put(self, item)"), "Cart('x').add(1)"),
        (("def add(self, item)", "def put(self, item)"), "f = Cart('x').add"),
        (("def add(self, item)", "@property\n    def add(self)"), "Cart('x').add(1)"),
    ],
)
def test_members_of_classes(tmp_path: Path, change: tuple[str, str], use: str) -> None:
    base = {"shop/__init__.py": "", "shop/cart.py": CLASS, "shop/b.py": f"from shop.cart import Cart\n{use}\n"}
    found = only(CHECK, trees(tmp_path, base, {**base, "shop/cart.py": CLASS.replace(*change)}))
    assert (found.file, found.severity) == ("shop/cart.py", "major")
    assert "shop/b.py:" in found.message


@pytest.mark.parametrize(
    "use",
    [
        "def f(cart):\n    cart.add(1)",
        "cart = make()\ncart.add(1)",
        "cart = Cart('x')\ncart = Other()\ncart.add(1)",
        "Other().add(1)",
        "class Big(Cart):\n    def add(self, item): ...\n    def f(self):\n        self.add(1)",
        "def f(cart: 'list[Cart]'):\n    cart.add(1)",
    ],
)
def test_objects_of_unknown_class(tmp_path: Path, use: str) -> None:
    base = {
        "shop/__init__.py": "",
        "shop/cart.py": CLASS,
        "shop/b.py": f"from shop.cart import Cart, Other, make\n{use}\n",
    }
    given_trees = trees(
        tmp_path, base, {**base, "shop/cart.py": CLASS.replace("def add(self, item)", "def put(self, item)")}
    )
    assert raised(CHECK, given_trees) == []


@pytest.mark.parametrize(
    ("bases", "is_found"),
    [
        ("", True),
        ("(Base)", False),
        ("(Empty)", True),
        ("(Model)", False),
        ("(Empty, Model)", False),
        ("(ABC)", True),
        ("(dict)", True),
        ("(Empty, metaclass=Meta)", False),
        ("(Generic[T])", True),
    ],
)
def test_a_method_may_be_inherited_now(tmp_path: Path, bases: str, is_found: bool) -> None:
    start = "from abc import ABC\nfrom typing import Generic\nfrom elsewhere import Model\n"
    start += "from shop.base import Base, Empty\n"
    base = {
        "shop/__init__.py": "",
        "shop/base.py": "class Base:\n    def add(self, item): ...\nclass Empty:\n    x = 1\n",
        "shop/cart.py": f"{start}class Cart{bases}:\n    def add(self, item): ...\n    y = 1\n",
        "shop/b.py": "from shop.cart import Cart\nCart().add(1)\n",
    }
    head = {**base, "shop/cart.py": f"{start}class Cart{bases}:\n    y = 1\n"}
    assert [item.rule for item in CHECK.run(trees(tmp_path, base, head))] == (["removed-in-use"] if is_found else [])


def test_fields_of_data_classes_are_parameters(tmp_path: Path) -> None:
    start = "from dataclasses import dataclass\n\n@dataclass(frozen=True)\nclass Line:\n    name: str\n"
    base = {"shop/__init__.py": "", "shop/a.py": start, "shop/b.py": "from .a import Line\nLine('x')\n"}
    found = only(CHECK, trees(tmp_path, base, {**base, "shop/a.py": f"{start}    cents: int\n"}))
    assert (found.rule, found.line) == ("parameters-in-use", 6)
    assert "missing a required argument: 'cents'" in found.message
    assert raised(CHECK, trees(tmp_path / "default", base, {**base, "shop/a.py": f"{start}    cents: int = 0\n"})) == []


# Users elsewhere


def test_a_public_name_that_is_gone(tmp_path: Path) -> None:
    found = only(CHECK, trees(tmp_path, SHOP, {**SHOP, "shop/cart.py": "def total(items, tax=0): ...\n"}))
    assert (found.rule, found.file, found.line, found.severity) == ("removed", "shop/cart.py", 1, "minor")
    assert "`shop.cart.count` is gone: users outside this repository get ImportError" in found.message
    assert len(found.message) <= 300


def test_a_deletion_is_shown_at_what_stands_there_now(tmp_path: Path) -> None:
    text = "import os\n\n\ndef one(): ...\n\n\ndef two(): ...\n\n\ndef three(): ...\n"
    base = {**SHOP, "shop/cart.py": text}
    head = {**base, "shop/cart.py": text.replace("def two(): ...\n\n\n", "")}
    assert only(CHECK, trees(tmp_path / "deleted", base, head)).line == 7
    head = {**base, "shop/cart.py": text.replace("two", "other")}
    assert only(CHECK, trees(tmp_path / "replaced", base, head)).line == 7
    head = {**base, "shop/cart.py": text.replace("\n\n\ndef three(): ...\n", "")}
    assert only(CHECK, trees(tmp_path / "last", base, head)).line == 7


@pytest.mark.parametrize(
    ("before", "now", "rule"),
    [
        ("def total(items, tax=0)", "def total(items)", "parameters"),
        ("def total(items, tax=0)", "def total(items, rate=0)", "parameters"),
        ("def total(items, tax=0)", "def total(items, tax)", "parameters"),
        ("def total(items, tax=0)", "def total(tax=0, items=())", "parameters"),
        ("def total(items, tax=0)", "def total(items, *, tax=0)", "parameters"),
        ("def total(items, tax=0)", "def total(items, /, tax=0)", "parameters"),
        ("def total(items, tax=0): ...", "total = 1", None),
        ("def total(items, tax=0)", "def total(items, tax=1)", None),
        ("def total(items, tax=0)", "def total(items, tax=0, *, more=1)", None),
        ("def total(items, tax=0)", "def total(items, tax=0, more=1)", None),
        ("def total(items, tax=0)", "async def total(items, tax=0)", None),
        ("def total(items, tax=0)", "def total(items: list, tax: int = 0) -> int", None),
        ("def total(items, tax=0)", "def total(*args, **kwargs)", None),
        ("def total(items, tax=0)", "def total(items, tax=0, /)", "parameters"),
    ],
)
def test_parameters_of_a_public_function(tmp_path: Path, before: str, now: str, rule: str | None) -> None:
    found = list(CHECK.run(trees(tmp_path, SHOP, {**SHOP, "shop/cart.py": CART.replace(before, now)})))
    assert [(item.rule, item.line, item.severity) for item in found] == ([(rule, 1, "minor")] if rule else [])


def test_members_of_public_classes(tmp_path: Path) -> None:
    base = {**SHOP, "shop/cart.py": CLASS}
    for number, (before, now, told) in enumerate(
        [
            ("def add(self, item)", "def put(self, item)", "`shop.cart.Cart.add` is gone"),
            ("owner)", "owner, shop)", "`shop.cart.Cart` needs `shop`"),
            ("def add(self, item)", "@property\n    def add(self)", "`shop.cart.Cart.add` is a property now"),
            ("def add(self, item)", "def _add(self, item)", "`shop.cart.Cart.add` is gone"),
        ]
    ):
        found = only(CHECK, trees(tmp_path / str(number), base, {**base, "shop/cart.py": CLASS.replace(before, now)}))
        assert told in found.message


@pytest.mark.parametrize(
    ("before", "now", "is_found"),
    [
        ("(LookupError)", "(ShopError)", True),
        ("(KeyError)", "(ShopError)", True),
        ("(ShopError, LookupError)", "(ShopError)", True),
        ("(ShopError)", "(Exception)", True),
        ("(LookupError)", "(KeyError)", False),
        ("(LookupError)", "(ShopError, LookupError)", False),
        ("(Exception)", "(ShopError)", False),
        ("(LookupError)", "(Elsewhere)", False),
        ("(_Private)", "(Exception)", False),
        ("", "(Exception)", False),
        ("(object)", "", False),
    ],
)
def test_bases_of_public_classes(tmp_path: Path, before: str, now: str, is_found: bool) -> None:
    text = "from elsewhere import Elsewhere\nclass ShopError(Exception): ...\nclass _Private(Exception): ...\n"
    text += "class Gone{}: ...\n"
    base = {**SHOP, "shop/errors.py": text.format(before)}
    found = raised(CHECK, trees(tmp_path, base, {**base, "shop/errors.py": text.format(now)}))
    assert found == ([("base", "shop/errors.py", 4)] if is_found else [])


def test_what_a_package_exports_is_its_surface(tmp_path: Path) -> None:
    project = {"pyproject.toml": '[project]\nname = "shop"\nversion = "1.0"\n'}
    base = {
        **project,
        "shop/__init__.py": 'from shop._cart import Cart\nfrom shop.price import total\n__all__ = ["Cart", "total"]\n',
        "shop/_cart.py": "class Cart:\n    def add(self, item): ...\n    def put(self, item): ...\n",
        "shop/price.py": "def total(a): ...\n\n\ndef rest(a): ...\n",
    }
    member = {**base, "shop/_cart.py": "class Cart:\n    def add(self, item): ...\n"}
    assert raised(CHECK, trees(tmp_path / "member", base, member)) == [("removed", "shop/_cart.py", 2)]
    inner = {**base, "shop/price.py": "def total(a): ...\n"}
    assert raised(CHECK, trees(tmp_path / "inner", base, inner)) == []
    export = {**base, "shop/__init__.py": 'from shop.price import total\n\n__all__ = ["total"]\n'}
    assert raised(CHECK, trees(tmp_path / "export", base, export)) == [("removed", "shop/__init__.py", 1)]
    both = {**export, "shop/_cart.py": "X = 1\n"}
    assert raised(CHECK, trees(tmp_path / "both", base, both)) == [("removed", "shop/_cart.py", 1)]
    moved = {
        **base,
        "shop/__init__.py": base["shop/__init__.py"].replace("_cart", "basket"),
        "shop/basket.py": base["shop/_cart.py"],
    }
    del moved["shop/_cart.py"]
    assert raised(CHECK, trees(tmp_path / "moved", base, moved)) == []


def test_what_moves_behind_an_exported_name_is_still_offered(tmp_path: Path) -> None:
    base = {**SHOP, "shop/__init__.py": "from shop.cart import count, total\n"}
    head = {
        **SHOP,
        "shop/__init__.py": "from shop.cart import total\nfrom shop.sums import count\n",
        "shop/cart.py": "def total(items, tax=0): ...\n",
        "shop/sums.py": "def count(items): ...\n",
    }
    assert raised(CHECK, trees(tmp_path / "moved", base, head)) == []
    module = {path: text for path, text in base.items() if path != "shop/cart.py"}
    module |= {"shop/__init__.py": "from shop.basket import count, total\n", "shop/basket.py": CART}
    assert raised(CHECK, trees(tmp_path / "module", base, module, renamed={"shop/basket.py": "shop/cart.py"})) == []


def test_a_second_project_with_the_same_names_takes_nothing_away(tmp_path: Path) -> None:
    base = {**{f"one/{path}": text for path, text in SHOP.items()}, "one/shop/b.py": "from shop.cart import total\n"}
    head = {**base, **{f"two/{path}": text for path, text in SHOP.items()}, "one/shop/cart.py": f"X = 1\n{CART}"}
    assert raised(CHECK, trees(tmp_path, base, head)) == []


def test_modules_that_are_exported_or_open(tmp_path: Path) -> None:
    base = {**SHOP, "shop/__init__.py": "from shop import cart\n", "shop/_inner.py": "def f(): ...\n"}
    assert raised(CHECK, trees(tmp_path / "a", base, {**base, "shop/cart.py": "X = 1\n"})) == [
        ("removed", "shop/cart.py", 1),
        ("removed", "shop/cart.py", 1),
    ]
    assert raised(CHECK, trees(tmp_path / "b", base, {**base, "shop/_inner.py": "X = 1\n"})) == []
    head = {path: text for path, text in SHOP.items() if path != "shop/cart.py"} | {"shop/basket.py": CART + "X = 1\n"}
    found = only(CHECK, trees(tmp_path / "c", SHOP, head, renamed={"shop/basket.py": "shop/cart.py"}))
    assert (found.rule, found.file, found.line) == ("module-removed", "shop/basket.py", 1)
    assert "(it is `shop.basket` now)" in found.message


def test_much_at_once_is_told_once(tmp_path: Path) -> None:
    base = {**SHOP, "shop/many.py": "".join(f"def f{number}(): ...\n" for number in range(9))}
    found = only(CHECK, trees(tmp_path, base, {**base, "shop/many.py": "X = 1\n"}))
    assert (found.rule, found.severity) == ("several", "minor")
    assert "takes back 9 public names" in found.message
    assert len(found.message) <= 300


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": ""},
        {"pyproject.toml": LIBRARY + '[project.scripts]\nshop = "shop.cart:total"\n'},
        {"pyproject.toml": '[project]\nname = "shop"\n'},
        {"Dockerfile": "FROM python\n"},
        {"manage.py": ""},
        {"pyproject.toml": "[project\n"},
    ],
)
def test_applications_have_no_users_elsewhere(tmp_path: Path, files: dict[str, str]) -> None:
    base = {**SHOP, **files}
    assert raised(CHECK, trees(tmp_path, base, {**base, "shop/cart.py": "X = 1\n"})) == []


@pytest.mark.parametrize(
    ("path", "before", "now"),
    [
        ("shop/cart.py", "def _help(): ...\n", "X = 1\n"),
        ("shop/cart.py", "__all__ = ['X']\nX = 1\ndef help(): ...\n", "__all__ = ['X']\nX = 1\n"),
        ("shop/cart.py", "import logging\nlogger = logging.getLogger()\nT = TypeVar('T')\n", "X = 1\n"),
        ("shop/cart.py", "import os\nfrom typing import Any\n", "X = 1\n"),
        ("shop/_cart.py", "def help(): ...\n", "X = 1\n"),
        ("shop/_in/cart.py", "def help(): ...\n", "X = 1\n"),
        ("tests/cart.py", "def help(): ...\n", "X = 1\n"),
        ("shop/tests/cart.py", "def help(): ...\n", "X = 1\n"),
        ("examples/cart.py", "def help(): ...\n", "X = 1\n"),
        ("docs/conf.py", "def help(): ...\n", "X = 1\n"),
        ("shop/cart.py", "def help(): ...\n", "def (\n"),
        ("shop/cart.py", "def (\n", "X = 1\n"),
        ("shop/cart_pb2.py", "def help(): ...\n", "X = 1\n"),
        ("shop/cart.py", "class A:\n    def __repr__(self): ...\n", "class A:\n    x = 1\n"),
        ("shop/cart.py", "class A:\n    def _f(self, a): ...\n", "class A:\n    def _f(self): ...\n"),
        ("shop/cart.py", "class _A:\n    def f(self, a): ...\n", "class _A:\n    def f(self): ...\n"),
        ("shop/cart.py", "def f():\n    def g(a): ...\n", "def f():\n    def h(): ...\n"),
    ],
)
def test_what_was_never_offered(tmp_path: Path, path: str, before: str, now: str) -> None:
    base = {**SHOP, path: before}
    assert raised(CHECK, trees(tmp_path, base, {**base, path: now})) == []


def test_what_the_change_or_the_base_has_said_already(tmp_path: Path) -> None:
    base = {**SHOP, "CHANGELOG.md": "# Changes\n"}
    less = {**base, "shop/cart.py": "def total(items, tax=0): ...\n"}
    assert len(raised(CHECK, trees(tmp_path / "silent", base, less))) == 1
    said = {**less, "CHANGELOG.md": "# Changes\n\n- `count` is gone; use len()\n"}
    assert raised(CHECK, trees(tmp_path / "said", base, said)) == []
    other = {**less, "CHANGELOG.md": "# Changes\n\n- accounts are faster\n"}
    assert len(raised(CHECK, trees(tmp_path / "other", base, other))) == 1
    fragment = {**less, "newsfragments/12.removal.rst": "count() is gone\n"}
    assert raised(CHECK, trees(tmp_path / "fragment", base, fragment)) == []
    major = {**less, "pyproject.toml": LIBRARY.replace("1.2.0", "2.0.0")}
    assert raised(CHECK, trees(tmp_path / "major", base, major)) == []
    minor = {**less, "pyproject.toml": LIBRARY.replace("1.2.0", "1.3.0")}
    assert len(raised(CHECK, trees(tmp_path / "minor", base, minor))) == 1
    deprecated = {
        **base,
        "shop/cart.py": CART.replace("def count(items): ...", "@deprecated('use len')\ndef count(items): ..."),
    }
    assert raised(CHECK, trees(tmp_path / "deprecated", deprecated, less)) == []


def test_news_excuse_nothing_that_is_still_used(tmp_path: Path) -> None:
    base = {**SHOP, "shop/b.py": "from shop.cart import count\n"}
    head = {**base, "shop/cart.py": "def total(items, tax=0): ...\n", "CHANGELOG.md": "- count is gone\n"}
    assert only(CHECK, trees(tmp_path, base, head)).severity == "major"


def test_where_a_name_has_moved_to_is_said(tmp_path: Path) -> None:
    head = {**SHOP, "shop/cart.py": "def total(items, tax=0): ...\n", "shop/sums.py": "def count(items): ...\n"}
    assert "(it is in `shop.sums` now)" in only(CHECK, trees(tmp_path, SHOP, head)).message


def test_other_texts(tmp_path: Path) -> None:
    base: dict[str, str | bytes] = {**SHOP, "shop/cart.py": CART.replace("\n", "\r\n")}
    assert raised(CHECK, trees(tmp_path / "crlf", base, {**SHOP})) == []
    latin = b"# caf\xe9\n" + CART.encode()
    head: dict[str, str | bytes] = {**SHOP, "shop/cart.py": latin.replace(b"def count", b"def other")}
    assert raised(CHECK, trees(tmp_path / "latin", {**SHOP, "shop/cart.py": latin}, head)) == [
        ("removed", "shop/cart.py", 5)
    ]
    head = {**SHOP, "shop/cart.py": ""}
    assert raised(CHECK, trees(tmp_path / "empty", SHOP, head)) == [
        ("removed", "shop/cart.py", 1),
        ("removed", "shop/cart.py", 1),
    ]
    head = {**SHOP, "shop/cart.py": "\ufeff" + CART.rstrip("\n")}
    assert raised(CHECK, trees(tmp_path / "bom", SHOP, head)) == []


def test_nothing_is_read_where_no_python_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def visit(*args: object, **kwargs: object) -> None:
        raise AssertionError("visited")

    monkeypatch.setattr("griffe.visit", visit)
    head = {**SHOP, "README.md": "x", "shop/new.py": "def f(): ...\n"}
    assert raised(CHECK, trees(tmp_path, SHOP, head)) == []


def test_nothing_of_the_repository_is_run(tmp_path: Path) -> None:
    bomb = "raise SystemExit('run')\n"
    base = {**SHOP, "shop/__init__.py": bomb, "shop/cart.py": bomb + CART}
    assert len(raised(CHECK, trees(tmp_path, base, {**base, "shop/cart.py": bomb}))) == 2


def test_names_that_nobody_can_say_may_change(tmp_path: Path) -> None:
    base = {**SHOP, "shop/cart.py": "def total(items, /, tax=0): ...\n"}
    head = {**base, "shop/cart.py": "def total(things, /, tax=0): ...\n"}
    assert raised(CHECK, trees(tmp_path, base, head)) == []


KINDS = st.sampled_from([Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY])
PARAMETERS = st.lists(
    st.tuples(st.sampled_from("abc"), KINDS, st.booleans()), unique_by=lambda item: item[0], max_size=3
)


def signature(items: list[tuple[str, inspect._ParameterKind, bool]]) -> Signature:
    ordered = sorted(items, key=lambda item: (item[1], item[1] is not Parameter.KEYWORD_ONLY and item[2]))
    parameters: list[Parameter] = []
    has_default = False
    for name, kind, optional in ordered:
        has_default = optional or (has_default and kind is not Parameter.KEYWORD_ONLY)
        parameters.append(Parameter(name, kind, default=None if has_default else Parameter.empty))
    return Signature(parameters)


@settings(max_examples=200, deadline=None)
@given(PARAMETERS, PARAMETERS)
def test_what_is_said_to_fit_takes_every_call(
    before: list[tuple[str, inspect._ParameterKind, bool]], now: list[tuple[str, inspect._ParameterKind, bool]]
) -> None:
    old, new = signature(before), signature(now)
    calls = [
        Given(count, names) for count in range(4) for size in range(4) for names in itertools.combinations("abc", size)
    ]
    assert all_fit(old, new) == (not any(misfit(call, old, new) for call in calls))


LINES = st.lists(
    st.sampled_from(["def {}(a): ...", "class {}: ...", "{} = 1", "import {}", "from x import {}"]), max_size=3
)


@settings(max_examples=60, deadline=None)
@given(LINES, LINES)
def test_only_what_is_nowhere_on_the_head_is_gone(
    tmp_path_factory: pytest.TempPathFactory, before: list[str], now: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("trees")
    for side, lines in (("base", before), ("head", now)):
        (folder / side).mkdir()
        names = ["one", "two", "three"] if side == "base" else ["three", "two", "one"]
        text = "\n".join(line.format(name) for line, name in zip(lines, names, strict=False))
        (folder / side / "m.py").write_text(text)
    found = {
        item.name
        for item in breaks_of("m", Names(Tree(folder / "base")), Names(Tree(folder / "head")))
        if item.rule == "removed"
    }
    assert found == set(["one", "two", "three"][: len(before)]) - set(["three", "two", "one"][: len(now)])
