"""Gateways that a careless reading of the task would give: the suite has to see what is wrong.

    check, then act      asks whether the request id is known and the limit has room, and writes
                         what it found later, in another transaction
    intent after send    writes the job when its answer is there, and nothing before
    blind retry          sends anew where no clear answer came

Each is one mistake made in an otherwise whole gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from ims_gateway.jobs import admission, rows, standing
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.record import Admission, Change, Intent, JobRecord
from ims_gateway.jobs.states import State
from ims_gateway.quota.charges import Charge, refuse_breaches
from ims_gateway.quota.limits import Limit
from ims_gateway.upstream.errors import OutcomeUnknown
from tests.reliability.books import Kind

TRIES: Final = 3
SET_USED: Final = """
UPDATE counters SET used = :used WHERE tenant = :tenant AND limit_id = :limit_id
    AND bucket = :bucket AND period = :period
"""


class CheckThenAct(Ledger):
    """Looks first and writes later; and since it has looked, it needs no unique index."""

    async def admit(self, intent: Intent, limits: Sequence[Limit]) -> Admission:
        """Recall, check, then write what the check found."""
        known = await self.recall(intent.tenant, intent.request_id, intent.body_hash)
        if known is not None:
            return Admission(known, recalled=True)
        charges, _ = await self._charges(intent.demand, limits)
        refuse_breaches(charges, self._clock())
        record = await self._store.write(lambda db: _write(db, intent, charges))
        return Admission(record, recalled=False)


class IntentAfterSend(Ledger):
    """Keeps an intent in memory until there is something to write about it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._wishes: dict[str, tuple[Intent, Sequence[Limit]]] = {}

    async def admit(self, intent: Intent, limits: Sequence[Limit]) -> Admission:
        """Recall, and remember the wish."""
        known = await self.recall(intent.tenant, intent.request_id, intent.body_hash)
        if known is not None:
            return Admission(known, recalled=True)
        self._wishes[intent.job_id] = intent, limits
        return Admission(_record_of(intent), recalled=False)

    async def dispatch(self, job_id: str) -> bool:
        """Say yes: what is in memory is not out of date."""
        return job_id in self._wishes

    async def change(
        self, job_id: str, change: Change, *arguments: Any, **more: Any
    ) -> tuple[JobRecord, bool]:
        """Write the job together with its first change."""
        wish = self._wishes.pop(job_id, None)
        if wish is None:
            return await super().change(job_id, change, *arguments, **more)
        intent, limits = wish
        return await self._store.write(lambda db: self._record(db, intent, limits, change))

    def _record(
        self, db: Any, intent: Intent, limits: Sequence[Limit], change: Change
    ) -> tuple[JobRecord, bool]:
        admitted = admission.admit(db, intent, limits, self._clock())
        return rows.change_state(db, admitted.record.job_id, change, self._clock())


class BlindClient:
    """A client that takes no answer for a reason to ask again."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def submit(self, parameters: Mapping[str, str], **more: Any) -> Any:
        """Submit a job, as often as it takes."""
        for _ in range(TRIES - 1):
            try:
                return await self._client.submit(parameters, **more)
            except OutcomeUnknown:
                continue
        return await self._client.submit(parameters, **more)


@dataclass(frozen=True, slots=True)
class Variant:
    """A gateway to kill: what it is made of, and what the suite must find about it.

    `client_of` gets the client that the gateway would otherwise use.
    """

    name: str
    ledger_of: Callable[..., Ledger] = Ledger
    client_of: Callable[[Any], Any] = lambda client: client
    faults: frozenset[Kind] = frozenset()


THE_PRODUCT: Final = Variant("the product")
NAIVE: Final = (
    Variant(
        "check, then act",
        ledger_of=CheckThenAct,
        faults=frozenset({Kind.SUBMITTED_TWICE, Kind.COUNTER_IS_WRONG}),
    ),
    Variant(
        "intent after send",
        ledger_of=IntentAfterSend,
        faults=frozenset({Kind.SUBMITTED_TWICE, Kind.FORGOTTEN}),
    ),
    Variant(
        "blind retry",
        client_of=BlindClient,
        faults=frozenset({Kind.SUBMITTED_TWICE, Kind.FORGOTTEN}),
    ),
)
VARIANTS: Final = {variant.name: variant for variant in (THE_PRODUCT, *NAIVE)}


def _write(db: Any, intent: Intent, charges: Sequence[Charge]) -> JobRecord:
    db.execute("DROP INDEX IF EXISTS jobs_request")
    record = rows.record_of(rows.insert_intent(db, intent).fetchone())
    standing.take(db, intent.tenant, intent.job_id, charges)
    for charge in charges:
        if charge.amount is not None:
            limit_id, bucket, period = charge.key
            keys = {"limit_id": limit_id, "bucket": bucket, "period": period}
            db.execute(SET_USED, keys | {"tenant": intent.tenant, "used": charge.state.used})
    return record


def _record_of(intent: Intent) -> JobRecord:
    known = {field.name for field in fields(JobRecord)}
    values = {name: getattr(intent, name) for name in intent.__slots__ if name in known}
    nothing = dict.fromkeys(known - values.keys(), "")
    return JobRecord(
        **nothing
        | values
        | {"state": State.SUBMITTING, "update_time": intent.create_time, "end_time": None}
    )
