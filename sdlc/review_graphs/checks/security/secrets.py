"""Secrets in added lines. What was found is never told: neither in a message nor as evidence."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sdlc.review_graphs.checks.base import ChangedPath, Level, Raised, Trees
from sdlc.review_graphs.checks.security.added import added_lines, is_document, is_made_up, texts_of_base
from sdlc.review_graphs.checks.security.secret_shapes import Hit, begins_private_key, shaped, signed_tokens
from sdlc.review_graphs.checks.security.secret_values import (
    is_chosen_password,
    is_credential_name,
    is_password_name,
    is_placeholder,
    is_random,
)

_MEND = "Revoke it, for it stays in the history, and read the new one from the environment or a secret store."

_URL = re.compile(
    r"\b[a-z][a-z0-9+.-]{2,20}://(?P<user>[^\s:/?#@'\"<>{}$]*):(?P<password>[^\s/@'\"<>{}$:,]+)@(?P<host>[\w.-]+)"
)
_NAME_BEFORE = re.compile(
    r"(?P<name>[A-Za-z_][\w.-]*)[\"'\]]{0,2}\s*(?::\s*[\w\[\], |.?]{1,40})?"
    r"(?::=|=>|[!=]=?=?|:|\()\s*[@bruf&]{0,2}[\"'`]?$"
)
_NOBODYS = re.compile(r"^127\.|^0\.0\.|example|\.local$|\.test$")
"""Hosts that are this machine, or nobody's at all."""
_MIGHT = re.compile(
    r"pass|pwd|secret|contrase|token|authorization|credential"
    r"|(?:api|access|auth|private|priv|client|service|account|signing|encryption|master|storage|db|database)[_-]?key",
    re.IGNORECASE,
)
_QUOTED_TOKEN = re.compile(
    r"(?P<name>\w*(?:token|authorization))[\"'\]]{0,2}\s*(?:=>|:=|=|:)\s*[\"'](?P<value>[^\"'\s]+)[\"']", re.I
)
_DEVELOPMENT = re.compile(
    r"(^|/)(docker-)?compose[\w.-]*\.ya?ml$|(^|/)\.env\.(dev|development|local|ci)$|(^|/)(\.github|\.circleci|\.devcontainer)/"
    r"|(^|/)\.(gitlab-ci|travis)\.yml$|(^|/)(dev|development|local|ci)[/._-]|[/._-](dev|development|local|ci)\.\w+$",
    re.IGNORECASE,
)
_UNQUOTED = re.compile(
    r"(^|/)(\.env[\w.-]*|[\w.-]*\.env|dockerfile[\w.-]*|\w+\.dockerfile)$|\.(sh|bash|zsh)$", re.IGNORECASE
)
"""Files of assignments without quotes that the library does not know."""
_ASSIGNMENT = re.compile(
    r"(?:^\s*(?:export|env|arg|declare -x|readonly|local)?\s*|\s)(?P<name>[A-Za-z_]\w*)(?:=|(?<=\w) (?=\S+$))"
    r"(?P<quote>[\"']?)(?P<value>[^\s\"']+)(?P=quote)(?=\s|;|$)",
    re.IGNORECASE,
)
_SEALED = re.compile(r"^kind: SealedSecret$|^sops:|^\$ANSIBLE_VAULT|^//?\s*ejson|\"_public_key\"", re.MULTILINE)


@dataclass(frozen=True)
class Named:
    """A text that something with a name is given."""

    name: str
    value: str
    line: int


class Secrets:
    name = "secrets"
    required = True

    def looks_at(self, path: str) -> bool:
        return True

    def run(self, trees: Trees) -> Iterable[Raised]:
        old = texts_of_base(trees)
        for file in trees.files:
            if file.status != "D" and file.is_text:
                yield from _once_a_line(self._of_file(trees, file, old))

    def _of_file(self, trees: Trees, file: ChangedPath, old: list[str]) -> Iterator[Raised]:
        lines = list(added_lines(trees, file))
        for number, line in lines:
            for hit in shaped(line):
                if not _is_old(hit.value, old):
                    yield _certain(file, number, hit)
        if is_made_up(file.path):
            return
        yield from self._keys_and_tokens(trees, file, lines, old)
        if not file.is_generated and not _SEALED.search(trees.head.text(file.path) or ""):
            yield from self._by_name(trees, file, lines, old)

    def _keys_and_tokens(
        self, trees: Trees, file: ChangedPath, lines: list[tuple[int, str]], old: list[str]
    ) -> Iterator[Raised]:
        whole = (trees.head.text(file.path) or "").split("\n")
        for number, line in lines:
            if "PRIVATE KEY" in line or "PuTTY" in line:
                body = "".join(whole[number : number + 1]).strip()
                if begins_private_key(whole, number - 1) and not (body and _is_old(body, old)):
                    yield _certain(file, number, Hit("a private key", ""))
            for hit in signed_tokens(line) if "eyJ" in line else ():
                if not _is_old(hit.value, old):
                    yield _certain(file, number, hit)

    def _by_name(
        self, trees: Trees, file: ChangedPath, lines: list[tuple[int, str]], old: list[str]
    ) -> Iterator[Raised]:
        in_document = is_document(file.path)
        takes_passwords = not in_document and not _DEVELOPMENT.search(file.path)
        for number, line in lines if not in_document else ():
            urls = [match for match in _URL.finditer(line) if _is_in_use(match, takes_passwords)]
            if any(not _is_old(match[0], old) for match in urls):
                yield _raised(file, number, "password-in-url", "major", "A URL with a password in it is committed.")
        for item in _named(trees, file, lines):
            if not is_credential_name(item.name) or _is_old(item.value, old):
                continue
            value = re.sub(r"^(?:Bearer|Basic|token)\s+", "", item.value, flags=re.IGNORECASE)
            if is_random(value):
                message = f"What `{item.name[:60]}` is given looks like a secret in use."
                yield _raised(file, item.line, "key", "major", message, 0.6 if in_document else 0.9)
            elif takes_passwords and is_password_name(item.name) and is_chosen_password(value):
                message = f"What `{item.name[:60]}` is given looks like a password in use."
                yield _raised(file, item.line, "password", "major", message, 0.7)


def _named(trees: Trees, file: ChangedPath, lines: list[tuple[int, str]]) -> Iterator[Named]:
    text = trees.head.text(file.path) or ""
    if file.path.endswith((".py", ".pyi")) and any(_MIGHT.search(line) for _, line in lines):
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass
        else:
            yield from (item for item in _named_in_python(tree) if file.has_added(item.line))
            return
    yield from _named_in_lines(file.path, lines)


def _named_in_lines(path: str, lines: list[tuple[int, str]]) -> Iterator[Named]:
    from detect_secrets.plugins.keyword import (
        QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP,
        REGEX_BY_FILETYPE,
        KeywordDetector,
    )
    from detect_secrets.util.filetype import determine_file_type

    if _UNQUOTED.search(path):
        for number, line in lines:
            yield from (Named(match["name"], match["value"], number) for match in _ASSIGNMENT.finditer(line))
        return
    detector = KeywordDetector()
    patterns = REGEX_BY_FILETYPE.get(determine_file_type(path), QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP)
    for number, line in lines:
        if not _MIGHT.search(line):
            continue
        for value in dict.fromkeys(detector.analyze_string(line[:500], patterns)):
            name = _NAME_BEFORE.search(line[: max(line.find(value), 0)])
            if name:
                yield Named(name["name"], re.split(r"\s+#", value)[0].strip(), number)
        for match in _QUOTED_TOKEN.finditer(line[:500]):
            yield Named(match["name"], match["value"], number)


def _named_in_python(tree: ast.Module) -> Iterator[Named]:
    for node in ast.walk(tree):
        for name, value in _pairs(node):
            if isinstance(value, ast.Call) and value.args and _ends(value.func).startswith("Secret"):
                value = value.args[0]
            if name and isinstance(value, ast.Constant) and isinstance(value.value, str | bytes):
                text = value.value if isinstance(value.value, str) else value.value.decode("latin-1")
                yield Named(name, text, value.lineno)


def _pairs(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """(name, value) of what a node gives a name to, compares with one, or falls back to."""
    if isinstance(node, ast.Assign):
        yield from ((_ends(target), node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
        yield _ends(node.target), node.value
    elif isinstance(node, ast.Dict):
        yield from ((_text(key), value) for key, value in zip(node.keys, node.values, strict=True) if key)
    elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
        yield _ends(node.left), node.comparators[0]
        yield _ends(node.comparators[0]), node.left
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        arguments = [*node.args.posonlyargs, *node.args.args]
        given = zip(reversed(arguments), reversed(node.args.defaults), strict=False)
        yield from ((argument.arg, value) for argument, value in given)
        yield from (
            (argument.arg, value) for argument, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        )
    elif isinstance(node, ast.Call):
        yield from ((keyword.arg or "", keyword.value) for keyword in node.keywords)
        if node.args and (first := _text(node.args[0])):
            # os.getenv("DB_PASSWORD", "…"), add_argument("--password", default="…")
            yield from ((first, value) for value in node.args[1:2])
            yield from ((first, keyword.value) for keyword in node.keywords if keyword.arg == "default")


def _ends(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return _text(node.slice) if isinstance(node, ast.Subscript) else ""


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_in_use(url: re.Match[str], takes_passwords: bool) -> bool:
    host, password = url["host"].lower(), url["password"]
    # A name without a dot is a service of a compose file, and the machine itself opens nothing to others.
    if "." not in host or _NOBODYS.search(host) or password == url["user"] or is_placeholder(password):
        return False
    return is_random(password) or (takes_passwords and is_chosen_password(password))


def _certain(file: ChangedPath, line: int, hit: Hit) -> Raised:
    message = f"{hit.name[:1].upper()}{hit.name[1:]} is committed: whoever can read the repository can use it."
    if is_made_up(file.path):
        return _raised(file, line, "known-shape", "major", message, 0.6)
    return _raised(file, line, "known-shape", "blocker", message, 0.9)


def _raised(file: ChangedPath, line: int, rule: str, severity: Level, said: str, confidence: float = 0.8) -> Raised:
    return Raised(
        rule=rule,
        file=file.path,
        line=line,
        severity=severity,
        message=f"{said} {_MEND}",
        confidence=confidence,
        confidential=True,
    )


def _once_a_line(found: Iterable[Raised]) -> Iterator[Raised]:
    """What is surest comes first, and one thing is said of a line."""
    seen: set[int] = set()
    for item in found:
        if item.line not in seen:
            seen.add(item.line)
            yield item


def _is_old(value: str, old: list[str]) -> bool:
    return any(value in text for text in old)
