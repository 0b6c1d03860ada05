"""What a run may cost, pure: how much of each bound is used, what is left, and what people are told of it.

A bound that is None is none. `portions` is 1 and grows by one with each retry that a person grants: every bound is
that many times as wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from sdlc.domain import Budget, Record, Usage


class Spent(Record):
    """What a run has used up so far."""

    usage: Usage = Usage()
    turns: int = 0
    """Model calls of the coding engine."""
    minutes: float = 0.0
    """Of work; waiting for people is not counted."""

    @property
    def tokens(self) -> int:
        return self.usage.input_tokens + self.usage.output_tokens


class Left(Record):
    """What may still be used, at least 0; None where there is no bound, or where the cost is unknown."""

    tokens: int | None = None
    usd: float | None = None
    turns: int | None = None
    minutes: float | None = None


class Share(Record):
    """How much of the bound that is nearest to its end is used."""

    part: float = 0.0
    """1 and more: the bound is reached."""
    told: str = ""
    """`8.10 of 10.00 USD (81 %)`; empty without any bound."""


def spent_share(spent: Spent, budget: Budget, *, portions: int = 1) -> Share:
    """The worst bound's share. A USD bound counts only where the cost is known (`unchecked`)."""
    shares = [Share(part=_part(used, bound), told=told) for used, bound, told, _ in _bounds(spent, budget, portions)]
    worst = max(shares, key=lambda share: share.part, default=Share())
    return worst.model_copy(update={"told": f"{worst.told} ({_percent(worst.part)} %)"}) if worst.told else worst


def over(spent: Spent, budget: Budget, *, portions: int = 1) -> str | None:
    """Which bound is reached, in a sentence, or None."""
    return next((reached for used, bound, _, reached in _bounds(spent, budget, portions) if used >= bound), None)


def warned(spent: Spent, budget: Budget, *, portions: int = 1) -> str | None:
    """What people are told from `budget.warn_at` on, in a sentence, or None. Say it once: it stays true."""
    share = spent_share(spent, budget, portions=portions)
    end = "spent" if share.part >= 1 else "nearing its end"
    return f"The budget is {end}: {share.told}." if share.told and share.part >= budget.warn_at else None


def left(spent: Spent, budget: Budget, *, portions: int = 1) -> Left:
    """What the next piece of work may use."""
    usd = spent.usage.usd
    return Left(
        tokens=None if budget.tokens is None else max(budget.tokens * portions - spent.tokens, 0),
        usd=None if budget.usd is None or usd is None else max(round(budget.usd * portions - usd, 6), 0.0),
        turns=None if budget.turns is None else max(budget.turns * portions - spent.turns, 0),
        minutes=None if budget.minutes is None else max(budget.minutes * portions - spent.minutes, 0.0),
    )


def unchecked(spent: Spent, budget: Budget, *, model: str = "", portions: int = 1) -> str | None:
    """Why the bound in USD says nothing about this run, in a sentence, or None. `model` is whose price is missing."""
    if budget.usd is None or spent.usage.usd is not None:
        return None
    bound = f"The budget of {budget.usd * portions:.2f} USD can't be checked"
    if spent.usage.model_calls and not spent.tokens:
        return f"{bound}: the model's endpoint doesn't count tokens; set run.budget.turns or minutes instead."
    return f"{bound}: the price of {f'`{model}`' if model else 'a model'} is unknown; set llm.prices."


def _bounds(spent: Spent, budget: Budget, portions: int) -> Iterator[tuple[float, float, str, str]]:
    """Per bound that can be checked: used, bound, how far it is used, and the sentence for when it is reached."""
    usd, tokens = spent.usage.usd, spent.tokens
    if budget.usd is not None and usd is not None:
        bound = budget.usd * portions
        yield usd, bound, f"{usd:.2f} of {bound:.2f} USD", f"The budget of {bound:.2f} USD is spent ({usd:.2f} USD)."
    if budget.tokens is not None:
        most = budget.tokens * portions
        yield tokens, most, f"{tokens:,} of {most:,} tokens", f"The budget of {most:,} tokens is spent ({tokens:,})."
    if budget.turns is not None:
        most = budget.turns * portions
        told = f"{spent.turns} of {most} turns of the engine"
        yield spent.turns, most, told, f"The budget of {most} turns of the engine is spent."
    if budget.minutes is not None:
        bound = budget.minutes * portions
        told = f"{math.floor(spent.minutes)} of {bound:g} minutes of work"
        yield spent.minutes, bound, told, f"The budget of {bound:g} minutes of work is spent."


def _part(used: float, bound: float) -> float:
    """A bound of 0 is reached before anything is used."""
    return used / bound if bound > 0 else max(1.0, used)


def _percent(part: float) -> int:
    """Rounded down, so that 100 % is never said too early; the addition takes out what binary fractions lose."""
    percent = math.floor(min(part, 1_000.0) * 100 + 1e-9)  # a tiny bound is used infinitely often
    return min(percent, 99) if part < 1 else percent
