"""What a request is refused with."""

from __future__ import annotations

from fastapi.responses import JSONResponse


class Refused(Exception):
    """`status` is HTTP's; `reason` a sentence without anything of what was sent; `retry_after` in seconds."""

    def __init__(self, status: int, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after

    def answer(self) -> JSONResponse:
        headers = {} if self.retry_after is None else {"Retry-After": str(max(1, round(self.retry_after)))}
        return JSONResponse({"status": "refused", "reason": self.reason}, self.status, headers)
