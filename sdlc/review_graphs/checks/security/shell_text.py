"""Python: values pasted into a line for a shell that stands in a list, where bandit does not look for one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from sdlc.review_graphs.checks.security.python_module import Module, risk, text_of
from sdlc.review_graphs.checks.security.risk import Risk
from sdlc.review_graphs.checks.security.sql_text import is_harmless, pieces_of

_STARTS = re.compile(
    r"^(?:subprocess\.(?:run|call|check_call|check_output|Popen)|asyncio\.create_subprocess_exec|os\.exec\w+)$"
)
_SHELL = re.compile(r"^(?:/\S*/)?(?:ba|z|da|k|a)?sh$")
_OPTION = re.compile(r"^-[a-z]*c$")


def shell_risks_in_lists(module: Module) -> Iterator[Risk]:
    for call, name in module.calls:
        if not _STARTS.match(name) or not call.args:
            continue
        listed = module.resolved(call.args[0])
        words = listed.elts if isinstance(listed, ast.List | ast.Tuple) else call.args
        for index in range(len(words) - 2):
            if _SHELL.match(text_of(words[index])) and _OPTION.match(text_of(words[index + 1])):
                line = module.resolved(words[index + 2])
                # A name or a call of which nothing is known may be anything.
                is_made = isinstance(line, ast.JoinedStr | ast.BinOp | ast.Call)
                pasted = [piece.value for piece in pieces_of(line)] if line is not None and is_made else []
                if any(value is not None and not is_harmless(module, value, quoted=True) for value in pasted):
                    yield risk(
                        "shell-from-text",
                        "major",
                        "Values are pasted into a line for a shell: a `;` or `$(…)` in one of them runs another"
                        " command. Give the program its arguments in the list, or pass them through `shlex.quote`.",
                        call,
                        0.85,
                    )
