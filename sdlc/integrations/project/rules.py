"""`.sdlc.yml`: what a repository says about itself, where discovery would guess.

It is read from the base commit and never from the change, so that a change can't choose its own checks.
Its commands are shell lines, and run nowhere but in the sandbox.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from sdlc.integrations.git.paths import path_argument
from sdlc.integrations.project.patterns import fits

RULES_FILE = ".sdlc.yml"
LARGEST_RULES = 16 * 1024
"""Bytes; a longer file is no list of commands."""

VERSION = re.compile(r"[<>=!~]*\s*\d[\w.*]*(?:\s*,\s*[<>=!~]+\s*\d[\w.*]*)*\Z")
"""`3.12`, `>=3.9,<4`: a version or a range, and never the path of a program."""
_SOURCE_NAME = r"^[a-z][a-z0-9-]{0,39}$"
"""Of an analyser; stands before the rules of its findings."""
REPORT, FILES = "{report}", "{files}"
"""In the line of an analyser of the repository's own: where to write, and what to look at."""
LONGEST_ANALYSIS = 3_600
"""Seconds that an analyser of the repository's own may ask for."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class RulesInvalid(ValueError):
    """The file can't be used; the message names the place and the mend. A note for a person, never a crash."""


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_text(value: object) -> object:
    # YAML reads `python: 3.12` as a number and `DEBUG: 1` as another.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Line = Annotated[str, Field(min_length=1, max_length=4_096)]
Lines = Annotated[tuple[Line, ...], BeforeValidator(_as_list), Field(max_length=50)]


Names = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], BeforeValidator(_as_list)]


class ReviewRule(BaseModel):
    """Base of what stands below `review:`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class OwnAnalyser(ReviewRule):
    """An analyser that the repository brings: a command whose output is SARIF."""

    panel: Literal["architecture", "security", "quality", "techstack"] = "quality"
    """The panel that it belongs to."""
    run: Line
    """Shell line, run at the top of the repository in its own environment. `{report}` is the file to write SARIF to
    (without it, standard output is read), `{files}` the changed files that fit `files`, each an argument of its own."""
    files: Names = ("*",)
    """Patterns of the paths that it looks at, as in `.gitignore`: `*.ts`, `src/**`."""
    configuration: Names = ()
    """Files and folders that it finds as the base has them, so that a change can't loosen the rules it is judged by."""
    base: bool = True
    """Run it on the base as well, so that only what the change brings counts. False where it is slow: then
    findings on changed lines alone count."""
    required: bool = True
    """Ask a person when it could not be run."""
    timeout_seconds: Annotated[float, Field(gt=0, le=LONGEST_ANALYSIS)] = 300
    """For one commit; head and base may take so long each."""

    @field_validator("run")
    @classmethod
    def _outside_of_quotes(cls, value: str) -> str:
        try:
            words = shlex.split(value, comments=True)
        except ValueError:  # the shell itself will say what is wrong with it
            return value
        if any(FILES in word and len(word.split()) > 1 for word in words):
            # The names of a change's files would be commands to the shell that is quoted there.
            raise ValueError(f"`{FILES}` stands for arguments, and can't stand inside quotes")
        return value

    @field_validator("configuration")
    @classmethod
    def _inside(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            if path.startswith("/") or ".." in PurePosixPath(path).parts or not PurePosixPath(path).parts:
                raise ValueError(f"`{path}` is not a path below the top of the repository")
        return value

    def looks_at(self, path: str) -> bool:
        """Is it about this file of the head? What it finds as the base has it is none."""
        name = path_argument(path)
        is_configuration = any(f"{name}/".startswith(f"{own.rstrip('/')}/") for own in self.configuration)
        return not is_configuration and fits(name, self.files)


class DependencyRules(ReviewRule):
    """Which dependencies a change may bring."""

    allow: Names = ()
    """Names; with any, whatever is not among them is a finding."""
    deny: Names = ()
    """Names that are a blocker."""
    licences_deny: Names = ("AGPL-3.0", "GPL-2.0", "GPL-3.0", "SSPL-1.0", "BUSL-1.1")
    """SPDX names, also without `-only` and `-or-later`."""


class ReviewRules(ReviewRule):
    """What a repository says about its reviews."""

    without: Names = ()
    """Analysers, checks and lenses that are left out, by the names that reports give them."""
    analysers: Annotated[dict[Annotated[str, Field(pattern=_SOURCE_NAME)], OwnAnalyser], Field(max_length=20)] = {}
    """Own analysers by name."""
    generated: Names = ()
    """Patterns of paths that lenses leave out, on top of those that are known, as in `.gitignore`."""
    dependencies: DependencyRules = DependencyRules()
    largest_module: Annotated[int, Field(ge=50)] = 1_000
    """Lines of a module above which growth is a finding."""
    complexity: Annotated[int, Field(ge=1)] = 15
    """Cognitive complexity of a function above which growth is a finding."""

    @field_validator("analysers")
    @classmethod
    def _no_lens(cls, value: dict[str, OwnAnalyser]) -> dict[str, OwnAnalyser]:
        if "lens" in value:
            raise ValueError("`lens` before a rule means a model; give the analyser another name")
        return value


class ProjectRules(BaseModel):
    """The entries of `.sdlc.yml`. What is absent (None) is discovered; an empty list says that there is none."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    python: Annotated[str, BeforeValidator(_as_text), Field(max_length=100)] = ""
    """The Python to use, such as `3.12` or `>=3.11`."""
    setup: Lines | None = None
    """Commands that make the environment, in place of what would be discovered."""
    unit: Lines | None = None
    """Commands of the unit tests."""
    integration: Lines | None = None
    """Commands of the integration tests."""
    static: dict[str, Line] | None = None
    """Static checks: name → command."""
    env: dict[str, Annotated[str, BeforeValidator(_as_text)]] = {}
    """Variables for set-up and every command."""
    protected: Names = ()
    """Patterns of paths that only people may let change, on top of those that are known."""
    review: ReviewRules = ReviewRules()
    """What the review panels do differently here."""

    @field_validator("python")
    @classmethod
    def _version(cls, value: str) -> str:
        if value and not VERSION.match(value.strip()):
            raise ValueError("must be a version such as 3.12 or a range such as >=3.11")
        return value.strip()

    @field_validator("env")
    @classmethod
    def _variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not _VARIABLE.match(name):
                raise ValueError(f"`{name}` is not the name of a variable")
        return value


def parse_rules(text: str | bytes | None) -> ProjectRules:
    """The rules of a file's text; those of an absent or empty file are empty.

    Raises RulesInvalid with the place and the mend.
    """
    if not text:
        return ProjectRules()
    if len(text) > LARGEST_RULES:
        raise RulesInvalid(
            f"`{RULES_FILE}` has more than {LARGEST_RULES} bytes; keep commands in scripts of their own."
        )
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        loaded = yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader, without aliases
    except UnicodeDecodeError:
        raise RulesInvalid(f"`{RULES_FILE}` is not UTF-8; save it as UTF-8.") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RulesInvalid(f"`{RULES_FILE}` is not YAML{_place(error)}; mend it or take it out.") from None
    if loaded is None:
        return ProjectRules()
    if not isinstance(loaded, dict):
        raise RulesInvalid(f"`{RULES_FILE}` must be entries such as `unit: pytest`; it is a {type(loaded).__name__}.")
    try:
        return ProjectRules.model_validate(loaded)
    except ValidationError as error:
        raise RulesInvalid(_first(error)) from None


class _PlainLoader(yaml.SafeLoader):
    """Without aliases: a few hundred bytes of them unfold to gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(problem="aliases are not read here")
        return super().compose_node(parent, index)


def _place(error: BaseException) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or ""
    if mark is None:
        return f" ({problem})" if problem else ""
    return f" (line {mark.line + 1}: {problem})"


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = ", ".join(f"`{name}`" for name in _entries(first["loc"][:-1]))
        return f"`{RULES_FILE}`: there is no entry `{place}`; there are {known}."
    return f"`{RULES_FILE}`: `{place}`: {first['msg'].removeprefix('Value error, ')}."


def _entries(place: Sequence[int | str]) -> Iterable[str]:
    """The entries that there are at a place of the file."""
    if place[:1] != ("review",):
        return ProjectRules.model_fields
    if place[1:2] == ("analysers",):
        return OwnAnalyser.model_fields
    return DependencyRules.model_fields if place[1:2] == ("dependencies",) else ReviewRules.model_fields
