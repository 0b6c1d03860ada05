"""JavaScript and TypeScript, by its lines: what can be told without a parser, and nothing more."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sdlc.review_graphs.checks.base import Level
from sdlc.review_graphs.checks.security.risk import Risk

_BUILD = re.compile(
    r"(^|/)(scripts?|tools?|build|bin|benchmarks?|stories|\.storybook)/|\.(config|stories|setup)\.[cm]?[jt]sx?$|(^|/)(gulp|grunt)file\.",
    re.IGNORECASE,
)
"""Run by developers on their own input."""
_COMMENT = re.compile(r"^\s*(?://|/?\*).*$|(?<![:\"'`])//.*$")
_CLEANED = re.compile(
    r"sanitiz|purify|escape|encode|xss\(|JSON\.stringify|trusted|safe|i18n|translat|\bt\(|\.innerHTML\b\s*[;)]?$",
    re.IGNORECASE,
)
LONGEST_LINE = 1_000
"""Characters. A longer one is minified."""
_INPUT = re.compile(r"\breq(?:uest)?\.(?:query|params|body|headers|cookies)\b|\bctx\.(?:query|params|request\.body)\b")
_SECRET = re.compile(
    r"(?:token|secret|password|passwd|session_?id|nonce|otp|api_?key|csrf|verification_?code|reset_?code|salt)s?$",
    re.IGNORECASE,
)

_EVAL = re.compile(
    r"(?:^|[^\w.$])(?:(?:window|global|globalThis|self)\.)?(?:eval|new Function)\((?!\s*(?:[\"'][^\"']*[\"']\s*)?\))"
)
_EXEC = re.compile(
    r"(?:^|[^\w.$]|\b(?:cp|child_process|childProcess)\.)exec(?:Sync)?\(\s*(?P<text>`[^`]*\$\{[^`]*`|[\"'][^\"']*[\"']\s*\+\s*\S+)"
)
_INNER_HTML = re.compile(r"\.(?:inner|outer)HTML\s*\+?=(?!=)\s*(?P<value>.+)$")
_DANGEROUS = re.compile(r"dangerouslySetInnerHTML\s*=\s*\{\{\s*__html\s*:\s*(?P<value>.+?)\}\}")
_WRITE = re.compile(r"\bdocument\.write(?:ln)?\(\s*(?P<value>.+)\)")
_NO_TLS = re.compile(r"\brejectUnauthorized\s*:\s*false\b|NODE_TLS_REJECT_UNAUTHORIZED[\"']?\]?\s*=\s*[\"']?0")
_RANDOM = re.compile(r"\bMath\.random\(")
_ASSIGNED = re.compile(
    r"(?:\b(?:const|let|var)\s+|\bfunction\s+|[{,]\s*|^\s*(?:this\.|export\s+)?)(?P<name>\w+)\s*(?:[:=(])"
)
_HEAD = re.compile(
    r"\bfunction\s+(\w+)|\b(?:const|let|var)\s+(\w+)\s*=\s*(?:async\s*)?\(?[\w, ]*\)?\s*=>"
    r"|^\s*(?:async\s+)?(\w+)\([^)]*\)\s*\{"
)
_SQL = re.compile(
    r"\.(?:query|execute|raw|\$queryRawUnsafe|\$executeRawUnsafe)\(\s*(?P<text>`\s*(?:select|insert|update|delete)\b[^`]*`|[\"']\s*(?:select|insert|update|delete)\b.*\+.*)",
    re.IGNORECASE,
)
_FILE = re.compile(
    r"\b(?:sendFile|readFile|readFileSync|createReadStream|writeFile|writeFileSync|unlink|unlinkSync)\((?P<text>.*)$"
)
_REDIRECT = re.compile(
    r"\bres(?:ponse)?\.redirect\(\s*(?:\d+\s*,\s*)?(?P<text>req(?:uest)?\.(?:query|params|body)\.?\S*?)\)"
)
_COOKIE = re.compile(r"\.cookie\(\s*[\"'](?P<name>\w+)[\"'].*?\b(?P<flag>httpOnly|secure)\s*:\s*false")
_CORS = re.compile(r"\bcors\(\s*\{(?P<options>[^}]*)\}")
_NO_ALGORITHM = re.compile(r"\balgorithms?\s*:\s*\[?\s*[\"']none[\"']", re.IGNORECASE)

MESSAGES: dict[str, tuple[Level, float, str]] = {
    "eval": (
        "major",
        0.8,
        "A text that is put together at run time is run as code: whoever can write into it runs what they like. Parse"
        " it (`JSON.parse`), or look the function up in a table.",
    ),
    "shell-from-text": (
        "major",
        0.8,
        "Values are pasted into a shell line: a `;` or `$(…)` in one of them runs another command. Use `execFile` or"
        " `spawn` with a list of arguments.",
    ),
    "html-from-text": (
        "major",
        0.7,
        "The value is written into the page as HTML, so a script in it is run for whoever sees it. Use `textContent`,"
        " or clean it first (DOMPurify).",
    ),
    "unverified-connection": (
        "major",
        0.9,
        "Certificates are not checked: whoever is on the way can pass for the server, and read and change what is sent."
        " Leave the check on; give an authority of your own with `ca`.",
    ),
    "guessable-secret": (
        "major",
        0.9,
        "`Math.random()` is predictable, so others can work out the value that this makes. Use `crypto.randomUUID()` or"
        " `crypto.getRandomValues()`.",
    ),
    "sql-from-text": (
        "blocker",
        0.9,
        "What comes with the request is pasted into an SQL statement: a quote in it ends the text, and what follows is"
        " run. Put a placeholder there and give the value as a parameter.",
    ),
    "path-from-request": (
        "major",
        0.8,
        "The path comes with the request, so `../` in it leads to any file that the service may read or write. Compare"
        " the resolved path with the folder, or look the name up in a list.",
    ),
    "redirect-from-request": (
        "major",
        0.8,
        "The address comes with the request, so a link to this site can lead people on to another that looks the same."
        " Take paths of this site alone.",
    ),
    "open-cookie": (
        "major",
        0.7,
        "The cookie of the session is open to scripts of the page, or is sent over plain HTTP, so it can be taken. Set"
        " `httpOnly: true` and `secure: true`.",
    ),
    "open-origins": (
        "major",
        0.9,
        "Any site may call this with the cookies of whoever visits it, and read the answers. Name the origins that may,"
        " or do without `credentials`.",
    ),
    "unverified-token": (
        "blocker",
        0.9,
        "With the algorithm `none` a token needs no signature, so whoever sends it can write any user or right into it."
        " Name the algorithm that tokens are signed with.",
    ),
}


def script_risks(path: str, text: str) -> Iterator[Risk]:
    lines = [_COMMENT.sub("", line) if len(line) <= LONGEST_LINE else "" for line in text.split("\n")]
    is_build = bool(_BUILD.search(path))
    runs_programs = "child_process" in text
    for number, code in enumerate(lines, 1):
        for rule in _rules(lines, number, code, text, is_build, runs_programs):
            severity, confidence, message = MESSAGES[rule]
            yield Risk(rule, severity, message, (number,), code.strip()[:400], confidence)
    yield from _open_origins("\n".join(lines))


def _rules(lines: list[str], number: int, code: str, text: str, is_build: bool, runs_programs: bool) -> Iterator[str]:
    if _EVAL.search(code) and not is_build:
        yield "eval"
    if runs_programs and not is_build and (found := _EXEC.search(code)) and not _only_constants(found["text"]):
        yield "shell-from-text"
    html = _INNER_HTML.search(code) or _DANGEROUS.search(code) or _WRITE.search(code)
    if html and not is_build and _is_unsafe_html(html["value"], text):
        yield "html-from-text"
    if _NO_TLS.search(code) and not re.search(r"NODE_ENV|isDev|__DEV__|\?", code):
        yield "unverified-connection"
    if _RANDOM.search(code) and _makes_secret(lines, number, code):
        yield "guessable-secret"
    sql, file = _SQL.search(code), _FILE.search(code)
    if sql and _INPUT.search(sql["text"]):
        yield "sql-from-text"
    if file and _INPUT.search(file["text"]) and not re.search(r"basename\(|resolve[ds]?Safe|sanitiz", file["text"]):
        yield "path-from-request"
    if _REDIRECT.search(code):
        yield "redirect-from-request"
    cookie = _COOKIE.search(code)
    if (
        cookie
        and re.search(r"session|sid$|auth|token|jwt", cookie["name"], re.IGNORECASE)
        and "csrf" not in code.lower()
    ):
        yield "open-cookie"
    if _NO_ALGORITHM.search(code):
        yield "unverified-token"


def _open_origins(text: str) -> Iterator[Risk]:
    for match in _CORS.finditer(text):
        options = match["options"]
        is_open = re.search(r"\borigin\s*:\s*(?:true|[\"']\*[\"'])", options)
        if is_open and re.search(r"\bcredentials\s*:\s*true", options):
            severity, confidence, message = MESSAGES["open-origins"]
            first = text.count("\n", 0, match.start()) + 1
            lines = tuple(range(first, first + options.count("\n") + 1))
            yield Risk("open-origins", severity, message, lines, "cors", confidence)


def _only_constants(text: str) -> bool:
    """`${ROOT}`, `${__dirname}`, `${process.cwd()}`: what the program itself knows."""
    names = re.findall(r"\$\{([^}]*)\}", text) if text.startswith("`") else re.findall(r"\+\s*([\w.()]+)", text)
    return all(
        re.fullmatch(r"\s*(?:[A-Z][A-Z0-9_]*|__dirname|__filename|process\.(?:cwd\(\)|pid|platform|execPath))\s*", name)
        for name in names
    )


def _is_unsafe_html(value: str, text: str) -> bool:
    value = value.strip().rstrip(";").strip()
    if re.fullmatch(r"[\"'][^\"']*[\"']|`[^`$]*`|null|undefined|\w+\.outerHTML", value) or _CLEANED.search(value):
        return False
    if value.startswith("`"):
        pasted = re.findall(r"\$\{([^}]*)\}", value)
        return any(not _is_plain(item) for item in pasted)
    if re.fullmatch(r"[A-Z][A-Z0-9_]*|[\"'].*", value) and "+" not in value:
        return False
    name = re.match(r"[\w.]+$", value)
    # Cleaned where it is made.
    return not (name and re.search(rf"\b{re.escape(name[0])}\s*=[^=].*(?:sanitiz|purify|escape)", text, re.IGNORECASE))


def _is_plain(pasted: str) -> bool:
    """A number or a constant, which no script fits into."""
    return bool(
        re.search(
            r"\.length$|^\d|^[A-Z][A-Z0-9_]*$|count$|index$|\bid$|Number\(|parseInt|toFixed|\.map\(",
            pasted.strip(),
            re.IGNORECASE,
        )
    )


def _makes_secret(lines: list[str], number: int, code: str) -> bool:
    names = [match["name"] for match in _ASSIGNED.finditer(code)]
    if not any(_SECRET.search(name) for name in names):
        # The function around it, where its head is near.
        for before in reversed(lines[max(number - 9, 0) : number - 1]):
            head = _HEAD.search(before)
            if head:
                names = [name for name in head.groups() if name]
                break
            if re.match(r"^\}", before):
                break
    return any(_SECRET.search(name) for name in names)
