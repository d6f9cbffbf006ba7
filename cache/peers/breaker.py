"""The breaker: whether a peer that keeps failing should be asked at all.

Closed, it lets everything through; ``failures_max`` failures within ``window_s`` open it. Open, it refuses for a while
(``open_s``, doubling up to ``open_s_max`` while probes fail), then lets one probe through. The probe's success closes
it, its failure opens it again. A probe that never reports (its reader left) is forgotten after ``open_s_max``.

Sans-IO: time comes with every call, in seconds of a monotonic clock. One breaker per peer; whoever asks the peer
reports. A refusal costs nothing, so that a dead owner costs its readers one look at a clock.
"""

from __future__ import annotations

from collections import deque


class Breaker:
    """See the theory. ``allows`` may start a probe: report its outcome."""

    __slots__ = ("_closed", "_failures", "_open_s", "_open_until", "_probing_since", "_span", "_window_s")

    def __init__(
        self, *, failures_max: int = 5, window_s: float = 10.0, open_s: float = 1.0, open_s_max: float = 10.0
    ) -> None:
        self._failures: deque[float] = deque(maxlen=failures_max)
        self._window_s = window_s
        self._span = (open_s, open_s_max)
        self._open_s = open_s
        self._open_until = 0.0
        self._probing_since: float | None = None
        self._closed = True

    def allows(self, now: float) -> bool:
        """Whether to ask the peer now."""
        if self._closed:
            return True
        probing = self._probing_since is not None and now < self._probing_since + self._span[1]
        if now < self._open_until or probing:
            return False
        self._probing_since = now
        return True

    def succeeded(self) -> None:
        """The peer answered."""
        self._closed = True
        self._failures.clear()
        self._open_s, self._probing_since = self._span[0], None

    def failed(self, now: float) -> None:
        """The peer did not answer, or lied."""
        if self._closed:
            self._failures.append(now)
            full = len(self._failures) == self._failures.maxlen
            if full and now - self._failures[0] <= self._window_s:
                self._open(now)
        elif self._probing_since is not None:
            self._open_s = min(self._open_s * 2, self._span[1])
            self._open(now)

    def _open(self, now: float) -> None:
        self._closed, self._probing_since = False, None
        self._open_until = now + self._open_s
