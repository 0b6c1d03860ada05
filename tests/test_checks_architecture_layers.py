"""Contracts of the repository that a change breaks, held by import-linter itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sdlc.review_graphs.checks.architecture.layers import Layers
from sdlc.review_graphs.checks.base import NotRun
from tests.trees import only, raised, trees

CHECK = Layers()
ONE = "[importlinter:contract:1]\n"
OWN_TYPE = "contract_types =\n    own: shop.own.Own\n"
LAYERS = """[importlinter]
root_package = shop

[importlinter:contract:layers]
name = From the web down
type = layers
layers =
    shop.web
    shop.services
    shop.storage
"""
SHOP = {
    ".importlinter": LAYERS,
    "shop/__init__.py": "",
    "shop/web.py": "from shop import services\n",
    "shop/services/__init__.py": "",
    "shop/services/search.py": "INDEX = {}\n",
    "shop/storage.py": "BOOKS = {}\n",
    "shop/helpers.py": "X = 1\n",
}
BROKEN = {**SHOP, "shop/storage.py": "import os\nfrom shop.services import search\nBOOKS = {}\n"}


def test_an_import_up_the_layers(tmp_path: Path) -> None:
    found = only(CHECK, trees(tmp_path, SHOP, BROKEN))
    assert (found.rule, found.file, found.line, found.severity) == ("contract-broken", "shop/storage.py", 2, "major")
    assert "“From the web down” of `.importlinter`" in found.message
    assert "`shop.storage` must not import `shop.services.search`" in found.message
    assert len(found.message) <= 300


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("setup.cfg", LAYERS),
        (
            "pyproject.toml",
            '[tool.importlinter]\nroot_packages = ["shop"]\n[[tool.importlinter.contracts]]\n'
            'name = "From the web down"\ntype = "layers"\nlayers = ["shop.web", "shop.services", "shop.storage"]\n',
        ),
    ],
)
def test_where_contracts_may_stand(tmp_path: Path, file: str, text: str) -> None:
    base = {path: content for path, content in SHOP.items() if path != ".importlinter"} | {file: text}
    head = {**base, "shop/storage.py": "from shop.services import search\n"}
    assert f"of `{file}`" in only(CHECK, trees(tmp_path, base, head)).message


def test_a_way_round_through_another_module(tmp_path: Path) -> None:
    base = {**SHOP, "shop/helpers.py": "import shop.web\n"}
    head = {**base, "shop/storage.py": "from shop.helpers import X\nBOOKS = {}\n"}
    found = only(CHECK, trees(tmp_path, base, head))
    assert (found.file, found.line) == ("shop/storage.py", 1)
    assert "by importing `shop.helpers`, `shop.storage` now reaches `shop." in found.message


def test_what_the_base_breaks_already_is_nothing_new(tmp_path: Path) -> None:
    head = {**BROKEN, "shop/storage.py": "import os\nimport re\nfrom shop.services import search, search as s\n"}
    assert raised(CHECK, trees(tmp_path, BROKEN, head)) == []


def test_a_second_break_of_a_broken_contract_is_new(tmp_path: Path) -> None:
    head = {**BROKEN, "shop/storage.py": BROKEN["shop/storage.py"] + "import shop.web\n"}
    assert raised(CHECK, trees(tmp_path, BROKEN, head)) == [("contract-broken", "shop/storage.py", 4)]


def test_imports_in_functions_count_as_import_linter_counts_them(tmp_path: Path) -> None:
    head = {**SHOP, "shop/storage.py": "def save():\n    from shop.services import search\n"}
    assert raised(CHECK, trees(tmp_path, SHOP, head)) == [("contract-broken", "shop/storage.py", 2)]


def test_imports_for_type_checkers_count_unless_the_repository_says_otherwise(tmp_path: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop.services import search\n"
    assert raised(CHECK, trees(tmp_path / "a", SHOP, {**SHOP, "shop/storage.py": text})) == [
        ("contract-broken", "shop/storage.py", 3)
    ]
    base = {**SHOP, ".importlinter": LAYERS.replace("= shop\n", "= shop\nexclude_type_checking_imports = True\n", 1)}
    assert raised(CHECK, trees(tmp_path / "b", base, {**base, "shop/storage.py": text})) == []


@pytest.mark.parametrize(
    ("contract", "line"),
    [
        ("type = forbidden\nsource_modules = shop.storage\nforbidden_modules = requests\n", "import requests.api"),
        ("type = forbidden\nsource_modules = shop.storage\nforbidden_modules = shop.web\n", "from shop import web"),
        (
            "type = forbidden\nsource_modules = shop.storage\nforbidden_modules = shop.web\n"
            "allow_indirect_imports = True\n",
            "from shop import web",
        ),
        ("type = independence\nmodules =\n    shop.storage\n    shop.helpers\n", "import shop.helpers"),
        ("type = protected\nprotected_modules = shop.helpers\nallowed_importers = shop.web\n", "import shop.helpers"),
        ("type = acyclic_siblings\nancestors = shop\n", "import shop.web"),
    ],
)
def test_every_type_of_contract(tmp_path: Path, contract: str, line: str) -> None:
    text = f"[importlinter]\nroot_package = shop\ninclude_external_packages = True\n{ONE}name = Kept\n{contract}"
    base = {
        **SHOP,
        ".importlinter": text,
        "shop/services/search.py": "import shop.storage\n",
        "shop/web.py": "import shop.services.search\n",
    }
    head = {**base, "shop/storage.py": f"import os\n{line}\nBOOKS = {{}}\n"}
    found = only(CHECK, trees(tmp_path, base, head))
    assert (found.rule, found.file, found.line, found.severity) == ("contract-broken", "shop/storage.py", 2, "major")
    assert "“Kept”" in found.message
    fine = {**base, "shop/storage.py": "import os\nimport json\nBOOKS = {}\n"}
    assert raised(CHECK, trees(tmp_path / "fine", base, fine)) == []


def test_a_circle_is_shown_at_the_import_that_closes_it(tmp_path: Path) -> None:
    """import-linter itself names the import that it would take out, which is another one here."""
    text = f"[importlinter]\nroot_package = p\n{ONE}name = No circles\ntype = acyclic_siblings\nancestors = p\n"
    base = {
        ".importlinter": text,
        "p/__init__.py": "",
        "p/a.py": "import p.b\n",
        "p/b.py": "",
        "p/c.py": "import p.a\n",
    }
    for number in range(4):
        base[f"p/b{number}.py"] = "import p.c\n"
    head = {**base, "p/b.py": "import p.b0, p.b1, p.b2\nimport json\n"}
    found = list(CHECK.run(trees(tmp_path, base, head)))
    assert {(item.file, item.line) for item in found} == {("p/b.py", 1)}


def test_what_a_contract_excuses(tmp_path: Path) -> None:
    base = {**SHOP, ".importlinter": f"{LAYERS}ignore_imports =\n    shop.storage -> shop.services.search\n"}
    assert (
        raised(CHECK, trees(tmp_path / "excused", base, {**base, "shop/storage.py": BROKEN["shop/storage.py"]})) == []
    )
    excused = {**BROKEN, ".importlinter": base[".importlinter"]}
    head = {**excused, "shop/storage.py": "import shop.web\n"}
    assert raised(CHECK, trees(tmp_path / "no-more", excused, head)) == [("contract-broken", "shop/storage.py", 1)]


def test_a_change_that_loosens_the_contract_for_itself_is_said_to_people(tmp_path: Path) -> None:
    head = {**BROKEN, ".importlinter": f"{LAYERS}ignore_imports =\n    shop.storage -> shop.services.search\n"}
    found = only(CHECK, trees(tmp_path / "excused", SHOP, head))
    assert (found.rule, found.file, found.line, found.severity) == ("contract-loosened", "shop/storage.py", 2, "minor")
    without = {path: text for path, text in BROKEN.items() if path != ".importlinter"}
    assert only(CHECK, trees(tmp_path / "gone", SHOP, without)).rule == "contract-loosened"
    other = {**BROKEN, ".importlinter": LAYERS.replace("shop.web\n", "shop.web\n    shop.helpers\n")}
    assert only(CHECK, trees(tmp_path / "other", SHOP, other)).rule == "contract-broken"


def test_a_module_that_an_exhaustive_contract_does_not_name(tmp_path: Path) -> None:
    text = (
        "[importlinter]\nroot_package = shop\n[importlinter:contract:1]\nname = Rooms\ntype = layers\n"
        "containers = shop\nexhaustive = True\nlayers =\n    web\n    services\n    storage\n    helpers\n"
    )
    base = {**SHOP, ".importlinter": text}
    head = {**base, "shop/cellar/__init__.py": "", "shop/cellar/wine.py": "X = 1\n"}
    found = only(CHECK, trees(tmp_path / "new", base, head))
    assert (found.rule, found.file, found.line) == ("layer-missing", "shop/cellar/__init__.py", 1)
    assert "`shop.cellar`" in found.message
    named = {**head, ".importlinter": f"{text}    cellar\n"}
    assert raised(CHECK, trees(tmp_path / "named", base, named)) == []


def test_a_contract_that_names_what_is_gone_is_not_taken_to_be_kept(tmp_path: Path) -> None:
    head = {path: text for path, text in SHOP.items() if path != "shop/storage.py"}
    with pytest.raises(NotRun, match=r"From the web down.*shop\.storage"):
        list(CHECK.run(trees(tmp_path / "gone", SHOP, {**head, "shop/store.py": "BOOKS = {}\nimport shop.web\n"})))
    moved = {**head, "shop/store.py": "BOOKS = {}\n", ".importlinter": LAYERS.replace("shop.storage", "shop.store")}
    assert raised(CHECK, trees(tmp_path / "moved", SHOP, moved)) == []


def test_contracts_of_the_repository_s_own_code_are_never_run(tmp_path: Path) -> None:
    text = f"[importlinter]\nroot_package = shop\n{OWN_TYPE}{ONE}name = Own\ntype = own\n"
    base = {**SHOP, ".importlinter": text, "shop/own.py": "raise SystemExit('run')\n"}
    with pytest.raises(NotRun, match=r"Own.*own code"):
        list(CHECK.run(trees(tmp_path / "alone", base, {**base, "shop/storage.py": "import shop.web\n"})))
    both = {
        **base,
        ".importlinter": LAYERS.replace("= shop\n", "= shop\n" + OWN_TYPE, 1) + text[text.index("[importlinter:c") :],
    }
    head = {**both, "shop/storage.py": "import shop.web\n"}
    assert raised(CHECK, trees(tmp_path / "both", both, head)) == [("contract-broken", "shop/storage.py", 1)]
    assert raised(CHECK, trees(tmp_path / "no-imports", base, {**base, "shop/storage.py": "BOOKS = {1: 2}\n"})) == []
    assert "shop" not in sys.modules


@pytest.mark.parametrize(
    "text",
    [
        "[importlinter\n",
        "[importlinter]\n[importlinter:contract:1]\nname = x\ntype = layers\nlayers = shop.web\n",
        f"[importlinter]\nroot_package = elsewhere\n{ONE}name = x\ntype = layers\nlayers = shop.web\n",
        "[importlinter]\nroot_package = shop\n[importlinter:contract:1]\nname = x\ntype = layers\n",
        "[importlinter]\nroot_package = shop\n[importlinter:contract:1]\nname = x\ntype = layers\nlayers = shop.gone\n",
        "[importlinter]\nroot_package = shop\n[importlinter:contract:1]\nname = x\ntype = unheard-of\n",
    ],
)
def test_a_configuration_that_cannot_be_held_is_not_run(tmp_path: Path, text: str) -> None:
    base = {**SHOP, ".importlinter": text}
    with pytest.raises(NotRun):
        list(CHECK.run(trees(tmp_path, base, {**base, "shop/storage.py": "import shop.web\n"})))


def test_a_namespace_package_as_root_is_found_and_its_parent_not_run(tmp_path: Path) -> None:
    bomb = "raise SystemExit('run')\n"
    text = LAYERS.replace("shop", "org.shop")
    base = {
        ".importlinter": text,
        **{f"src/org/{path}": content for path, content in SHOP.items() if path != ".importlinter"},
    }
    base |= {"src/org/shop/__init__.py": bomb, "src/org/shop/web.py": "", "src/org/shop/helpers.py": ""}
    head = {**base, "src/org/shop/storage.py": "from org.shop.services import search\n"}
    assert raised(CHECK, trees(tmp_path / "namespace", base, head)) == [
        ("contract-broken", "src/org/shop/storage.py", 1)
    ]
    base["src/org/__init__.py"] = bomb
    head["src/org/__init__.py"] = bomb
    assert raised(CHECK, trees(tmp_path / "package", base, head)) == [("contract-broken", "src/org/shop/storage.py", 1)]


def test_repositories_without_contracts_are_none_of_its_business(tmp_path: Path) -> None:
    for number, text in enumerate(["", "[importlinter]\nroot_package = shop\n", "# importlinter\n"]):
        base = {**SHOP, ".importlinter": text}
        assert (
            raised(CHECK, trees(tmp_path / str(number), base, {**base, "shop/storage.py": "import shop.web\n"})) == []
        )


def test_nothing_is_built_for_a_change_without_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*args: object, **kwargs: object) -> None:
        raise AssertionError("built")

    monkeypatch.setattr("grimp.build_graph", build)
    assert raised(CHECK, trees(tmp_path, SHOP, {**SHOP, "README.md": "import shop.web\n"})) == []


def test_broken_modules_and_renamed_ones(tmp_path: Path) -> None:
    base = {**SHOP, "shop/broken.py": "def (\n"}
    head = {path: text for path, text in base.items() if path != "shop/helpers.py"}
    head |= {"shop/storage.py": "import shop.web\r\n", "shop/services/helpers.py": "X = 1\nimport shop.web\n"}
    assert raised(CHECK, trees(tmp_path, base, head, renamed={"shop/services/helpers.py": "shop/helpers.py"})) == [
        ("contract-broken", "shop/services/helpers.py", 2),
        ("contract-broken", "shop/storage.py", 1),
    ]
