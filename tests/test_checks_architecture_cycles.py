"""Import cycles that a change closes: what is found, and what healthy packages do that must not be."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdlc.review_graphs.checks.architecture.cycles import ImportCycles
from sdlc.review_graphs.checks.architecture.loading import failure_of
from sdlc.review_graphs.checks.architecture.modules import layout_of
from sdlc.review_graphs.checks.base import NotRun, Tree
from tests.trees import only, raised, trees

CHECK = ImportCycles()
SHOP = {"shop/__init__.py": "", "shop/cart.py": "from shop import price\n", "shop/price.py": "RATE = 2\n"}


def test_an_import_that_closes_a_cycle_is_shown_where_it_stands(tmp_path: Path) -> None:
    head = {**SHOP, "shop/price.py": "import os\nfrom shop import cart\nRATE = 2\n"}
    found = only(CHECK, trees(tmp_path, SHOP, head))
    assert (found.rule, found.file, found.line, found.severity) == ("new-cycle", "shop/price.py", 2, "major")
    assert "`shop.price` → `shop.cart` → `shop.price`" in found.message
    assert len(found.message) <= 300


def test_a_cycle_that_cannot_be_loaded_at_all_says_what_fails(tmp_path: Path) -> None:
    base = {
        "shop/__init__.py": "",
        "shop/cart.py": "from shop.price import price_of\nclass Cart: ...\n",
        "shop/price.py": "def price_of(): ...\n",
    }
    head = {**base, "shop/price.py": "from shop.cart import Cart\n\ndef price_of(cart: Cart): ...\n"}
    found = only(CHECK, trees(tmp_path, base, head))
    assert (found.rule, found.file, found.line, found.severity) == ("import-fails", "shop/price.py", 1, "blocker")
    assert "`import shop.price` fails" in found.message
    assert "`shop.cart` takes `price_of` from `shop.price`" in found.message
    assert len(found.message) <= 300


def test_a_cycle_that_fails_from_one_side_is_no_blocker(tmp_path: Path) -> None:
    base = {"a.py": "def first(): ...\nimport b\n", "b.py": "def second(): ...\n"}
    head = {
        **base,
        "b.py": "from a import first\ndef second(): ...\n",
        "a.py": "from b import second\ndef first(): ...\n",
    }
    assert only(CHECK, trees(tmp_path / "both", base, head)).severity == "blocker"
    head = {**base, "b.py": "from a import first\ndef second(): ...\n"}
    found = only(CHECK, trees(tmp_path / "none", base, head))
    assert (found.rule, found.severity) == ("new-cycle", "major")
    head = {**base, "b.py": "from a import first\ndef second(): ...\n", "a.py": "import b\ndef first(): ...\n"}
    found = only(CHECK, trees(tmp_path / "one", base, head))
    assert (found.rule, found.severity) == ("import-fails", "major")
    assert "`import a` fails" in found.message


def test_a_cycle_of_three_names_them_all(tmp_path: Path) -> None:
    base = {
        "mail/__init__.py": "",
        "mail/queue.py": "from mail import transport\n",
        "mail/transport.py": "from mail import retries\n",
        "mail/retries.py": "MOST = 5\n",
    }
    head = {**base, "mail/retries.py": "from mail import queue\nMOST = 5\n"}
    found = only(CHECK, trees(tmp_path, base, head))
    assert "`mail.retries` → `mail.queue` → `mail.transport` → `mail.retries`" in found.message


def test_a_long_cycle_is_told_in_short(tmp_path: Path) -> None:
    names = [f"a_rather_long_name_of_a_module_{number}" for number in range(9)]
    base = {f"p/{name}.py": f"import p.{after}\n" for name, after in itertools.pairwise(names)}
    base |= {"p/__init__.py": "", f"p/{names[-1]}.py": ""}
    found = only(CHECK, trees(tmp_path, base, {**base, f"p/{names[-1]}.py": f"import p.{names[0]}\n"}))
    assert f"`p.{names[-1]}` → `p.{names[0]}` → … → `p.{names[-1]}`" in found.message
    assert found.message.endswith("in the function that needs it.")


def test_a_failure_of_the_base_is_not_the_cycle_s(tmp_path: Path) -> None:
    base = {
        **SHOP,
        "shop/__init__.py": "from shop import broken\nLATE = 1\n",
        "shop/broken.py": "from shop import LATE\n",
    }
    head = {**base, "shop/price.py": "from shop import cart\nRATE = 2\n"}
    assert raised(CHECK, trees(tmp_path, base, head)) == [("new-cycle", "shop/price.py", 1)]


def test_a_cycle_that_only_the_change_as_a_whole_closes_is_told_once(tmp_path: Path) -> None:
    base = {"shop/__init__.py": "", "shop/a.py": "", "shop/b.py": ""}
    head = {"shop/__init__.py": "", "shop/a.py": "from shop import b\n", "shop/b.py": "import shop.a\n"}
    assert raised(CHECK, trees(tmp_path / "old", base, head)) == [("new-cycle", "shop/a.py", 1)]
    assert raised(CHECK, trees(tmp_path / "new", {}, head)) == [("new-cycle", "shop/a.py", 1)]


def test_two_cycles_are_two_findings(tmp_path: Path) -> None:
    base = {"p/__init__.py": "", "p/a.py": "", "p/b.py": "from p import a\n", "p/c.py": "from p import a\n"}
    head = {**base, "p/a.py": "from p import b\nfrom p import c\n"}
    assert raised(CHECK, trees(tmp_path, base, head)) == [("new-cycle", "p/a.py", 1), ("new-cycle", "p/a.py", 2)]


def test_the_line_of_the_name_in_an_import_of_several_lines(tmp_path: Path) -> None:
    base = {**SHOP, "shop/price.py": "from shop import (\n    money,\n)\n", "shop/money.py": ""}
    head = {**base, "shop/price.py": "from shop import (\n    money,\n    cart,\n)\n"}
    assert raised(CHECK, trees(tmp_path, base, head)) == [("new-cycle", "shop/price.py", 3)]


@pytest.mark.parametrize(
    "text",
    [
        "def total():\n    from shop import cart\n",
        "async def total():\n    from shop import cart\n",
        "class A:\n    def total(self):\n        import shop.cart\n",
        "def __getattr__(name):\n    from shop import cart\n    return cart\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop import cart\n",
        "import typing as t\nif t.TYPE_CHECKING:\n    from shop.cart import x\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING or False:\n    from shop import cart\n",
        'if __name__ == "__main__":\n    from shop import cart\n',
        "# from shop import cart\n",
        '"""\nfrom shop import cart\n"""\n',
        "from shop import price\n",
        "from elsewhere import cart\n",
    ],
)
def test_what_does_not_run_while_the_module_loads_closes_nothing(tmp_path: Path, text: str) -> None:
    assert raised(CHECK, trees(tmp_path, SHOP, {**SHOP, "shop/price.py": text})) == []


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    from shop import cart\nexcept ImportError:\n    cart = None\n",
        "class A:\n    from shop import cart\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    from shop import cart\n",
        "from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    from shop import cart\n",
        "import sys\nif sys.platform == 'linux':\n    import shop.cart\n",
        "from . import cart\n",
        "from .cart import *\n",
        "import shop.cart as c\r\n",
        "\ufefffrom shop import cart",
        "x = 1; from shop import cart\n",
    ],
)
def test_other_ways_to_import_while_the_module_loads(tmp_path: Path, text: str) -> None:
    found = list(CHECK.run(trees(tmp_path, SHOP, {**SHOP, "shop/price.py": text})))
    assert [item.file for item in found] == ["shop/price.py"]


def test_an_import_that_was_in_a_function_and_is_not_any_more_closes_a_cycle(tmp_path: Path) -> None:
    base = {**SHOP, "shop/price.py": "def total():\n    from shop import cart\n"}
    head = {**SHOP, "shop/price.py": "from shop import cart\ndef total():\n    pass\n"}
    assert raised(CHECK, trees(tmp_path, base, head)) == [("new-cycle", "shop/price.py", 1)]


def test_a_cycle_of_the_base_is_nothing_new(tmp_path: Path) -> None:
    base = {**SHOP, "shop/price.py": "from shop import cart\n"}
    head = {**base, "shop/price.py": "import os\nfrom shop import cart, cart as c\n", "shop/x.py": "import shop.cart\n"}
    assert raised(CHECK, trees(tmp_path, base, head)) == []


def test_a_further_import_within_a_cycle_of_the_base_is_nothing_new(tmp_path: Path) -> None:
    base = {
        "p/__init__.py": "",
        "p/a.py": "import p.b\n",
        "p/b.py": "import p.c\n",
        "p/c.py": "import p.a\n",
    }
    head = {**base, "p/a.py": "import p.b\nimport p.c\n"}
    assert raised(CHECK, trees(tmp_path, base, head)) == []


def test_renaming_a_module_of_a_cycle_makes_no_new_one(tmp_path: Path) -> None:
    base = {"p/__init__.py": "", "p/a.py": "import p.b\nX = 1\nY = 2\n", "p/b.py": "import p.a\n"}
    head = {"p/__init__.py": "", "p/new.py": "import p.b\nX = 1\nY = 3\n", "p/b.py": "import p.new\n"}
    assert raised(CHECK, trees(tmp_path / "renamed", base, head, renamed={"p/new.py": "p/a.py"})) == []
    assert raised(CHECK, trees(tmp_path / "rewritten", base, head)) == []


def test_a_module_that_becomes_a_package_keeps_its_cycle(tmp_path: Path) -> None:
    base = {"p/__init__.py": "", "p/a.py": "import p.b\n", "p/b.py": "import p.a\n"}
    head = {"p/__init__.py": "", "p/a/__init__.py": "import p.b\n", "p/b.py": "import p.a\nX = 1\n"}
    assert raised(CHECK, trees(tmp_path, base, head)) == []


def test_a_part_taken_out_of_a_cycle_only_lengthens_it(tmp_path: Path) -> None:
    base = {"p/__init__.py": "", "p/a.py": "import p.b\n", "p/b.py": "import p.a\n"}
    head = {**base, "p/a.py": "import p.part\n", "p/part.py": "import p.b\n"}
    assert raised(CHECK, trees(tmp_path / "longer", base, head)) == []
    head = {**base, "p/a.py": "import p.b\nimport p.part\n", "p/part.py": "import p.a\n"}
    assert raised(CHECK, trees(tmp_path / "other", base, head)) == [("new-cycle", "p/a.py", 2)]


def test_what_a_package_imports_of_itself_is_common(tmp_path: Path) -> None:
    base = {"shop/__init__.py": "VERSION = 1\n", "shop/cart.py": "class Cart: ...\n", "shop/price.py": ""}
    head = {
        "shop/__init__.py": "VERSION = 1\nfrom shop.cart import Cart\nfrom . import price\n",
        "shop/cart.py": "import shop\nfrom shop import VERSION, price\nclass Cart: ...\n",
        "shop/price.py": "from . import VERSION\n",
    }
    assert raised(CHECK, trees(tmp_path, base, head)) == []


def test_a_package_that_is_asked_for_what_it_does_not_have_yet(tmp_path: Path) -> None:
    base = {"tool/__init__.py": "from tool.text import banner\n", "tool/text.py": "def banner(): ...\n"}
    head = {
        "tool/__init__.py": "from tool.text import banner\n\nVERSION = 1\n",
        "tool/text.py": "from tool import VERSION\n\ndef banner(): ...\n",
    }
    found = only(CHECK, trees(tmp_path, base, head))
    assert (found.rule, found.file, found.line, found.severity) == ("import-fails", "tool/text.py", 1, "blocker")
    assert "`import tool` fails" in found.message
    in_order = {**head, "tool/__init__.py": "VERSION = 1\n\nfrom tool.text import banner\n"}
    assert raised(CHECK, trees(tmp_path / "in-order", base, in_order)) == []
    sorted_imports = trees(tmp_path / "sorted", in_order, head)
    assert raised(CHECK, sorted_imports) == [("import-fails", "tool/__init__.py", 1)]


def test_what_a_package_may_have_is_not_said_to_be_missing(tmp_path: Path) -> None:
    base = {"tool/__init__.py": "from tool.text import banner\n", "tool/text.py": "def banner(): ...\n"}
    text = "from tool import VERSION\n\ndef banner(): ...\n"
    for number, package in enumerate(
        [
            "def __getattr__(name): ...\nfrom tool.text import banner\nVERSION = 1\n",
            "from os.path import *\nfrom tool.text import banner\nVERSION = 1\n",
            "globals().update(VERSION=1)\nfrom tool.text import banner\nVERSION = 1\n",
            "try:\n    from tool.text import banner\nexcept ImportError:\n    pass\nVERSION = 1\n",
            "from tool.text import banner\n",
            "def main():\n    from tool.text import banner\n\nVERSION = 1\n",
        ]
    ):
        head = {"tool/__init__.py": package, "tool/text.py": text}
        assert raised(CHECK, trees(tmp_path / str(number), base, head)) == []


def test_a_subpackage_is_no_part_of_those_beside_it(tmp_path: Path) -> None:
    base = {
        "shop/__init__.py": "",
        "shop/models/__init__.py": "from shop.models.user import User\n",
        "shop/models/user.py": "class User: ...\n",
        "shop/services.py": "from shop.models import User\n",
    }
    head = {**base, "shop/models/user.py": "from shop import services\n\nclass User: ...\n"}
    found = only(CHECK, trees(tmp_path, base, head))
    assert (found.file, found.line) == ("shop/models/user.py", 1)


@pytest.mark.parametrize("prefix", ["", "src/", "services/api/src/", "backend/"])
def test_layouts(tmp_path: Path, prefix: str) -> None:
    base = {f"{prefix}{path}": text for path, text in SHOP.items()}
    if prefix == "services/api/src/":
        base["services/api/pyproject.toml"] = ""
    head = {**base, f"{prefix}shop/price.py": "from shop.cart import x\n"}
    assert [item.file for item in CHECK.run(trees(tmp_path, base, head))] == [f"{prefix}shop/price.py"]


def test_namespace_packages_and_folders_without_init(tmp_path: Path) -> None:
    base = {
        "src/org/shop/__init__.py": "",
        "src/org/shop/cart.py": "from org.shop import price\n",
        "src/org/shop/price.py": "",
        "app/db/models.py": "import app.db.session\n",
        "app/db/session.py": "",
        "scripts/one.py": "import two\n",
        "scripts/two.py": "",
    }
    head = {
        **base,
        "src/org/shop/price.py": "from org.shop.cart import x\n",
        "app/db/session.py": "import app.db.models\n",
        "scripts/two.py": "import one\n",
    }
    assert sorted(item.file for item in CHECK.run(trees(tmp_path, base, head))) == [
        "app/db/session.py",
        "scripts/two.py",
        "src/org/shop/price.py",
    ]


def test_projects_with_modules_of_the_same_name_are_kept_apart(tmp_path: Path) -> None:
    base = {
        f"{project}/{path}": text
        for project in ("one", "two")
        for path, text in {"pyproject.toml": "", "app/__init__.py": "", "app/a.py": "", "app/b.py": ""}.items()
    }
    head = {**base, "one/app/a.py": "import app.b\n", "two/app/b.py": "import app.a\n"}
    assert raised(CHECK, trees(tmp_path / "apart", base, head)) == []
    head = {**base, "two/app/a.py": "import app.b\n", "two/app/b.py": "import app.a\n"}
    assert raised(CHECK, trees(tmp_path / "two", base, head)) == [("new-cycle", "two/app/a.py", 1)]


def test_packages_that_are_called_like_ours_are_those_of_the_repository(tmp_path: Path) -> None:
    base = {"grimp/__init__.py": "", "grimp/a.py": "import grimp.b\n", "grimp/b.py": "", "json/__init__.py": ""}
    head = {**base, "grimp/b.py": "import grimp.a\n"}
    assert raised(CHECK, trees(tmp_path, base, head)) == [("new-cycle", "grimp/b.py", 1)]


def test_nothing_of_the_repository_is_run_and_sys_path_stays(tmp_path: Path) -> None:
    bomb = "raise SystemExit('run')\n"
    base = {
        "org/__init__.py": bomb,
        "org/shop/__init__.py": bomb,
        "org/shop/a.py": f"{bomb}import org.shop.b\n",
        "org/shop/b.py": bomb,
    }
    head = {**base, "org/shop/b.py": f"{bomb}import org.shop.a\n"}
    path, modules = list(sys.path), set(sys.modules)
    assert raised(CHECK, trees(tmp_path, base, head)) == [("new-cycle", "org/shop/b.py", 2)]
    assert sys.path == path
    assert not any(name.partition(".")[0] == "org" for name in set(sys.modules) - modules)


def test_modules_that_do_not_parse_are_passed_over(tmp_path: Path) -> None:
    broken: dict[str, str | bytes] = {
        "shop/broken.py": "def (\n",
        "shop/latin.py": b"# caf\xe9\nX = 1\n",
        "shop/nul.py": b"x = 1\0\n",
        "shop/empty.py": "",
        "shop/two.py": 'print "x"\n',
        "shop/deep.py": "x = " + "(" * 500 + ")" * 500 + "\n",
    }
    base: dict[str, str | bytes] = {**SHOP, **broken}
    head = {**base, "shop/price.py": "from shop import cart, broken, latin\n", "shop/latin.py": b"# caf\xe9\nX = 2\n"}
    assert raised(CHECK, trees(tmp_path, base, head)) == [("new-cycle", "shop/price.py", 1)]
    head = {**base, "shop/price.py": "from shop import cart\ndef (\n"}
    assert raised(CHECK, trees(tmp_path / "itself", base, head)) == []


def test_a_repository_of_another_python_is_not_said_to_be_clean(tmp_path: Path) -> None:
    base = {f"shop/m{number}.py": 'print "x"\n' for number in range(30)}
    head = {**base, "shop/a.py": "import os\n"}
    with pytest.raises(NotRun, match="Python 3"):
        list(CHECK.run(trees(tmp_path, base, head)))


def test_tests_deleted_files_and_links_close_nothing(tmp_path: Path) -> None:
    base = {**SHOP, "tests/__init__.py": "", "tests/a.py": "import tests.b\n", "tests/b.py": "", "shop/gone.py": "x\n"}
    head = {**base, "tests/b.py": "import tests.a\n"}
    del head["shop/gone.py"]
    given_trees = trees(tmp_path, base, head)
    (given_trees.head.root / "shop/link.py").symlink_to(tmp_path / "base/shop/cart.py")
    assert raised(CHECK, given_trees) == []


def test_no_graph_is_built_where_no_import_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*args: object, **kwargs: object) -> None:
        raise AssertionError("built")

    monkeypatch.setattr("grimp.build_graph", build)
    head = {**SHOP, "shop/price.py": "RATE = 3\n", "README.md": "import shop\n"}
    assert raised(CHECK, trees(tmp_path, SHOP, head)) == []
    assert not CHECK.looks_at("README.md")
    assert not CHECK.looks_at("tests/test_a.py")
    assert CHECK.looks_at("shop/cart.py")


LINES = st.sampled_from(
    ["import {}", "from pack import {}", "from pack.{} import late", "early = 1", "late = 1", "import os"]
)
PROGRAMS = st.lists(st.tuples(LINES, st.sampled_from(["a", "b", "c"])), max_size=4)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries(dict.fromkeys(("a", "b", "c"), PROGRAMS)))
def test_what_is_said_to_fail_does_fail(
    tmp_path_factory: pytest.TempPathFactory, programs: dict[str, list[tuple[str, str]]]
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    (folder / "pack").mkdir()
    (folder / "pack/__init__.py").write_text("")
    for name, lines in programs.items():
        text = "\n".join(
            [line.format(f"pack.{to}" if line == "import {}" else to) for line, to in lines] + ["late = 1"]
        )
        (folder / f"pack/{name}.py").write_text(text)
    tree = Tree(folder)
    failure = failure_of(tree, layout_of(tree).path_of, "pack.a")
    ran = subprocess.run([sys.executable, "-B", "-c", "import pack.a"], cwd=folder, capture_output=True, text=True)
    if failure is None:
        assert "partially initialized" not in ran.stderr
    else:
        assert f"cannot import name '{failure.name}' from partially initialized module '{failure.asked}'" in ran.stderr
        assert f"{failure.asking.replace('.', '/')}.py" in ran.stderr
