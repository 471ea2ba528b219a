"""Rate limits over a moving minute, hour and day."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from service.errors import BadRequest, TooManyRequests

UNLIMITED = -1
SECONDS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}
PARTS = 12  # of a window, in each of which what a caller spends is one entry


class Rates(NamedTuple):
    """Texts per minute, hour and day; -1 for no limit."""

    minute: int = UNLIMITED
    hour: int = UNLIMITED
    day: int = UNLIMITED


def address_of(host: str) -> str:
    """Return whom an address stands for: itself, or for IPv6 its network, all of which is one customer's."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


@dataclass
class Entry:
    """What was spent from one time to another, within a part of the window."""

    first: float
    last: float
    units: int


@dataclass
class Caller:
    """What a caller spent, by window, oldest first, and when all of it is over."""

    spent: dict[str, deque[Entry]] = field(default_factory=dict)
    expires: float = 0.0

    def wait(self, window: str, limit: int, units: int, now: float) -> float:
        """Return the seconds until ``units`` more are within the limit; 0 if they are now."""
        spent = self.spent.setdefault(window, deque())
        while spent and spent[0].last + SECONDS[window] - now <= 0.0:
            spent.popleft()
        excess = sum(entry.units for entry in spent) + units - limit
        seconds = 0.0
        for entry in spent:
            if excess <= 0:
                break
            excess -= entry.units
            seconds = entry.last + SECONDS[window] - now
        return seconds

    def add(self, window: str, units: int, now: float) -> None:
        """Count ``units``. An entry counts until its last unit is too old, so never too little is counted."""
        spent = self.spent[window]
        if spent and now - spent[-1].first < SECONDS[window] / PARTS:
            spent[-1].units += units
            spent[-1].last = now
        else:
            spent.append(Entry(now, now, units))
        self.expires = max(self.expires, now + SECONDS[window])


class RateLimiter:
    """Allow each caller so many texts in any minute, hour and day.

    The memory is bounded: a caller has at most PARTS + 1 entries in each window, and is forgotten when they are over,
    or as the least recent of more than ``callers``.
    """

    def __init__(self, clock: Callable[[], float], callers: int = 20_000) -> None:
        self._clock = clock
        self._most_callers = callers
        self._callers: OrderedDict[str, Caller] = OrderedDict()  # least recent first

    def spend(self, name: str, units: int, rates: Rates) -> None:
        """Count ``units`` texts for a caller.

        If that exceeds a limit, nothing is counted. Raises TooManyRequests, or BadRequest if waiting does not help.
        """
        limits = {window: limit for window, limit in rates._asdict().items() if limit != UNLIMITED}
        if not limits:
            return
        if units > min(limits.values()):
            raise BadRequest(f"Invalid request: request ({units}) exceeds text limit ({min(limits.values())})")
        now = self._clock()
        caller = self._callers.get(name) or Caller()
        waits = {window: caller.wait(window, limit, units, now) for window, limit in limits.items()}
        longest = max(waits, key=waits.__getitem__)
        if waits[longest] > 0.0:
            retry_after = max(1, math.ceil(waits[longest]))
            raise TooManyRequests(f"Slowdown: {limits[longest]} per 1 {longest}", retry_after=retry_after)
        for window in limits:
            caller.add(window, units, now)
        self._callers[name] = caller
        self._callers.move_to_end(name)
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._callers:
            name, caller = next(iter(self._callers.items()))
            if caller.expires > now and len(self._callers) <= self._most_callers:
                return
            del self._callers[name]
