"""Python: secrets that can be guessed, signatures and certificates that nobody checks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from sdlc.review_graphs.checks.base import Level
from sdlc.review_graphs.checks.security.python_module import (
    Module,
    is_constant,
    keyword,
    last_name,
    risk,
    text_of,
)
from sdlc.review_graphs.checks.security.risk import Risk

_DECODE = frozenset({"jwt.decode", "jwt.decode_complete", "jwt.api_jwt.decode", "jose.jwt.decode"})
_SAYS_SO = re.compile(r"unverified|insecure|unsafe|untrusted|peek|debug|introspect|inspect", re.IGNORECASE)
_VERIFIES = re.compile(r"verify(?!_signature)|get_signing_key|validate")
_ON_PURPOSE = re.compile(
    r"insecure|verif|debug|\bdev|local|skip|no_?check|self_?signed|ignore|trust|test", re.IGNORECASE
)
"""Of a condition: somebody has to ask for it."""

_GENERATORS = frozenset({"choice", "choices", "sample", "randint", "randrange", "getrandbits", "randbytes", "random"})
_GUESSABLE = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|secret|otp|nonce|csrf|salt|pin_?code|api_key"
    r"|(?:session|auth|access|refresh|reset|verification|verify|activation|confirmation|invite|invitation|api|login|csrf)"
    r"_(?:token|code|key|id)|token)s?(?:$|_)"
)
_NOT_SECRET = re.compile(
    r"(?:^|_)(?:next|sample|mask|pad|vocab|fake|dummy|mock|random_words?|test|demo|example|shuffle)(?:_|$)"
)

_DIGESTS = frozenset({"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "new"})
_PASSWORD = re.compile(r"(?:^|_)(?:password|passwd|passphrase|pwd)s?$", re.IGNORECASE)
_NOT_KEPT = re.compile(r"pwned|hibp|breach|leak|legacy|migrat|old_|compat|digest_auth|fingerprint|cache", re.IGNORECASE)
_SIGNATURES = frozenset({"hmac.new().hexdigest", "hmac.new().digest", "hmac.HMAC().hexdigest", "hmac.digest"})
_LOGGED = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|secret_key|client_secret|api_key|access_token|refresh_token|private_key)$",
    re.IGNORECASE,
)
_LOG = re.compile(r"(?:^|\.)_?(?:log|logger|logging)(?:\(\))?\.(?:debug|info|warning|warn|error|exception|critical)$")


def cryptography_risks(module: Module) -> Iterator[Risk]:
    yield from _unverified_tokens(module)
    yield from _guessable(module)
    yield from _fast_hashes(module)
    yield from _compared_signatures(module)
    yield from _no_certificates(module)
    yield from _logged_secrets(module)


def _unverified_tokens(module: Module) -> Iterator[Risk]:
    decodes = [call for call, name in module.calls if name in _DECODE]
    for call in decodes:
        if not _switches_check_off(module, call):
            continue
        function = module.function(call)
        beside = [other for other in decodes if other is not call and module.function(other) is function]
        is_checked_later = any(not _switches_check_off(module, other) for other in beside) or (
            function is not None and _VERIFIES.search(" ".join(_called(function)))
        )
        if is_checked_later or (function is not None and _SAYS_SO.search(function.name)):
            continue
        yield risk(
            "unverified-token",
            "blocker",
            "The signature of the token is not checked, so whoever sends it can write any user or right into it. Decode"
            " it with the key and `algorithms=[…]`.",
            call,
            0.85,
        )


def _switches_check_off(module: Module, call: ast.Call) -> bool:
    options = module.resolved(keyword(call, "options"))
    if isinstance(options, ast.Dict):
        pairs = zip(options.keys, options.values, strict=True)
        if any(text_of(key) == "verify_signature" and is_constant(value, False) for key, value in pairs):
            return True
    algorithms = module.resolved(keyword(call, "algorithms"))
    if isinstance(algorithms, ast.List | ast.Tuple):
        return any(text_of(item).lower() == "none" for item in algorithms.elts)
    return is_constant(keyword(call, "verify"), False)


def _called(function: ast.AST) -> Iterator[str]:
    return (ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call))


def _guessable(module: Module) -> Iterator[Risk]:
    seen: set[int] = set()
    for call, name in module.calls:
        package, _, generator = name.rpartition(".")
        if package != "random" or generator not in _GENERATORS or keyword(call, "weights"):
            continue
        statement = module.statement(call)
        names = [*_names_given(statement, call), getattr(module.function(call), "name", "")]
        secret = next(
            (name for name in names if _GUESSABLE.search(name.lower()) and not _NOT_SECRET.search(name.lower())), ""
        )
        is_text = generator in ("getrandbits", "randbytes", "randint", "randrange") or _has_alphabet(module, statement)
        if not secret or not is_text or id(statement) in seen:
            continue
        seen.add(id(statement))
        yield risk(
            "guessable-secret",
            "major",
            f"`random` is predictable from a few of its outputs, so others can work out what `{secret[:60]}` gives."
            " Use the module `secrets` (`secrets.token_urlsafe()`, `secrets.choice`).",
            call,
            0.9,
        )


def _names_given(statement: ast.AST, call: ast.Call) -> Iterator[str]:
    if isinstance(statement, ast.Assign):
        yield from (last_name(target) for target in statement.targets)
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        yield last_name(statement.target)
    for node in ast.walk(statement):
        if isinstance(node, ast.keyword) and any(inner is call for inner in ast.walk(node.value)):
            yield node.arg or ""
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            yield from (text_of(key) for key, value in pairs if any(inner is call for inner in ast.walk(value)))


def _has_alphabet(module: Module, statement: ast.AST) -> bool:
    scope = module.scope(statement)
    for node in (*ast.walk(statement), *ast.walk(scope)):
        if isinstance(node, ast.Attribute) and module.full(node).startswith(
            ("string.ascii", "string.digits", "string.hex")
        ):
            return True
        if len(text_of(node)) >= 10 and text_of(node).isalnum() and len(set(text_of(node))) >= 10:
            return True
    return False


def _fast_hashes(module: Module) -> Iterator[Risk]:
    for call, name in module.calls:
        package, _, kind = name.rpartition(".")
        hashed: list[ast.expr] = []
        if package == "hashlib" and kind in _DIGESTS:
            hashed = call.args[1:2] if kind == "new" else call.args[:1]
            kind = text_of(call.args[0]).lower() if kind == "new" and call.args else kind
        elif kind == "update" and isinstance(call.func, ast.Attribute):
            made = module.resolved(call.func.value)
            full = module.full(made.func) if isinstance(made, ast.Call) else ""
            if full.startswith("hashlib.") and full.rpartition(".")[2] in _DIGESTS:
                hashed, kind = call.args[:1], full.rpartition(".")[2]
        function = module.function(call)
        where = f"{getattr(function, 'name', '')} {module.path}"
        if not hashed or not _is_of_password(hashed[0]) or _NOT_KEPT.search(where):
            continue
        if is_constant(keyword(call, "usedforsecurity"), False):
            continue
        yield risk(
            "fast-password-hash",
            "major",
            f"`{kind}` of a password can be tried out billions of times a second once it is lost. Use a slow function"
            " made for passwords: `argon2`, `bcrypt`, or `hashlib.scrypt` with a salt of its own.",
            call,
            0.9 if kind in ("md5", "sha1") else 0.7,
        )


def _is_of_password(node: ast.expr) -> bool:
    return any(_PASSWORD.search(last_name(inner)) for inner in ast.walk(node) if isinstance(inner, ast.expr))


def _compared_signatures(module: Module) -> Iterator[Risk]:
    for node in module.nodes:
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
            continue
        sides = (module.resolved(node.left), module.resolved(node.comparators[0]))
        if any(isinstance(side, ast.Call) and module.full(side.func) in _SIGNATURES for side in sides):
            yield risk(
                "compared-signature",
                "minor",
                "The time that `==` takes tells how much of the signature is right, so it can be found out bit by bit."
                " Use `hmac.compare_digest`.",
                node,
            )


def _no_certificates(module: Module) -> Iterator[Risk]:
    said: set[int] = set()
    for node in module.nodes:
        off = _certificate_off(module, node)
        scope = id(module.scope(node))
        if off and scope not in said and not module.is_under(node, _ON_PURPOSE):
            said.add(scope)
            yield risk(
                "unverified-connection",
                "major",
                f"With {off} whoever is on the way can pass for the server, and read and change what is sent. Leave the"
                " check on; give an authority of your own with `cafile`.",
                node,
            )


def _certificate_off(module: Module, node: ast.AST) -> str:
    """What switches the check off in a node that bandit says nothing about; empty if nothing does."""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
        attribute, value = node.targets[0].attr, node.value
        if attribute == "verify_mode" and module.full(value).endswith("CERT_NONE"):
            return "`CERT_NONE`"
        if attribute == "check_hostname" and is_constant(value, False) and not _is_chosen(module, node):
            return "`check_hostname = False`"
        if attribute == "verify" and is_constant(value, False) and module.imports("requests", "httpx"):
            return "`verify = False`"
        if attribute in ("verify_ssl", "verify_certs") and is_constant(value, False):
            return f"`{attribute} = False`"
    if isinstance(node, ast.Call):
        for item in node.keywords:
            if item.arg in ("verify_ssl", "verify_certs") and is_constant(item.value, False):
                return f"`{item.arg}=False`"
            if item.arg in ("cert_reqs", "verify_mode") and (
                module.full(item.value).endswith("CERT_NONE") or text_of(item.value) == "CERT_NONE"
            ):
                return "`CERT_NONE`"
            if item.arg == "ssl" and is_constant(item.value, False) and _is_http(module, node):
                return "`ssl=False`"
    return ""


def _is_chosen(module: Module, node: ast.Assign) -> bool:
    """In a class of its own, or under a condition: whoever writes that compares the name in another way."""
    target = node.targets[0]
    is_own = isinstance(target, ast.Attribute) and last_name(target.value) in ("self", "cls")
    return is_own or any(isinstance(outer, ast.If | ast.Try) for outer in module.around(node))


def _is_http(module: Module, call: ast.Call) -> bool:
    """`ssl=False` means no encryption to a database, and no check of the certificate to aiohttp."""
    name = module.full(call.func)
    return module.imports("aiohttp") and (
        name.endswith("TCPConnector") or name.rpartition(".")[2] in ("get", "post", "put", "delete", "patch", "request")
    )


def _logged_secrets(module: Module) -> Iterator[Risk]:
    severity: Level = "major"
    for call, name in module.calls:
        if not _LOG.search(name):
            continue
        for argument in call.args:
            parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
            values = [part.value if isinstance(part, ast.FormattedValue) else part for part in parts]
            secret = next((last_name(value) for value in values if _LOGGED.search(last_name(value))), "")
            if secret:
                yield risk(
                    "logged-secret",
                    severity,
                    f"`{secret[:60]}` is written to the log, where more people and programs read it than it is meant"
                    " for, and where it stays. Leave it out.",
                    call,
                )
                break
