"""Who asks, and may they? One place that authenticates and authorises, before anything is looked up.

A request is admitted when its signature verifies, the identity behind it holds every right that its operation needs,
and the operation is one that this gateway offers. Refusals are S3Errors, the same for what is cached and what is not.
With authentication off (a choice of the operator's, for a trusted host) everybody is the same identity with all
rights. What the client says of itself for the meter (job, rank, GPU count) refines its identity and grants nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.identities import ALLOWABLE, Grant, Identities, Identity
from gateway.s3.errors import S3Error
from gateway.s3.habits import Habit, Shown, habit_of
from gateway.s3.operations import Operation, classify, rights
from gateway.s3.requests import S3Request
from gateway.s3.sigv4 import Authenticated, authenticate

ANYBODY: Final = Identity("", "", name="anybody", grants=(Grant(("*",), ("",), ALLOWABLE),))
REGULARS_MAX: Final = 1024
_GPUS_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class Client:
    """Who is metered: an access key's holder, refined by job and rank. ``target``: bytes/s per GPU."""

    name: str
    job: str
    rank: str
    gpus: int
    target: float


@dataclass(slots=True)
class Admitted:
    """A request that may go on: what it is, who asks, and how its body is signed (None: nobody was authenticated)."""

    request: S3Request
    operation: Operation
    identity: Identity
    auth: Authenticated | None


@dataclass(frozen=True, slots=True, eq=False)
class Regular:
    """A client that comes again: its habit, who it is, and its operations by (method, whether there is a key)."""

    habit: Habit
    identity: Identity
    operations: dict[tuple[str, bool], Operation]

    def shown(self, head: bytes, now: float) -> Shown | None:
        """What this head has of its own, if it is of the habit and signed as it must be at ``now``."""
        shown = self.habit.recognise(head)
        return shown if shown is not None and self.habit.sealed(shown, now) else None


class Denied(S3Error):
    """A client that is known may not do this. ``admitted``: the request as it would have been, for the meter."""

    def __init__(self, admitted: Admitted) -> None:
        super().__init__("AccessDenied")
        self.admitted = admitted


class Admission:
    """The door-keeper. ``required`` False: authentication is off."""

    def __init__(self, identities: Identities, *, required: bool, target: float) -> None:
        self._identities = identities
        self._required = required
        self._target = target
        self._regulars: dict[bytes, Regular] = {}  # by what their heads have in common
        self.generation = 0  # rises when the regulars are forgotten: whatever is kept for them may go too

    def admit(self, request: S3Request, now: float) -> Admitted:
        """Admit the request at wall-clock time ``now`` (seconds since the epoch). Raises S3Error, Denied among them."""
        auth, identity = self._authenticated(request, now) if self._required else (None, ANYBODY)
        operation = classify(request)
        admitted = Admitted(request, operation, identity, auth)
        if not _may(admitted):
            raise Denied(admitted)
        return admitted

    def _authenticated(self, request: S3Request, now: float) -> tuple[Authenticated, Identity]:
        auth = authenticate(request, self._identities.find, now=now)
        identity = self._identities.find(auth.access_key)
        if identity is None:
            raise S3Error("InvalidAccessKeyId")
        return auth, identity

    def regular(self, head: bytes, admitted: Admitted, domains: tuple[str, ...], now: float) -> Regular | None:
        """What lets the same client in faster next time, after its ``head`` was admitted; None: nothing does."""
        habit = habit_of(head, admitted.request, admitted.auth, domains)
        shown = None if habit is None else habit.recognise(head)
        if habit is None or shown is None or not habit.sealed(shown, now):  # signed in another spelling than sent
            return None
        known = self._regulars.get(habit.constant)
        if known is None:
            if len(self._regulars) >= REGULARS_MAX:
                self._regulars.clear()
                self.generation += 1
            known = self._regulars[habit.constant] = Regular(habit, admitted.identity, {})
        return known

    def admit_regular(self, regular: Regular, shown: Shown) -> Admitted | None:
        """As :meth:`admit`, for what a regular has shown; None: the head has to be admitted the whole way."""
        request = regular.habit.request(shown)
        if request is None:
            return None
        kind = request.method, bool(request.key)
        operation = regular.operations.get(kind)
        if operation is None:
            operation = regular.operations[kind] = classify(request)
        admitted = Admitted(request, operation, regular.identity, regular.habit.authenticated(shown))
        return admitted if _may(admitted) else None

    def client(self, admitted: Admitted) -> Client:
        """Whom the meter counts this request for."""
        identity, headers = admitted.identity, admitted.request.headers
        job = headers.get("x-forebay-job") or identity.job
        rank = headers.get("x-forebay-rank") or identity.rank
        said = headers.get("x-forebay-gpus", "")
        gpus = min(int(said), _GPUS_MAX) if said.isascii() and said.isdigit() and len(said) < 7 else identity.gpus
        return Client(identity.name, job, rank, gpus, self._target if identity.target is None else identity.target)


def _may(admitted: Admitted) -> bool:
    """Whether the identity holds every right that the operation needs. Raises S3Error as ``rights``."""
    for permission, bucket, key in rights(admitted.request, admitted.operation):
        if not admitted.identity.may(permission, bucket, key):
            return False
    return True
