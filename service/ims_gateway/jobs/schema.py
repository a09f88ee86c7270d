"""The ledger's tables.

Times are microseconds since the epoch; states are the contract's numbers.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

from ims_gateway.jobs.states import State

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("tenant", String(63), nullable=False),
    Column("request_id", String(36), nullable=False),
    Column("body_hash", LargeBinary, nullable=False),
    # The longest is a guest's: tenants/{63}/principals/{63}. SQLite keeps to no length.
    Column("principal", String(192).with_variant(String(128), "sqlite"), nullable=False),
    Column("algorithm", String(64), nullable=False),
    Column("account", String(63), nullable=False),
    Column("spec", LargeBinary, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("update_time", BigInteger, nullable=False),
    Column("end_time", BigInteger),
    Column("lease_until", BigInteger),
    Column("dispatch_time", BigInteger),
    Column("next_poll_time", BigInteger),
    # Who asks the service about the job now. Until next_poll_time nobody else does.
    Column("poller", String(36)),
    Column("overdue_time", BigInteger),
    # Texts of the service are of any length: PostgreSQL would refuse to settle a job for one.
    Column("upstream_job_id", Text, nullable=False, server_default=""),
    Column("upstream_request_id", Text, nullable=False, server_default=""),
    Column("failure_code", Text, nullable=False, server_default=""),
    Column("failure_message", Text, nullable=False, server_default=""),
    Column("reply", Text, nullable=False, server_default=""),
    Column("decision_id", String(64), nullable=False),
    Column("traceparent", String(64), nullable=False, server_default=""),
    # What the job was taken to cost when it was admitted, in micro-units of the price list.
    Column("cost", BigInteger, nullable=False, server_default="0"),
)
# A rejected job frees its request id: the service took nothing, so the same id may be tried again.
Index(
    "jobs_request",
    jobs.c.tenant,
    jobs.c.request_id,
    unique=True,
    sqlite_where=jobs.c.state != int(State.REJECTED),
    postgresql_where=jobs.c.state != int(State.REJECTED),
)
Index("jobs_newest", jobs.c.tenant, jobs.c.create_time.desc(), jobs.c.job_id.desc())
# These columns are null for most of a job's life, so the indexes hold only what is due. State and
# time of creation are there for the census; they change only together with what is before them.
Index(
    "jobs_due",
    jobs.c.account,
    jobs.c.next_poll_time,
    jobs.c.state,
    jobs.c.create_time,
    sqlite_where=jobs.c.next_poll_time.is_not(None),
    postgresql_where=jobs.c.next_poll_time.is_not(None),
)
Index(
    "jobs_leased",
    jobs.c.lease_until,
    jobs.c.create_time,
    sqlite_where=jobs.c.lease_until.is_not(None),
    postgresql_where=jobs.c.lease_until.is_not(None),
)
# Of these there are few, and each waits for somebody.
Index(
    "jobs_unknown",
    jobs.c.create_time,
    sqlite_where=jobs.c.state == int(State.SUBMIT_UNKNOWN),
    postgresql_where=jobs.c.state == int(State.SUBMIT_UNKNOWN),
)
# Only jobs that have ended are ever purged.
Index(
    "jobs_ended",
    jobs.c.end_time,
    sqlite_where=jobs.c.end_time.is_not(None),
    postgresql_where=jobs.c.end_time.is_not(None),
)
# An operator names a job of the service: it must be nobody's yet.
Index(
    "jobs_upstream",
    jobs.c.upstream_job_id,
    sqlite_where=jobs.c.upstream_job_id != "",
    postgresql_where=jobs.c.upstream_job_id != "",
)

# A job's labels beside its spec, for lists that ask for one. The time orders such a list.
labels = Table(
    "labels",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("key", String(63), primary_key=True),
    Column("value", String(63), nullable=False),
    Column("tenant", String(63), nullable=False),
    Column("create_time", BigInteger, nullable=False),
)
Index(
    "labels_newest",
    labels.c.tenant,
    labels.c.key,
    labels.c.value,
    labels.c.create_time,
    labels.c.job_id,
)

transitions = Table(
    "transitions",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", SmallInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("cause", Text, nullable=False),
)

# What a job holds of a limit: held until the service has answered, then committed or released. A
# hold of period "open" lasts as long as the job, and is released then.
holds = Table(
    "holds",
    metadata,
    Column("job_id", String(64), primary_key=True),
    Column("limit_id", String(63), primary_key=True),
    Column("tenant", String(63), nullable=False),
    Column("period", String(32), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("state", String(9), nullable=False),
    Column("bucket", String(255), nullable=False, server_default=""),
)

# The sum of all holds that were not released, by limit, bucket and period: rebuilt from `holds` and
# `totals` at will. A bucket names whom a limit is counted for separately.
counters = Table(
    "counters",
    metadata,
    Column("tenant", String(63), primary_key=True),
    Column("limit_id", String(63), primary_key=True),
    Column("bucket", String(255), primary_key=True),
    Column("period", String(32), primary_key=True),
    Column("used", BigInteger, nullable=False),
)

# What purged jobs had taken of a limit: the part of a counter that no hold explains any more.
totals = Table(
    "totals",
    metadata,
    Column("tenant", String(63), primary_key=True),
    Column("limit_id", String(63), primary_key=True),
    Column("bucket", String(255), primary_key=True),
    Column("period", String(32), primary_key=True),
    Column("used", BigInteger, nullable=False),
)

rates = Table(
    "rates",
    metadata,
    Column("tenant", String(63), primary_key=True),
    Column("limit_id", String(63), primary_key=True),
    Column("bucket", String(255), primary_key=True),
    Column("tat", BigInteger, nullable=False),
)

# What a tenant's counters were kept by: those of a limit that is defined in another way by now are
# made anew.
definitions = Table(
    "definitions",
    metadata,
    Column("tenant", String(63), primary_key=True),
    Column("definitions", Text, nullable=False),
)

# Purged jobs that were not rejected, by the quarter of an hour in which they were created: every
# calendar window of every time zone begins with one.
usage = Table(
    "usage",
    metadata,
    Column("tenant", String(63), primary_key=True),
    Column("time", BigInteger, primary_key=True),
    Column("principal", String(192), primary_key=True),
    Column("algorithm", String(64), primary_key=True),
    Column("jobs", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),
)

# When an account's polls may go on: the rate's theoretical arrival time, and the end of a pause.
poll_budgets = Table(
    "poll_budgets",
    metadata,
    Column("account", String(63), primary_key=True),
    Column("tat", BigInteger, nullable=False),
    Column("paused_until", BigInteger, nullable=False),
)

# What each process may use of an account, and would like to use: see `division`. A `seat` is one
# process after the other, a `life` one of them; a row that is not renewed lapses.
shares = Table(
    "shares",
    metadata,
    Column("account", String(63), primary_key=True),
    Column("seat", String(255), primary_key=True),
    Column("life", String(36), nullable=False),
    Column("renew_time", BigInteger, nullable=False),
    Column("places", Integer, nullable=False),
    Column("per_second", Double, nullable=False),
    Column("wanted_places", Integer, nullable=False),
    Column("wanted_per_second", Double, nullable=False),
    Column("weight", Integer, nullable=False),
)

# Records of the latest calls. `number` is the order in which they were kept.
decisions = Table(
    "decisions",
    metadata,
    Column(
        "number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    Column("decision_id", String(64), nullable=False),
    Column("tenant", String(63), nullable=False),
    Column("principal", String(192), nullable=False),
    Column("code", String(32), nullable=False),
    Column("reason", String(64), nullable=False),
    # 1 where the shadow policy would have decided otherwise.
    Column("differs", SmallInteger, nullable=False),
    Column("record", Text, nullable=False),
)
Index("decisions_id", decisions.c.decision_id, unique=True)
Index("decisions_tenant", decisions.c.tenant, decisions.c.number)
