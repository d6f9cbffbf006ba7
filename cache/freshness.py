"""How long the catalog's word counts. Versions never go stale; only "this key holds that version" does.

Three modes, per bucket glob and key prefix, first match wins: ``always`` asks upstream at every read, ``ttl`` (the
default, 5 s) trusts an answer for that long, ``immutable`` trusts it until a write through the cluster says otherwise.
A node that does not hold every member's lease may have missed a write: then every entry must be asked for again
(see ``cache/members/leases.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final, Literal

from cache.versions import Entry, ObjectRef

Mode = Literal["ttl", "always", "immutable"]
TTL_DEFAULT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class FreshnessRule:
    """For keys of ``bucket`` (a glob) that start with ``prefix``: the mode, and for ``ttl`` how many seconds."""

    bucket: str = "*"
    prefix: str = ""
    mode: Mode = "ttl"
    ttl_s: float = TTL_DEFAULT_S
    age_max_s: float = field(init=False)
    """How old an answer may be."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "age_max_s", {"always": 0.0, "ttl": self.ttl_s, "immutable": math.inf}[self.mode])

    def covers(self, ref: ObjectRef) -> bool:
        """Whether the rule speaks of this key."""
        return ref.key.startswith(self.prefix) and (self.bucket == "*" or fnmatchcase(ref.bucket, self.bucket))


class Verdict(Enum):
    """What an entry is good for."""

    FRESH = "serve it"
    STALE = "ask upstream whether it still holds"


class Freshness:
    """The rules of this node, in order."""

    def __init__(self, rules: Sequence[FreshnessRule] = ()) -> None:
        self._rules = tuple(rules)
        self._default = FreshnessRule()

    def rule_for(self, ref: ObjectRef) -> FreshnessRule:
        """The first rule that covers the key, else the default."""
        for rule in self._rules:
            if rule.covers(ref):
                return rule
        return self._default

    def age_max_s(self, ref: ObjectRef) -> float:
        """How old an answer may be, in seconds."""
        return self.rule_for(ref).age_max_s

    def judge(self, ref: ObjectRef, entry: Entry, *, now: float, trusted: bool) -> Verdict:
        """Whether ``entry`` may be served at monotonic time ``now``; ``trusted``: every member's lease holds."""
        rule = self.rule_for(ref)
        age = now - entry.checked_at
        young = age < rule.age_max_s and (age >= 0 or rule.mode == "immutable")
        return Verdict.FRESH if trusted and young else Verdict.STALE
