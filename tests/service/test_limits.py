"""Rate limits: compared with a plain count of everything that was allowed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import BadRequest, TooManyRequests
from service.limits import PARTS, SECONDS, RateLimiter, Rates, address_of


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 32_000), st.integers(1, 4)), max_size=50),
    st.builds(Rates, st.integers(4, 8), st.integers(4, 12), st.integers(4, 20)),
)
def test_no_window_has_more_than_its_limit_and_waiting_as_told_helps(
    requests: list[tuple[float, int]], rates: Rates
) -> None:
    now = 0.0
    limiter = RateLimiter(lambda: now)
    allowed: list[tuple[float, int]] = []
    for eighths, units in requests:
        now += eighths / 8  # no rounding
        refusal = spend(limiter, units, rates)
        if refusal is not None:
            window, limit = str(refusal).split()[-1], int(str(refusal).split()[1])
            assert getattr(rates, window) == limit
            assert refusal.retry_after is not None and refusal.retry_after >= 1
            now += refusal.retry_after
            assert spend(limiter, units, rates) is None
        allowed.append((now, units))
        for window, seconds in SECONDS.items():
            assert sum(units for when, units in allowed if when > now - seconds) <= getattr(rates, window)


def spend(limiter: RateLimiter, units: int, rates: Rates) -> TooManyRequests | None:
    """Return the refusal, if any."""
    try:
        limiter.spend("caller", units, rates)
    except TooManyRequests as refusal:
        return refusal
    return None


def test_a_window_of_its_own_for_each_caller_and_none_without_limits() -> None:
    limiter = RateLimiter(lambda: 0.0)
    for caller in "ab":
        limiter.spend(caller, 2, Rates(minute=2))
        with pytest.raises(TooManyRequests, match="Slowdown: 2 per 1 minute"):
            limiter.spend(caller, 1, Rates(minute=2))
    for _ in range(1000):
        limiter.spend("c", 1000, Rates())


def test_what_no_window_ever_allows_is_refused_for_good() -> None:
    with pytest.raises(BadRequest, match=r"request \(6\) exceeds text limit \(5\)"):
        RateLimiter(lambda: 0.0).spend("a", 6, Rates(minute=10, day=5))


def test_the_memory_is_bounded() -> None:
    now = 0.0
    limiter = RateLimiter(lambda: now, callers=3)
    for _ in range(1000):
        now += 1.0
        limiter.spend("a", 1, Rates(minute=1000, hour=10_000))
    spent = limiter._callers["a"].spent
    assert max(map(len, spent.values())) <= PARTS + 1
    for caller in "bcde":
        limiter.spend(caller, 1, Rates(minute=1))
    assert list(limiter._callers) == ["c", "d", "e"]
    now += 61.0
    limiter.spend("f", 1, Rates(minute=1))
    assert list(limiter._callers) == ["f"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_ipv6_network_is_one_caller(host: str, expected: str) -> None:
    assert address_of(host) == expected
