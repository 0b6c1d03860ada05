"""What a run may take of its model by way of the gateway, and what stands in the way there."""

from __future__ import annotations

from dataclasses import dataclass

from sdlc.domain import Usage


@dataclass(frozen=True)
class GatewayLimits:
    """Looked at before a call, with what the open ones may take; None: no limit."""

    calls: int | None = None
    tokens: int | None = None
    """Input and output together."""
    usd: float | None = None
    """A call of unknown cost counts with what it is estimated at; without a price, nothing does."""

    def reached(self, *, calls: int, usage: Usage, usd: float) -> tuple[str, str] | None:
        """`turns` or `budget` with the reason in a sentence, once no further call may be made. `usd` is what is
        spent, as far as is known or estimated."""
        tokens = usage.input_tokens + usage.output_tokens
        if self.calls is not None and calls >= self.calls:
            return "turns", f"The limit of {self.calls} model calls is reached."
        if self.tokens is not None and tokens >= self.tokens:
            return "budget", f"The budget of {self.tokens} tokens is spent ({tokens} tokens)."
        if self.usd is not None and usd >= self.usd:
            return "budget", f"The budget of {self.usd:.2f} USD is spent ({usd:.2f} USD)."
        return None


@dataclass(frozen=True)
class Trouble:
    """How a call of the model failed."""

    status: int
    """The endpoint's; 0: it was not reached, did not answer in time, or broke off."""
    message: str
    """One sentence, without secrets."""
    retry_after: float | None = None
    """Seconds, if the endpoint said so."""
