"""GitHub's own description of its API, and what of a fake's traffic breaks it.

The description is npm's `@octokit/openapi`, fetched once by `npm pack` into the user's cache. `openapi-core` reads
it. Where either can't be had, `Unavailable` says why.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.fakes.github_server import Exchange

PACKAGE = "@octokit/openapi"
VERSION = "23.0.2"
MEMBER = "package/generated/api.github.com.json"
FETCH_SECONDS = 120.0

NOT_DESCRIBED = {
    ("GET", "/repos/{owner}/{repo}/git/refs/{ref}"),
    ("GET", "/repos/{owner}/{repo}/contents/"),
    ("GET", "/repos/{owner}/{repo}/statuses/{sha}"),
}
"""Paths that GitHub answers, PyGithub asks, and the description lacks."""

NULLABLE = {
    "pull-request-review-comment": ("line", "position", "original_line"),
    "review-comment": ("line", "original_line"),
    "pull-request-simple/labels": ("description",),
}
"""Fields that GitHub sends as null and the description forgets, by schema, or by schema and its list of objects: the
lines of outdated comments and of comments on files; the description of a label that has none, which `label` and
`pull-request` do have as nullable."""


class Unavailable(Exception):
    """The description, or the program that reads it, can't be had here; the text says why."""


def cache_file() -> Path:
    """Where the description is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "sdlc" / "openapi" / f"api.github.com-{VERSION}.json"


def description() -> dict[str, Any]:
    """The description, fetched if it is not in the cache yet; raises Unavailable.

    Mended where it is known to be wrong: `NULLABLE`; what `nullable` means beside an `enum`; labels as a bare list,
    which GitHub takes and PyGithub sends; and the account of an installation, which is a person or an enterprise.
    """
    file = cache_file()
    if not file.is_file():
        _fetch(file)
    with file.open("rb") as stream:
        found: dict[str, Any] = json.load(stream)
    schemas = found["components"]["schemas"]
    for name, fields in NULLABLE.items():
        schema, _, of_items = name.partition("/")
        properties = schemas[schema]["properties"]
        properties = properties[of_items]["items"]["properties"] if of_items else properties
        for field in fields:
            properties[field]["nullable"] = True
    for method in ("post", "put"):
        body = found["paths"]["/repos/{owner}/{repo}/issues/{issue_number}/labels"][method]["requestBody"]
        body["content"]["application/json"]["schema"]["oneOf"].append({"type": "array", "items": {"type": "string"}})
    installations = found["paths"]["/app/installations"]["get"]["responses"]["200"]["content"]["application/json"]
    account = installations["schema"]["items"]["properties"]["account"]
    if "allOf" in account:
        account["anyOf"] = account.pop("allOf")
    _mend_null(found)
    return found


def _mend_null(schema: Any) -> None:
    """Let `nullable` mean what GitHub means by it: OpenAPI 3.0 wants null in an `enum` and a branch of `oneOf` too."""
    if isinstance(schema, list):
        for item in schema:
            _mend_null(item)
    elif isinstance(schema, dict):
        if schema.get("nullable") is True:
            if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
                schema["enum"] = [*schema["enum"], None]
            for several in ("oneOf", "anyOf"):
                if isinstance(schema.get(several), list):
                    schema[several] = [*schema[several], {"type": "string", "nullable": True, "enum": [None]}]
        for item in schema.values():
            _mend_null(item)


def _fetch(file: Path) -> None:
    if not shutil.which("npm"):
        raise Unavailable(f"{PACKAGE} is not in the cache, and there is no npm to fetch it with")
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                ["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=FETCH_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"npm pack {PACKAGE} took longer than {FETCH_SECONDS:.0f} s") from error
        packed = next(Path(folder).glob("*.tgz"), None)
        if done.returncode or packed is None:
            raise Unavailable(f"npm pack {PACKAGE} failed: {done.stderr.strip()[-300:]}")
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        with tarfile.open(packed) as archive, part.open("wb") as target:
            member = archive.extractfile(MEMBER)
            if member is None:
                raise Unavailable(f"{PACKAGE} has no {MEMBER}")
            shutil.copyfileobj(member, target)
        part.replace(file)


@functools.cache
def shared() -> Description | Unavailable:
    """The description of this process, which takes seconds to read; or why there is none."""
    try:
        return Description()
    except Unavailable as error:
        return error


def check(exchanges: Iterable[Exchange]) -> None:
    """Raises AssertionError with what of this traffic breaks the description; looks at nothing where there is none."""
    described = shared()
    if isinstance(described, Description):
        violations = described.violations(described.fresh(exchanges))
        assert violations == [], "\n".join(violations)


class _Request:
    """A recorded request in the form that openapi-core asks for."""

    def __init__(self, exchange: Exchange, host: str) -> None:
        datatypes = importlib.import_module("openapi_core.datatypes")
        structures = importlib.import_module("werkzeug.datastructures")

        self.host_url = host
        # A branch with a slash in it is one parameter: encoded, as the description has it.
        self.path = re.sub(
            r"\{(\w+)\}", lambda found: urllib.parse.quote(exchange.params[found[1]], safe=""), exchange.template
        )
        self.full_url_pattern = host + self.path
        self.method = exchange.method.lower()
        self.body = exchange.body or None
        self.content_type = (exchange.headers.get("content-type") or "application/json").split(";")[0]
        self.parameters = datatypes.RequestParameters(
            query=structures.ImmutableMultiDict(dict(exchange.query)), header=structures.Headers(dict(exchange.headers))
        )


class _Answer:
    def __init__(self, exchange: Exchange) -> None:
        self.data = exchange.answer or None
        self.status_code = exchange.status
        headers: Mapping[str, str] = exchange.answer_headers
        self.content_type = headers.get("Content-Type", "application/json").split(";")[0]
        self.headers = dict(headers)


class Description:
    """Checks traffic against GitHub's description; raises Unavailable where that can't be."""

    def __init__(self) -> None:
        try:
            core = importlib.import_module("openapi_core")
        except ImportError as error:
            raise Unavailable(f"openapi-core is not installed: {error}") from error
        self.raw = description()
        self._api: Any = core.OpenAPI.from_dict(self.raw, config=core.Config(spec_validator_cls=None))
        self._host = self.raw["servers"][0]["url"]
        self._looked_at: set[str] = set()

    def described(self, method: str, template: str) -> bool:
        """Whether the description has this call, by the shape of its path."""
        shape = re.sub(r"\{\w+\}", "{}", template)
        for path, calls in self.raw["paths"].items():
            if re.sub(r"\{\w+\}", "{}", path) == shape and method.lower() in calls:
                return True
        return False

    def fresh(self, exchanges: Iterable[Exchange]) -> list[Exchange]:
        """Those whose like was not given out before: each check takes up to 70 ms. Alike are exchanges of one call and
        status whose query, request and answer have the same fields of the same types."""
        found = []
        for exchange in exchanges:
            parts = [exchange.method, exchange.template, exchange.status, sorted(exchange.query)]
            kind = json.dumps([*parts, _shape(_json(exchange.body)), _shape(_json(exchange.answer))])
            if kind not in self._looked_at:
                self._looked_at.add(kind)
                found.append(exchange)
        return found

    def violations(self, exchanges: Iterable[Exchange]) -> list[str]:
        """What breaks the description, each in a line; requests that were refused as wrong (4xx) may be wrong."""
        found = []
        for exchange in exchanges:
            if (exchange.method, exchange.template) in NOT_DESCRIBED:
                continue
            for what, error in self._errors(exchange):
                found.append(f"{exchange.method} {exchange.path} → {exchange.status}: {what}: {error}")
        return found

    def _errors(self, exchange: Exchange) -> Iterable[tuple[str, str]]:
        request, answer = _Request(exchange, self._host), _Answer(exchange)
        if exchange.status < 400:
            for error in self._api.iter_request_errors(request):
                yield "request", explained(error)
        if "json" not in answer.content_type:
            # A diff or a raw file, wished for by `Accept`: the description has the media type of few of them.
            return
        if exchange.status in (304, 401) or (exchange.status in _SHARED and not self._has(exchange)):
            # Answers that any call may have, which the description does not repeat for each.
            return
        for error in self._api.iter_response_errors(request, answer):
            yield "answer", explained(error)

    def _has(self, exchange: Exchange) -> bool:
        shape = re.sub(r"\{\w+\}", "{}", exchange.template)
        for path, calls in self.raw["paths"].items():
            if re.sub(r"\{\w+\}", "{}", path) == shape:
                return str(exchange.status) in calls.get(exchange.method.lower(), {}).get("responses", {})
        return False


_SHARED = {400, 403, 404, 422, 429}


def _json(data: bytes) -> Any:
    try:
        return json.loads(data or b"null")
    except ValueError:
        return "text"


def _shape(value: Any) -> Any:
    """Fields and types; words in capitals or small letters alone may be those of an enumeration, so they stay."""
    if isinstance(value, dict):
        return {key: _shape(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return sorted({json.dumps(_shape(item)) for item in value})
    if isinstance(value, str) and re.fullmatch(r"[a-z_]{1,20}|[A-Z_]{1,20}", value):
        return value
    return type(value).__name__


def explained(error: BaseException) -> str:
    """An error of openapi-core with what lies under it, in a line, without the whole value."""
    lines: list[str] = []
    under: BaseException | None = error
    while under is not None:
        for inner in getattr(under, "schema_errors", ()):
            lines += _leaves(inner)
        under = under.__cause__ or under.__context__
    return " | ".join(dict.fromkeys(lines)) or f"{type(error).__name__}: {str(error)[:500]}"


def _leaves(error: Any) -> list[str]:
    """The errors at the bottom of one of JSON Schema: of `oneOf` and `anyOf` those of each branch."""
    if error.context:
        return [line for inner in error.context for line in _leaves(inner)]
    return [f"{'/'.join(str(part) for part in error.absolute_path)}: {error.message[-200:]}"]
