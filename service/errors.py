"""Errors that a request is answered with, each with an HTTP status and a text for ``{"error": ...}``.

ServiceError
├── BadRequest        400  the request is invalid
├── Forbidden         403  the API key is wrong
├── TooSlow           408  the body did not arrive in time
├── TooLarge          413  the body is over the limit
├── TooManyRequests   429  the rate limit is exceeded; with Retry-After
├── EngineFailed      500  the model failed on this request
├── Unavailable       503  loading, draining, or the queue is full; with Retry-After
└── DeadlineExceeded  504  the translation took too long
"""

from __future__ import annotations


class ServiceError(Exception):
    """Base class. ``status`` is the HTTP status, ``str(error)`` the text, ``retry_after`` whole seconds or None.

    reason: a word for metrics and the log, of a fixed set; of the class, unless it is given.
    """

    status = 500
    reason = "failed"

    def __init__(self, message: str, *, retry_after: int | None = None, reason: str = "") -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.reason = reason or self.reason

    def headers(self) -> dict[str, str]:
        """Return the header fields of the answer."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


class BadRequest(ServiceError):
    """The request is invalid; repeating it does not help."""

    status = 400
    reason = "invalid"


class Forbidden(ServiceError):
    """The API key is wrong."""

    status = 403
    reason = "wrong_key"


class TooSlow(ServiceError):
    """The body did not arrive in time."""

    status = 408
    reason = "slow_body"

    def headers(self) -> dict[str, str]:
        return {"Connection": "close"}


class TooLarge(ServiceError):
    """The body is over the limit. The rest of it is not read, so the connection must be closed."""

    status = 413
    reason = "too_large"

    def headers(self) -> dict[str, str]:
        return {"Connection": "close"}


class TooManyRequests(ServiceError):
    """The rate limit is exceeded."""

    status = 429
    reason = "rate_limit"


class EngineFailed(ServiceError):
    """The model failed on this request; others may succeed."""

    status = 500


class Unavailable(ServiceError):
    """The request may be repeated later: the service is loading or draining, or its queue is full."""

    status = 503
    reason = "not_ready"

    def __init__(self, message: str, *, retry_after: int = 1, closing: bool = False, reason: str = "") -> None:
        super().__init__(message, retry_after=retry_after, reason=reason)
        self.closing = closing

    def headers(self) -> dict[str, str]:
        return {**super().headers(), **({"Connection": "close"} if self.closing else {})}


class DeadlineExceeded(ServiceError):
    """The request was accepted, but its translation took too long."""

    status = 504
    reason = "deadline"
