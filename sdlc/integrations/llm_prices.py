"""What a call costs, from the prices of the settings. There is no table of our own: prices change."""

from __future__ import annotations

from collections.abc import Mapping

from sdlc.config import Price


def price_of(prices: Mapping[str, Price], *names: str) -> Price | None:
    """The first price that one of these names has.

    An endpoint often answers under a dated name; the name that it was asked by comes after that one.
    """
    return next((prices[name] for name in names if name in prices), None)


def cost(price: Price | None, *, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float | None:
    """USD, None without a price. `cached_tokens` are those of the input that the endpoint had kept from earlier calls.

    They have a price of their own (`cached_input`), or else that of all input.
    """
    if price is None:
        return None
    kept = min(max(cached_tokens, 0), input_tokens)
    of_kept = price.input if price.cached_input is None else price.cached_input
    usd = (input_tokens - kept) * price.input + kept * of_kept + output_tokens * price.output
    return round(usd / 1_000_000, 6)
