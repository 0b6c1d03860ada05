"""A test that is there before and after: what it no longer asserts."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

from sdlc.review_graphs.checks.base import ChangedPath
from sdlc.review_graphs.checks.quality import skips
from sdlc.review_graphs.checks.quality.assertions import BROAD, Claim, name_of
from sdlc.review_graphs.checks.quality.losses import Loss
from sdlc.review_graphs.checks.quality.source import head_line, shape, walk
from sdlc.review_graphs.checks.quality.tested import Tested, vocabulary

IsGone = Callable[[frozenset[str]], bool]
"""Does the change take away one of these names from the product?"""

_PUT_BACK = "Put it back, or assert what is right now."


def weaker(before: Tested, after: Tested, elsewhere: Collection[Tested], is_gone: IsGone) -> Iterator[Loss]:
    """The assertions that are gone or say less. `elsewhere` are tests to which they may have been moved."""
    old = Counter(claim.key for claim in before.claims)
    new = Counter(claim.key for claim in after.claims)
    removed = [claim for claim in before.claims if (old - new)[claim.key]]
    added = [claim for claim in after.claims if (new - old)[claim.key]]
    if removed and added:
        yield from _said_less(after, removed, added)
    elif removed:
        yield from _dropped(before, after, removed, elsewhere, is_gone)


def swallowed(before: Tested | None, after: Tested, file: ChangedPath) -> Iterator[Loss]:
    """Assertions whose failure the test catches itself."""
    old = {shape(node) for node in _swallowing(before)} if before else set()
    for node in _swallowing(after):
        if shape(node) not in old and file.has_added(node.lineno, node.end_lineno or 0):
            yield Loss(
                rule="assertion-swallowed",
                file=after.path,
                line=_handler_line(node),
                name=after.name,
                what="catches the failure of its own assertions, and passes when they do not hold",
                mend="Take the assertions out of the block, or catch only what is expected.",
            )


def fewer_cases(before: Tested, after: Tested, is_gone: IsGone) -> Iterator[Loss]:
    """Cases of a `parametrize` that are gone or skipped."""
    now = dict(skips.cases(after.function))
    for names, values in skips.cases(before.function):
        if names not in now:
            continue
        old, new = Counter(map(shape, values)), Counter(map(shape, now[names]))
        lost = [value for value in values if (old - new)[shape(value)] and not is_gone(vocabulary(value))]
        skipped = [skip for value in now[names] if (skip := skips.of_case(value))]
        if len(skipped) > sum(1 for value in values if skips.of_case(value)):
            yield Loss(
                rule="test-disabled",
                file=after.path,
                line=skipped[0].line,
                name=after.name,
                what="is skipped, or may fail, for some of its cases from now on",
                mend="Mend what these cases show.",
            )
        elif lost and not new - old:
            yield Loss(
                rule="cases-removed",
                file=after.path,
                line=head_line(before.text, after.text, lost[0].lineno),
                name=after.name,
                what=f"is no longer run for {len(lost)} of its {len(values)} cases",
                mend="Put them back, and mend what they show; or say in the ticket why they no longer hold.",
                severity="minor",
                confidence=0.75,
            )


def _said_less(test: Tested, removed: Sequence[Claim], added: Sequence[Claim]) -> Iterator[Loss]:
    for claim in added:
        what = _why_less(claim, removed, [other for other in added if other is not claim])
        if what:
            yield Loss(
                rule="assertion-weakened",
                file=test.path,
                line=claim.line,
                name=test.name,
                what=what,
                mend="Assert what is expected, as before.",
                confidence=0.95 if claim.kind == "nothing" else 0.8,
            )


def _why_less(claim: Claim, removed: Sequence[Claim], others: Sequence[Claim]) -> str:
    """What an assertion says less than those in whose place it stands; empty if it does not."""
    if claim.kind == "nothing":
        return "asserts something that is always true where it asserted something of the product"
    if claim.kind == "some":
        was = {subject for other in removed if other.kind == "equal" for subject in other.subjects}
        exact = [other for other in others if other.kind not in ("some", "nothing")]
        about = was.intersection(claim.subjects)
        if about and not any(subject in other.key for other in exact for subject in about):
            return "compared a result with what it ought to be, and now takes any that is not empty"
    if claim.kind == "raises" and claim.expected <= BROAD:
        expected = {name for other in removed for name in other.expected}
        if expected and not expected & BROAD:
            names = " or ".join(f"`{name}`" for name in sorted(expected))
            return f"expected {names}, and now passes with any exception, a mistake in the call too"
    return ""


def _dropped(
    before: Tested, after: Tested, removed: Sequence[Claim], elsewhere: Collection[Tested], is_gone: IsGone
) -> Iterator[Loss]:
    if _called(after) - _called(before):
        return  # they may have been moved to where that goes
    there = {key for test in elsewhere if test is not after for key in test.claimed}
    lost = [
        claim
        for claim in removed
        if claim.kind != "nothing" and before.key_of(claim) not in there and not is_gone(vocabulary(claim.node))
    ]
    if not lost:
        return
    count = f"{len(lost)} of its {len(before.claims)} assertions"
    yield Loss(
        rule="assertions-removed",
        file=after.path,
        line=head_line(before.text, after.text, lost[0].line),
        name=after.name,
        what=f"loses {count}" if after.claims else "asserts nothing any more, and passes whatever the product does",
        together="lose assertions",
        mend=_PUT_BACK,
        severity="minor" if after.claims else "blocker",
        confidence=0.75 if after.claims else 0.9,
    )


def _called(test: Tested) -> set[str]:
    return {name_of(node.func) for node in walk(test.function.node) if isinstance(node, ast.Call)}


def _swallowing(test: Tested) -> list[ast.stmt]:
    """The blocks of a test that assert, and pass over it when that fails."""
    found: list[ast.stmt] = []
    for node in walk(test.function.node):
        if isinstance(node, ast.Try) and _has_assertion(node.body):
            if any(_is_broad(handler.type) and _passes(handler.body) for handler in node.handlers):
                found.append(node)
        elif isinstance(node, ast.With) and _has_assertion(node.body):
            calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
            if any(name_of(call.func) == "suppress" and any(map(_is_broad, call.args)) for call in calls):
                found.append(node)
    return found


def _has_assertion(body: Sequence[ast.stmt]) -> bool:
    return any(
        isinstance(node, ast.Assert) or (isinstance(node, ast.Call) and name_of(node.func).startswith("assert"))
        for item in body
        for node in walk(item)
    )


def _is_broad(node: ast.expr | None) -> bool:
    """Does it catch the failure of an assertion?"""
    if isinstance(node, ast.Tuple):
        return any(_is_broad(item) for item in node.elts)
    return node is None or name_of(node) in (*BROAD, "AssertionError")


def _passes(body: Sequence[ast.stmt]) -> bool:
    """Does a handler do nothing that a failing test would show?"""
    return all(_is_nothing(node) for node in body)


def _is_nothing(node: ast.stmt) -> bool:
    match node:
        case ast.Pass() | ast.Continue() | ast.Return(value=None) | ast.Expr(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"))):
            return True
    return False


def _handler_line(node: ast.stmt) -> int:
    if isinstance(node, ast.Try):
        return next(handler.lineno for handler in node.handlers if _is_broad(handler.type) and _passes(handler.body))
    return node.lineno
