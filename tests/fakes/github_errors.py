"""The errors of the fake GitHub, worded as GitHub words them: `message`, `documentation_url`, `status`, `errors`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DOCUMENTATION = "https://docs.github.com/rest"


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(
        self, status: int, message: str, *, errors: list[Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.headers = dict(headers or {})
        self.body: dict[str, Any] = {"message": message, "documentation_url": DOCUMENTATION, "status": str(status)}
        if errors is not None:
            self.body["errors"] = errors


def not_found(message: str = "Not Found") -> ApiError:
    """Also for what a token may not see: GitHub does not tell the two apart."""
    return ApiError(404, message)


def bad_credentials() -> ApiError:
    return ApiError(401, "Bad credentials")


def archived() -> ApiError:
    return ApiError(403, "Repository was archived so is read-only.")


def conflict(message: str) -> ApiError:
    return ApiError(409, message)


def invalid(resource: str, *, code: str = "invalid", field: str = "", message: str = "") -> ApiError:
    """422 with one entry in `errors`."""
    entry = {"resource": resource, "code": code}
    if field:
        entry["field"] = field
    if message:
        entry["message"] = message
    return ApiError(422, "Validation Failed", errors=[entry])


def too_long(resource: str, field: str, limit: int) -> ApiError:
    return invalid(resource, code="custom", field=field, message=f"{field} is too long (maximum is {limit} characters)")


def unprocessable(*errors: str) -> ApiError:
    """422 as reviews and review requests have it: `errors` are sentences."""
    return ApiError(422, "Unprocessable Entity", errors=list(errors))


def not_supplied(field: str) -> ApiError:
    return ApiError(422, f'Invalid request.\n\n"{field}" wasn\'t supplied.')


def wrong_type(field: str, value: object) -> ApiError:
    return ApiError(422, f"Invalid request.\n\nFor '{field}', {value!r} is not of the right type.")
