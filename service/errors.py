"""What a request can be answered with instead of a translation; each has a status and a text for ``{"error": ...}``.

ServiceError
├── BadRequest        400  the request is wrong and will stay so
├── Forbidden         403  a key that is not ours
├── TooSlow           408  the body did not arrive in time
├── TooLarge          413  a body over the limit
├── TooManyRequests   429  over the rate; Retry-After
├── EngineFailed      500  the model failed on this request
├── Unavailable       503  loading, draining, or the queue is full; Retry-After
└── DeadlineExceeded  504  accepted, but not translated in time
"""

from __future__ import annotations


class ServiceError(Exception):
    """Base: ``status`` of the answer, ``str(error)`` its text, ``retry_after`` in whole seconds or None."""

    status = 500

    def __init__(self, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        """Header fields that belong to the answer."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


class BadRequest(ServiceError):
    """The request is wrong and will stay so."""

    status = 400


class Forbidden(ServiceError):
    """A key that is not ours."""

    status = 403


class TooSlow(ServiceError):
    """The body did not arrive in time."""

    status = 408

    def headers(self) -> dict[str, str]:
        return {"Connection": "close"}


class TooLarge(ServiceError):
    """The body is over the limit; the rest of it is never read, so the connection cannot go on."""

    status = 413

    def headers(self) -> dict[str, str]:
        return {"Connection": "close"}


class TooManyRequests(ServiceError):
    """Over the allowed rate."""

    status = 429


class EngineFailed(ServiceError):
    """The model failed on this request; the next one may well succeed."""

    status = 500


class Unavailable(ServiceError):
    """Nothing wrong with the request: models are loading, the service is draining, or its queue is full."""

    status = 503

    def __init__(self, message: str, *, retry_after: int = 1, closing: bool = False) -> None:
        super().__init__(message, retry_after=retry_after)
        self.closing = closing

    def headers(self) -> dict[str, str]:
        return {**super().headers(), **({"Connection": "close"} if self.closing else {})}


class DeadlineExceeded(ServiceError):
    """Accepted, but not translated in time."""

    status = 504
