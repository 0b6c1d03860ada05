"""Third-party projects, and the bug of its own history that each gets back. No code of theirs is here.

The words of the tickets are ours; where the bug is told by its own project stands in `source`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """Two consecutive releases of a project, and the files between which the fix lies."""

    project: str
    """Its name on the package index."""
    before: str
    after: str
    paths: tuple[str, ...]
    """Source and test files that are taken back to `before`; the fix is what `after` has in them."""
    only: tuple[str, ...]
    """Pieces of text: of what differs in these files only the places that hold one of them are taken back."""
    check: str
    """What the scripted model runs after its edits. It goes into no decision."""
    bug: str
    """In a few words, for the table."""
    fix: str
    """What the scripted model says it did."""
    source: str
    """Where the project itself tells of it."""
    shape: str
    """How the project is laid out and declares its tests."""
    key: str
    ticket: str
    """Markdown below the front matter: what is wrong, and the acceptance criteria."""
    title: str
    rules: str = ""
    """A `.sdlc.yml` for what can't be found out from the archive."""


CASES = (
    Case(
        project="humanize",
        before="4.12.0",
        after="4.12.1",
        paths=("src/humanize/filesize.py", "tests/test_filesize.py"),
        only=("Bytes", "1.123456789"),
        fix="Cut the decimals off sizes below one kilobyte, as a size has whole bytes.",
        check="python -m pytest -q tests/test_filesize.py",
        bug="decimals of a byte in `naturalsize` of a float",
        source="https://github.com/python-humanize/humanize/pull/240",
        shape="src layout, pyproject with hatchling and its version from git, extra `tests`, pytest",
        key="HUMANIZE-1",
        title="A float below one kilobyte is shown with all its decimals",
        ticket="""\
Since the last release a size that was worked out, such as an average, is shown as it came:

```pycon
>>> import humanize
>>> humanize.naturalsize(1.123456789)
'1.123456789 Bytes'
>>> humanize.naturalsize(1.123456789, gnu=True)
'1.123456789B'
```

There are no parts of a byte, and earlier releases cut them off.

## Acceptance criteria

- A float below the base is shown as a whole number of bytes, its decimals cut off, in both notations.
- Larger sizes are shown as before.
""",
    ),
    Case(
        project="xmltodict",
        before="0.14.1",
        after="0.14.2",
        paths=("xmltodict.py", "tests/test_xmltodict.py"),
        only=("self.strip_whitespace and data", "emptya", "dict(root="),
        fix="Strip the text of every element, whether it has children or not, and expect that in the tests.",
        check="python -m unittest",
        bug="white space around the text of a leaf is kept, though stripping is on",
        source="https://github.com/martinblech/xmltodict/issues/361",
        shape="one module, setup.py, unittest, nothing declared for tests but a runner of long ago",
        key="XMLTODICT-1",
        title="`strip_whitespace` no longer strips the text of elements without children",
        ticket="""\
After an update our pipeline compares texts that suddenly carry the indentation of the document:

```pycon
>>> import xmltodict
>>> xmltodict.parse("<root> </root>")
{'root': ' '}
```

`strip_whitespace` is on by default, and it used to give `None` here. It works where the element has children,
and no longer where it has none.

## Acceptance criteria

- With `strip_whitespace`, text is stripped in every element, and one of white space alone is `None`.
- With `strip_whitespace=False` all of it is kept.
""",
    ),
    Case(
        project="inflect",
        before="7.3.1",
        after="7.4.0",
        paths=("inflect/__init__.py", "tests/test_pwd.py"),
        only=("ENDS_WITH_APOSTROPHE_S", '("\'", False)'),
        fix="Ask for a word before the apostrophe of a possessive.",
        check="python -m pytest -q tests/test_pwd.py",
        bug="`plural` of a single apostrophe raises",
        source="https://github.com/jaraco/inflect/pull/218",
        shape="flat layout, pyproject with setuptools and its version from git, dependencies, extra `test`, doctests",
        key="INFLECT-1",
        title="`plural` raises on a text that is one apostrophe",
        ticket="""\
We feed words from scanned pages to `plural`. Now and then one is nothing but a stray apostrophe, and the whole batch
stops:

```pycon
>>> import inflect
>>> inflect.engine().plural("'")
Traceback (most recent call last):
  ...
typeguard.TypeCheckError: argument "text" (str) is not an instance of inflect.Word
```

`plural_adj` has the same trouble.

## Acceptance criteria

- Neither `plural` nor `plural_adj` raises on a single apostrophe: it is no possessive.
- Possessives such as `tuna's` are handled as before.
""",
    ),
    Case(
        project="jinja2",
        before="3.1.5",
        after="3.1.6",
        paths=("src/jinja2/filters.py", "tests/test_security.py"),
        only=("getattr", "name = str(name)", "is not", "do_attr", "Get an attribute", "test_attr_filter"),
        fix="Let the filter `attr` look attributes up through the environment, so that the sandbox sees it.",
        check="python -m pytest -q tests/test_security.py tests/test_filters.py",
        bug="the filter `attr` gets round the sandbox",
        source="https://github.com/pallets/jinja/security/advisories/GHSA-cpwx-vrp4-4pq7",
        shape="src layout, pyproject with flit, a dependency, `requirements/tests.txt`, pytest with warnings as errors",
        key="JINJA-1",
        title="A sandboxed template reaches `str.format` through the filter `attr`",
        ticket="""\
The sandbox looks at every lookup of an attribute, and hands out a safe `format` for strings. The filter `attr` makes
its own lookup, so that a template which a user wrote can get the plain method of a string and format its way to
`__builtins__`.

## Acceptance criteria

- In a sandboxed environment, a format string reached by `attr("format")` that asks for something unsafe raises
  `SecurityError`.
- `attr` still finds attributes only, never items, and gives undefined where there is none.
""",
    ),
    Case(
        project="boltons",
        before="24.0.0",
        after="24.1.0",
        paths=("boltons/typeutils.py", "tests/test_typeutils.py"),
        only=("copy",),
        fix="Let copies of a sentinel be the sentinel itself.",
        check="python -m pytest -q tests/test_typeutils.py",
        bug="a copied sentinel is no longer the sentinel",
        source="https://github.com/mahmoud/boltons/blob/master/CHANGELOG.md#2410",
        shape="setup.py, tox whose requirements file is not in the archive, a conftest for pytest 7: needs `.sdlc.yml`",
        key="BOLTONS-1",
        title="Copies of a sentinel are not the sentinel",
        ticket="""\
A sentinel is compared by identity. When a structure that holds one is copied, the copy holds another object, and
every `is` after that is wrong:

```pycon
>>> import copy
>>> from boltons.typeutils import make_sentinel
>>> MISSING = make_sentinel("MISSING")
>>> copy.copy(MISSING) is MISSING
False
```

## Acceptance criteria

- `copy.copy` and `copy.deepcopy` of a sentinel give the sentinel itself.
""",
        rules="""\
# The archive lacks the requirements file that tox.ini names, and tests/conftest.py is for pytest 7.
setup:
  - pip install "pytest<8" -e .
unit: python -m pytest tests
""",
    ),
)
