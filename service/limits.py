"""API keys, and the rate limit over a moving minute."""

from __future__ import annotations

import hmac
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from service.errors import BadRequest, Forbidden, TooManyRequests
from service.settings import UNLIMITED

WINDOW_S = 60.0


def check_key(key: str | None, accepted: Sequence[str]) -> None:
    """Check an API key; without accepted keys any will do. Raises BadRequest if it is missing, Forbidden if wrong."""
    if not accepted:
        return
    if key is None:
        raise BadRequest("Please contact the server operator to get an API key")
    if not is_accepted(key, accepted):
        raise Forbidden("Invalid API key")


def is_accepted(key: str | None, accepted: Sequence[str]) -> bool:
    """Return whether a key is accepted; in constant time, so that no key can be guessed from the timing."""
    given = (key or "").encode("utf-8", "replace")
    good = [hmac.compare_digest(given, one.encode()) for one in accepted]
    return key is not None and any(good)


class RateLimiter:
    """Allow at most ``per_minute`` texts in any 60 seconds for each caller.

    A caller is forgotten after a minute without requests, or as the least recent of more than ``callers``.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float], callers: int = 100_000) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._most_callers = callers
        self._spent: OrderedDict[str, deque[tuple[float, int]]] = OrderedDict()  # least recent caller first

    def spend(self, caller: str, units: int) -> None:
        """Count ``units`` texts for a caller.

        If that exceeds the limit, nothing is counted. Raises TooManyRequests, or BadRequest if waiting does not help.
        """
        if self._per_minute == UNLIMITED:
            return
        if units > self._per_minute:
            raise BadRequest(f"Invalid request: request ({units}) exceeds text limit ({self._per_minute})")
        now = self._clock()
        self._forget(now)
        spent = self._spent.get(caller, deque())
        while spent and spent[0][0] <= now - WINDOW_S:
            spent.popleft()
        used = sum(count for _, count in spent)
        if used + units > self._per_minute:
            oldest = spent[0][0] if spent else now
            wait = max(1, math.ceil(oldest + WINDOW_S - now))
            raise TooManyRequests(f"Slowdown: {self._per_minute} per 1 minute", retry_after=wait)
        spent.append((now, units))
        self._spent[caller] = spent
        self._spent.move_to_end(caller)

    def _forget(self, now: float) -> None:
        while self._spent:
            caller, spent = next(iter(self._spent.items()))
            if spent[-1][0] > now - WINDOW_S and len(self._spent) < self._most_callers:
                return
            del self._spent[caller]
