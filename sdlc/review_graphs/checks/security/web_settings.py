"""Python: what web frameworks are told to leave open: origins, cookies, hosts, forged requests, debuggers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from sdlc.review_graphs.checks.security.python_module import (
    Function,
    Module,
    decorators,
    is_constant,
    keyword,
    last_name,
    risk,
    text_of,
)
from sdlc.review_graphs.checks.security.risk import Risk

_DEVELOPMENT = re.compile(
    r"(^|[/_.-])(dev|develop|development|local|test|tests|testing|ci|debug|example|sample|demo)([/_.-]|$)"
)
_DEBUGGING = re.compile(r"debug|\bdev|local|test", re.IGNORECASE)
_OF_SESSION = re.compile(r"session|sid\b|auth|token|jwt|remember|login", re.IGNORECASE)
_OF_CSRF = re.compile(r"csrf|xsrf", re.IGNORECASE)
_KNOWS_USER = re.compile(
    r"request\.user\b|request\.session\b|current_user\b|login_required|permission_required|\bsession\["
)
_RIGHTS = re.compile(
    r"\b(?:user|request|account|member|actor|principal|session)\w*\b.*\b(?:is_(?:admin|staff|superuser|authenticated|owner)"
    r"|has_(?:perm|permission|role|access)\w*|can_\w+|may_\w+|permissions?|authori[sz]ed)\b"
)
_WEAKENED = {
    "SESSION_COOKIE_SECURE": (False, "The session's cookie is also sent over plain HTTP, where others can read it"),
    "CSRF_COOKIE_SECURE": (False, "The cookie is also sent over plain HTTP, where others can read it"),
    "SECURE_SSL_REDIRECT": (False, "Pages are also served over plain HTTP, where others can read and change them"),
    "SECURE_HSTS_SECONDS": (0, "Browsers no longer insist on HTTPS"),
    "DEBUG": (True, "Whoever causes an error sees code, settings and variables"),
    "WTF_CSRF_ENABLED": (False, "Another site can have a form sent in the name of whoever is signed in"),
}
"""Setting → (the value that opens it, what then happens). Reported where the base had another value."""
_ALWAYS = frozenset({"WTF_CSRF_ENABLED"})
"""Those that nobody has to set but to open something."""


def web_risks(module: Module, base: Module | None) -> Iterator[Risk]:
    """`base` is the same module before: a setting is weakened only beside what it was."""
    yield from _open_origins(module)
    yield from _cookies(module)
    yield from _forged_requests(module)
    yield from _unescaped_templates(module)
    yield from _asserted_rights(module)
    if not _DEVELOPMENT.search(module.path.lower()):
        yield from _settings(module, base)


def _open_origins(module: Module) -> Iterator[Risk]:
    message = (
        "Any site may call this with the cookies of whoever visits it, and read the answers. Name the origins that may,"
        " or do without credentials."
    )
    for call, name in module.calls:
        if any(module.full(item).endswith("CORSMiddleware") for item in (call.func, *call.args)):
            origins, pattern = keyword(call, "allow_origins"), text_of(keyword(call, "allow_origin_regex"))
            is_open = _is_any(module, origins) or pattern in (".*", "^.*$", "https?://.*", "https://.*")
            if is_open and is_constant(keyword(call, "allow_credentials"), True):
                yield risk("open-origins", "major", message, call, 0.9)
        elif name in ("flask_cors.CORS", "flask_cors.cross_origin") and is_constant(
            keyword(call, "supports_credentials"), True
        ):
            origins = keyword(call, "origins")
            if not keyword(call, "resources") and (origins is None or _is_any(module, origins)):
                yield risk("open-origins", "major", message, call, 0.9)
    given = {last_name(target): node for node in module.tree.body for target in _targets(node)}
    credentials = given.get("CORS_ALLOW_CREDENTIALS")
    for setting in ("CORS_ALLOW_ALL_ORIGINS", "CORS_ORIGIN_ALLOW_ALL"):
        node = given.get(setting)
        if node and credentials and is_constant(_value(node), True) and is_constant(_value(credentials), True):
            yield risk("open-origins", "major", message, node, 0.9)


def _is_any(module: Module, node: ast.expr | None) -> bool:
    value = module.resolved(node)
    elements = value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
    return any(text_of(element) == "*" for element in elements)


def _cookies(module: Module) -> Iterator[Risk]:
    for call, name in module.calls:
        if not name.endswith(".set_cookie"):
            continue
        key = module.resolved(call.args[0] if call.args else keyword(call, "key"))
        cookie = text_of(key) or last_name(key)
        if not _OF_SESSION.search(cookie) or _OF_CSRF.search(cookie) or module.is_under(call, _DEBUGGING):
            continue
        if is_constant(keyword(call, "httponly"), False):
            what = "Scripts of the page can read this cookie, so one injected script takes the session."
            yield risk("open-cookie", "major", f"{what} Set `httponly=True`.", call)
        elif is_constant(keyword(call, "secure"), False):
            what = "This cookie is also sent over plain HTTP, where others can read and use it. Set `secure=True`."
            yield risk("open-cookie", "major", what, call, 0.7)


def _forged_requests(module: Module) -> Iterator[Risk]:
    for node in module.nodes:
        if not isinstance(node, Function | ast.ClassDef):
            continue
        exempt = next(
            (item for item in node.decorator_list if "csrf" in ast.unparse(item) and "exempt" in ast.unparse(item)),
            None,
        )
        # Without a session there is nothing that another site could use; machines sign what they send.
        if exempt is not None and (_KNOWS_USER.search(ast.unparse(node)) or "login" in " ".join(decorators(node))):
            yield risk(
                "forged-requests",
                "major",
                f"`{node.name[:60]}` acts for whoever is signed in, and no longer asks for the token that keeps other"
                " sites from sending the request in their name. Keep the check.",
                exempt,
            )


def _unescaped_templates(module: Module) -> Iterator[Risk]:
    makes_html = any(
        re.search(r"\.html?\b|text/html|<(?:html|body|div|p|h\d|table|a|b)\b", text_of(node)) for node in module.nodes
    )
    for call, name in module.calls:
        if (
            name == "django.utils.html.format_html"
            and call.args
            and not isinstance(call.args[0], ast.Constant | ast.Name)
        ):
            yield risk(
                "unescaped-templates",
                "major",
                "`format_html` escapes its arguments, and here the values are in the text already. Leave `{}` in it,"
                " and give the values after it.",
                call,
            )
        if name in ("jinja2.Environment", "jinja2.environment.Environment") and makes_html:
            escape = keyword(call, "autoescape")
            if escape is None or is_constant(escape, False):
                yield risk(
                    "unescaped-templates",
                    "major",
                    "Templates of this environment write values into HTML as they are, so a value with a script in it"
                    " is run. Set `autoescape=select_autoescape()`.",
                    call,
                )


def _asserted_rights(module: Module) -> Iterator[Risk]:
    for node in module.nodes:
        if isinstance(node, ast.Assert) and _RIGHTS.search(ast.unparse(node.test)):
            yield risk(
                "asserted-rights",
                "major",
                "Under `python -O` assertions are left out, and then nobody asks whether the user may do this. Raise an"
                " error (`if not …: raise PermissionError`).",
                node,
            )


def _settings(module: Module, base: Module | None) -> Iterator[Risk]:
    before = dict(_given_settings(base)) if base else {}
    for name, (node, value) in _given_settings(module):
        if module.is_under(node, _DEBUGGING):
            continue
        if name == "ALLOWED_HOSTS" and _is_any(module, value):
            message = (
                "Any host name is taken for this site's own, so links in mails, such as those to reset a password, can"
                " be made to lead elsewhere. Name the hosts."
            )
            yield risk("any-host", "major", message, node, 0.7)
        elif name == "SESSION_COOKIE_HTTPONLY" and is_constant(value, False):
            message = "Scripts of the page can read the session's cookie, so one injected script takes it."
            yield risk("open-cookie", "major", f"{message} Leave it at True.", node)
        elif name in _ALWAYS and is_constant(value, _WEAKENED[name][0]):
            yield risk("weakened-setting", "major", f"{_WEAKENED[name][1]}. Leave `{name}` at its default.", node)
        elif _is_weakened(module, name, value, before.get(name)):
            message = f"{_WEAKENED[name][1]}: `{name}` was set otherwise before. Change it for development alone."
            yield risk("weakened-setting", "major", message, node)


def _is_weakened(
    module: Module, name: str, value: ast.expr | None, before: tuple[ast.AST, ast.expr | None] | None
) -> bool:
    if name not in _WEAKENED or before is None:
        return False
    if name == "DEBUG" and not (module.imports("django", "flask") or "settings" in module.path):
        return False
    opens = _WEAKENED[name][0]
    return is_constant(value, opens) and not is_constant(before[1], opens)


def _given_settings(module: Module | None) -> Iterator[tuple[str, tuple[ast.AST, ast.expr | None]]]:
    """(name, (statement, value)) of settings: module constants, attributes of classes, entries of `app.config`."""
    for node in module.nodes if module else ():
        if isinstance(node, ast.Assign | ast.AnnAssign):
            for target in _targets(node):
                yield last_name(target), (node, _value(node))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("config.update", "config.from_mapping")):
            yield from ((item.arg or "", (node, item.value)) for item in node.keywords)


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign) else []


def _value(node: ast.AST) -> ast.expr | None:
    return node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
