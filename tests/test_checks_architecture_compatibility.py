"""Entry points that lead to nothing, and migrations that can't be run or that nobody will run."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdlc.review_graphs.checks.architecture.entry_points import EntryPoints
from sdlc.review_graphs.checks.architecture.migrations import Migrations
from tests.trees import only, raised, trees

POINTS = EntryPoints()
MIGRATIONS = Migrations()
PROJECT = '[project]\nname = "shop"\nversion = "1.0"\n\n[project.scripts]\nshop = "shop.cli:main"\n'
SHOP = {
    "pyproject.toml": PROJECT,
    "shop/__init__.py": "",
    "shop/cli.py": "def main(): ...\n",
    "shop/other.py": "X = 1\n",
}


# Entry points


def test_a_command_whose_function_is_gone(tmp_path: Path) -> None:
    head = {**SHOP, "shop/cli.py": "import os\n\ndef run(): ...\n"}
    found = only(POINTS, trees(tmp_path, SHOP, head))
    assert (found.rule, found.file, found.line, found.severity) == ("target-missing", "shop/cli.py", 1, "major")
    assert "The command `shop` in `pyproject.toml` starts `shop.cli:main`" in found.message
    assert len(found.message) <= 300


def test_a_command_whose_module_is_gone(tmp_path: Path) -> None:
    head = {path: text for path, text in SHOP.items() if path != "shop/cli.py"}
    assert raised(POINTS, trees(tmp_path / "deleted", SHOP, head)) == [("target-missing", "shop/cli.py", 1)]
    moved = {**head, "shop/app.py": SHOP["shop/cli.py"]}
    given = trees(tmp_path / "moved", SHOP, moved, renamed={"shop/app.py": "shop/cli.py"})
    assert raised(POINTS, given) == [("target-missing", "shop/app.py", 1)]


def test_a_new_command_that_starts_nothing(tmp_path: Path) -> None:
    head = {**SHOP, "pyproject.toml": PROJECT + 'other = "shop.other:main"\ngone = "shop.gone:main"\n'}
    assert raised(POINTS, trees(tmp_path, SHOP, head)) == [
        ("target-missing", "pyproject.toml", 7),
        ("target-missing", "pyproject.toml", 8),
    ]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pyproject.toml", '[project.entry-points.plugins]\nx = "shop.other:gone"\n'),
        ("pyproject.toml", '[tool.poetry.scripts]\nx = "shop.other:gone"\n'),
        ("pyproject.toml", '[project.gui-scripts]\nx = "shop.other:gone.inner [extra]"\n'),
        ("setup.cfg", "[options.entry_points]\nconsole_scripts =\n    x = shop.other:gone\n"),
        ("services/api/pyproject.toml", '[project.scripts]\nx = "shop.other:gone"\n'),
    ],
)
def test_where_entry_points_may_be_declared(tmp_path: Path, path: str, text: str) -> None:
    base = {**SHOP, "pyproject.toml": ""}
    assert [item.rule for item in POINTS.run(trees(tmp_path, base, {**base, path: text}))] == ["target-missing"]


@pytest.mark.parametrize(
    "text",
    [
        '[project.scripts]\nx = "shop.other:X"\n',
        '[project.scripts]\nx = "elsewhere.cli:main"\n',
        '[project.scripts]\nx = "shop.dynamic:anything"\n',
        '[project.scripts]\nx = "shop:cli"\n',
        '[project.entry-points.plugins]\nx = "shop.other"\n',
        '[tool.poetry.scripts]\nx = {reference = "shop.gone", type = "file"}\n',
        "[project.scripts\n",
        "project = 1\n",
    ],
)
def test_entry_points_that_are_there_or_not_ours(tmp_path: Path, text: str) -> None:
    base = {**SHOP, "pyproject.toml": "", "shop/dynamic.py": "def __getattr__(name): ...\n"}
    assert raised(POINTS, trees(tmp_path, base, {**base, "pyproject.toml": text})) == []


def test_an_entry_point_that_led_to_nothing_before(tmp_path: Path) -> None:
    base = {**SHOP, "shop/cli.py": "X = 1\n"}
    assert raised(POINTS, trees(tmp_path, base, {**base, "shop/cli.py": "X = 2\n"})) == []
    assert raised(POINTS, trees(tmp_path / "other", SHOP, {**SHOP, "README.md": "x"})) == []


def test_a_command_that_is_taken_away(tmp_path: Path) -> None:
    head = {**SHOP, "pyproject.toml": PROJECT.replace("shop = ", "store = ")}
    found = only(POINTS, trees(tmp_path, SHOP, head))
    assert (found.rule, found.file, found.line, found.severity) == ("command-removed", "pyproject.toml", 6, "minor")
    assert len(found.message) <= 300


@pytest.mark.parametrize(
    "change",
    [
        {"CHANGELOG.md": "- the command `shop` is called store now\n"},
        {"pyproject.toml": PROJECT.replace("shop = ", "store = ").replace('"1.0"', '"2.0"')},
        {"setup.py": "setup(entry_points={'console_scripts': ['shop = shop.cli:main']})\n"},
        {"pyproject.toml": PROJECT.replace("shop = ", "store = ") + 'shop = "shop.cli:main"\n'},
        {"pyproject.toml": '[project]\nname = "shop"\ndynamic = ["scripts"]\n'},
    ],
)
def test_a_command_that_is_taken_away_with_notice_or_not_at_all(tmp_path: Path, change: dict[str, str]) -> None:
    head = {**SHOP, "pyproject.toml": PROJECT.replace("shop = ", "store = "), **change}
    assert raised(POINTS, trees(tmp_path, SHOP, head)) == []


# Migrations


def django(*after: str, operations: str = "", more: str = "") -> str:
    dependencies = "".join(f'("{app}", "{name}"), ' for app, _, name in (item.partition(".") for item in after))
    return (
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        f"    dependencies = [{dependencies}]\n{more}    operations = [{operations}]\n"
    )


def alembic(name: str, after: str | None, *, work: str = "pass", more: str = "") -> str:
    return f'"""{name}."""\nrevision = "{name}"\ndown_revision = {after!r}\n{more}\n\ndef upgrade():\n    {work}\n'


DJANGO = {
    "shop/migrations/__init__.py": "",
    "shop/migrations/0001_initial.py": django("auth.0001_initial"),
    "shop/migrations/0002_price.py": django("shop.0001_initial"),
}
ALEMBIC = {"db/versions/a.py": alembic("a", None), "db/versions/b.py": alembic("b", "a")}


@pytest.mark.parametrize(
    ("base", "path", "text", "line"),
    [
        (DJANGO, "shop/migrations/0002_tax.py", django("shop.0001_initial"), 5),
        (ALEMBIC, "db/versions/c.py", alembic("c", "a"), 3),
    ],
)
def test_two_migrations_that_follow_the_same_one(
    tmp_path: Path, base: dict[str, str], path: str, text: str, line: int
) -> None:
    found = only(MIGRATIONS, trees(tmp_path, base, {**base, path: text}))
    assert (found.rule, found.file, found.line, found.severity) == ("two-ends", path, line, "major")
    assert len(found.message) <= 300


@pytest.mark.parametrize(
    ("base", "head"),
    [
        (DJANGO, {"shop/migrations/0003_tax.py": django("shop.0002_price", "auth.0002_more")}),
        (
            DJANGO,
            {
                "shop/migrations/0003_a.py": django("shop.0002_price"),
                "shop/migrations/0004_b.py": django("shop.0003_a"),
            },
        ),
        (DJANGO, {"cart/migrations/0001_initial.py": django("shop.0002_price")}),
        (
            DJANGO,
            {
                "shop/migrations/0002_tax.py": django("shop.0001_initial"),
                "shop/migrations/0003_merge.py": django("shop.0002_price", "shop.0002_tax"),
            },
        ),
        (DJANGO, {"shop/migrations/0001_squashed.py": django(more='    replaces = [("shop", "0001_initial")]\n')}),
        (ALEMBIC, {"db/versions/c.py": alembic("c", "b")}),
        (ALEMBIC, {"db/versions/c.py": alembic("c", None, more='branch_labels = ("x",)')}),
        (ALEMBIC, {"db/versions/c.py": "X = 1\n", "db/versions/d.py": "def (\n"}),
        (ALEMBIC, {"other/versions/c.py": alembic("c", None)}),
        ({**ALEMBIC, "db/versions/z.py": alembic("z", "a")}, {"db/versions/c.py": alembic("c", "b")}),
        (DJANGO, {"shop/tests/migrations/0002_tax.py": django("shop.0001_initial")}),
    ],
)
def test_migrations_that_can_be_run(tmp_path: Path, base: dict[str, str], head: dict[str, str]) -> None:
    assert raised(MIGRATIONS, trees(tmp_path, base, {**base, **head})) == []


def test_a_migration_that_follows_nothing(tmp_path: Path) -> None:
    head = {**DJANGO, "shop/migrations/0003_tax.py": django("shop.0002_prices", "shop.0002_price")}
    assert raised(MIGRATIONS, trees(tmp_path / "django", DJANGO, head)) == [
        ("missing", "shop/migrations/0003_tax.py", 5)
    ]
    renamed = {path: text for path, text in ALEMBIC.items() if path != "db/versions/a.py"}
    renamed |= {"db/versions/a.py": alembic("a2", None), "db/versions/b.py": alembic("b", "a", more="X = 1")}
    assert raised(MIGRATIONS, trees(tmp_path / "alembic", ALEMBIC, renamed)) == [("missing", "db/versions/b.py", 3)]


def test_a_migration_that_is_edited_afterwards(tmp_path: Path) -> None:
    head = {**DJANGO, "shop/migrations/0002_price.py": django("shop.0001_initial", operations="migrations.RunSQL('x')")}
    found = only(MIGRATIONS, trees(tmp_path / "django", DJANGO, head))
    assert (found.rule, found.file, found.line, found.severity) == (
        "edited",
        "shop/migrations/0002_price.py",
        6,
        "minor",
    )
    assert len(found.message) <= 300
    head = {**ALEMBIC, "db/versions/b.py": alembic("b", "a", work="op.drop_table('x')")}
    assert raised(MIGRATIONS, trees(tmp_path / "alembic", ALEMBIC, head)) == [("edited", "db/versions/b.py", 7)]
    comment = {**ALEMBIC, "db/versions/b.py": alembic("b", "a", work='"""Why."""\n    pass  # nothing')}
    assert raised(MIGRATIONS, trees(tmp_path / "comment", ALEMBIC, comment)) == []
    base = {**DJANGO, "shop/migrations/0002_price.py": django(operations="migrations.AddConstraint(C(check='x'))")}
    newer = {**base, "shop/migrations/0002_price.py": django(operations="AddConstraint(\n    C(condition='x'),\n)")}
    assert raised(MIGRATIONS, trees(tmp_path / "newer", base, newer)) == []
