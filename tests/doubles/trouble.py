"""Trouble that a fake upstream can be told to make: what, for which requests, how often.

A :class:`Trouble` is matched against requests in the order in which troubles were added; every one that matches and has
not worn out applies. ``share`` takes that part of the matching requests, evenly spread (0.25: every fourth).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Trouble:
    """One scripted fault. Empty ``key`` or ``method``: any. ``skip``: the first matches that are left alone.

    ``status``: answer this error (``code`` in its document) and, with ``after_body``, only once the request's body is
    read. ``delay_s``: before the first byte of the answer. ``rate``: bytes/s of this answer's body. ``cut_after``: hang
    up after that many body bytes (``reset``: by RST). ``wrong``: of a ranged GET, ``whole`` (200 and all), ``shifted``
    (another range, honestly named), ``lied`` (right Content-Range, shifted bytes), ``short`` (206 of a shorter range),
    ``longer``, ``total`` (wrong total), ``no_range`` (206 without Content-Range), ``flip`` (one byte is another),
    ``no_etag``, ``etag`` (another ETag). ``drop``: hang up without an answer; ``after_commit``: after the write.
    ``instead``: the body of a 200 answer is this document (an ``<Error>`` inside a 200).
    """

    key: str = ""
    method: str = ""
    skip: int = 0
    times: int = 1 << 60
    share: float = 1.0
    status: int = 0
    code: str = "SlowDown"
    after_body: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    rate: float = 0.0
    cut_after: int = -1
    reset: bool = False
    wrong: str = ""
    drop: bool = False
    after_commit: bool = False
    instead: str = ""
    matched: int = 0
    applied: int = 0

    def applies(self, method: str, key: str) -> bool:
        """Whether it strikes this request; counts it."""
        if (self.key and self.key != key) or (self.method and self.method != method):
            return False
        self.matched += 1
        turn = self.matched - self.skip
        if turn <= 0 or self.applied >= self.times or int(turn * self.share) == int((turn - 1) * self.share):
            return False
        self.applied += 1
        return True
