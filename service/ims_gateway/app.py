"""The composition root: the only file that knows everything. Tests build the gateway through it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from ims_gateway.accounts import accounts_of
from ims_gateway.api.access_service import AccessService
from ims_gateway.api.admin_service import AdminService
from ims_gateway.api.health import FILES, KEYS, Health
from ims_gateway.api.interceptors import Authentication, Boundary, Parsing
from ims_gateway.api.job_service import JobService
from ims_gateway.api.occupancy import Occupancy
from ims_gateway.api.quota_service import QuotaService
from ims_gateway.api.server import administering, callers_server, listen
from ims_gateway.api.services import SERVICES, add_services
from ims_gateway.api.tls import ServerCertificate
from ims_gateway.bulk import Bulk
from ims_gateway.consumption import Consumption
from ims_gateway.following import Following
from ims_gateway.identity.authenticator import Authenticator
from ims_gateway.identity.key_sets import KeySets
from ims_gateway.identity.retrieval import retrieve
from ims_gateway.identity.tokens import Tokens
from ims_gateway.job_trace import JobTraces
from ims_gateway.jobs.database import database
from ims_gateway.jobs.leasing import Leases, seat_of
from ims_gateway.jobs.ledger import Ledger
from ims_gateway.jobs.migrate import upgrade
from ims_gateway.jobs.retention import Retention
from ims_gateway.jobs.store import Store
from ims_gateway.jobs.tracker import Tracker
from ims_gateway.jobs.watching import Watches
from ims_gateway.oversight import Oversight
from ims_gateway.policy.authorization import Authorization
from ims_gateway.policy.suites import Examiner
from ims_gateway.resolution import Resolution
from ims_gateway.running import Gateway
from ims_gateway.settings import Settings
from ims_gateway.submission import Submission
from ims_gateway.telemetry import lines, providers
from ims_gateway.telemetry.calls import Calls
from ims_gateway.telemetry.decisions import DecisionLog
from ims_gateway.telemetry.keeping import Keeping
from ims_gateway.telemetry.metering import Metering
from ims_gateway.telemetry.readers import DistributionReader
from ims_gateway.telemetry.spans import Processor
from ims_gateway.telemetry.standings import Standings
from ims_gateway.telemetry.tracks import Tracks
from ims_gateway.tenancy.live import Live
from ims_gateway.tenancy.loading import Beginning
from ims_gateway.upstream.account import Account
from ims_gateway.upstream.client import Measure
from ims_gateway.upstream.gate import Gates
from ims_gateway.upstream.keyring import Keyring
from ims_gateway.validation import Validation


@asynccontextmanager
async def gateway(
    settings: Settings,
    environment: Mapping[str, str],
    beginning: Beginning | None = None,
    *,
    span_processors: tuple[Processor, ...] = (),
    metric_readers: tuple[DistributionReader, ...] = (),
    worker: int | None = None,
    clock: Callable[[], int] | None = None,
    ledger_of: Callable[[Store, Callable[[], int]], Ledger] = Ledger,
    gates_of: Callable[[Mapping[str, Account], Measure], Gates] = Gates,
) -> AsyncIterator[Gateway]:
    """Build and start a gateway, and close it in the end.

    The reading of its configuration may have begun already. A `worker` shares its ports with others
    of other numbers; without, they are its own.

    Clock (microseconds since the epoch), ledger and way out can be replaced by others of the same
    kind, which then take part in a whole gateway.

    Raises ConfigurationError with faults of the configuration's files, PortTaken.
    """
    clock = clock or microseconds

    def told(live: Live) -> None:
        health.show(FILES, live.faults)
        metering.reloaded(live)

    health = Health(SERVICES)
    certificate = _certificate(settings)
    live = Live(beginning or Beginning(settings.config_dir), told, checks_of=Examiner().read)
    accounts = accounts_of(live.directory.accounts, environment)
    database_url = settings.database_url.get_secret_value()
    await asyncio.to_thread(upgrade, database_url)
    async with AsyncExitStack() as stack:
        spans = stack.enter_context(
            providers.spans(span_processors, keeps_refusals=settings.traces_keep_refusals)
        )
        metering = Metering(SERVICES, settings.metrics_tenants, metric_readers)
        stack.push_async_callback(metering.close)
        # Replicas' clocks differ, and rates are to be those of one clock.
        store = Store(
            database(database_url, settings.database_timeout_seconds),
            keeps_time=True,
            committed=metering.committed,
        )
        stack.push_async_callback(store.close)
        ledger = ledger_of(store, clock)
        keeping, decisions = _records(settings, ledger, metering, stack)
        await _keep_keys(accounts, health, metering, stack)
        gates = await stack.enter_async_context(gates_of(accounts, metering.upstream(accounts)))
        leases = Leases(ledger, gates, seat_of(settings.listen, worker))
        await leases.round()
        authorization = Authorization(lambda: live.directory, metering.differences)
        validation = Validation()
        submission = Submission(
            validation=validation,
            authorization=authorization,
            ledger=ledger,
            gates=gates,
            prices=lambda: live.directory.prices,
            clock=clock,
            timeout_seconds=settings.submit_timeout_seconds,
            poll_seconds=settings.poll_interval_seconds,
            measures=metering.submits,
        )
        stack.push_async_callback(submission.drain)
        calls = Calls(spans, decisions, metering.calls.ended)
        bulk = Bulk(submission, authorization, calls)
        watches = Watches(
            ledger,
            clock,
            look_seconds=settings.watch_interval_seconds,
            poll_seconds=settings.poll_interval_seconds,
        )
        overdue_seconds = settings.overdue_hours * 3600
        following = Following(
            authorization=authorization,
            ledger=ledger,
            gates=gates,
            watches=watches,
            clock=clock,
            overdue_seconds=overdue_seconds,
        )
        key_sets = KeySets(lambda: live.directory.issuers, retrieve, time.monotonic)
        server = callers_server(
            settings,
            health,
            SERVICES,
            Boundary(calls),
            Occupancy(settings.max_calls, settings.max_streams),
            Authentication(_authenticator(settings, live, key_sets)),
            Parsing(settings.max_message_bytes),
            shared=worker is not None,
        )
        add_services(
            server,
            JobService(
                submission,
                bulk,
                following,
                authorization,
                validation,
                traces=JobTraces(following, ledger, keeping.flush, clock),
                clock=clock,
            ),
            AccessService(submission, authorization, lambda: live.directory.prices),
            QuotaService(
                Consumption(ledger, lambda: live.directory.prices, clock), authorization, validation
            ),
            AdminService(
                Resolution(ledger, gates, clock, settings.submit_timeout_seconds),
                Oversight(ledger, live),
                authorization,
                validation,
            ),
        )
        tracker = Tracker(
            ledger,
            gates,
            clock,
            interval_seconds=settings.poll_interval_seconds,
            overdue_seconds=overdue_seconds,
            tracks=Tracks(spans),
            polled=metering.polls.polled,
            ended=metering.polls.ended,
        )
        standings = Standings(ledger, accounts, lambda: metering.labels.own, lambda: live.directory)
        metering.show(live, gates, standings)
        port = listen(
            server,
            "IMSGW_LISTEN",
            settings.listen,
            certificate.credentials() if certificate else None,
        )
        admin_port = await stack.enter_async_context(
            administering(settings, health, shared=worker is not None)
        )
        tasks = [
            leases.run(),
            tracker.run(),
            live.run(),
            key_sets.run(),
            keeping.run(decisions.tick),
            standings.run(),
            metering.run(),
        ]
        for task in (*tasks, *_optional_tasks(settings, ledger, certificate, metering)):
            stack.push_async_callback(_cancel, asyncio.create_task(task))
        await health.serve(live.faults)
        await server.start()
        stack.push_async_callback(server.stop, 0.5)
        yield Gateway(
            port,
            admin_port,
            server,
            health,
            submission,
            bulk,
            watches,
            tracker,
            ledger,
            decisions,
            live,
            metering.registry,
            standings,
        )


def _authenticator(settings: Settings, live: Live, key_sets: KeySets) -> Authenticator:
    tokens = Tokens(lambda: live.directory.issuers, key_sets, time.time)
    pepper = settings.key_pepper.get_secret_value().encode()
    return Authenticator(lambda: live.directory, tokens, pepper, time.time)


def _optional_tasks(
    settings: Settings, ledger: Ledger, certificate: ServerCertificate | None, metering: Metering
) -> Iterator[Coroutine[Any, Any, None]]:
    if certificate:
        metering.show_certificate(certificate.seconds_left)
        yield certificate.run()
    if settings.retention_days:
        yield Retention(ledger, settings.retention_days * 86_400).run()


def _certificate(settings: Settings) -> ServerCertificate | None:
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    return ServerCertificate(
        settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file
    )


async def _keep_keys(
    accounts: Mapping[str, Account], health: Health, metering: Metering, stack: AsyncExitStack
) -> None:
    """Keep the keys of all accounts fresh, and show which cannot be."""
    keyring = Keyring(
        {name: account.credentials for name, account in accounts.items()},
        lambda: health.show(KEYS, keyring.problems),
    )
    await stack.enter_async_context(keyring)
    metering.show_credentials(keyring.time_left_seconds)


def _records(
    settings: Settings, ledger: Ledger, metering: Metering, stack: AsyncExitStack
) -> tuple[Keeping, DecisionLog]:
    """Return where records of calls go: the ledger's store, and the log before it."""
    keeping = Keeping(ledger, settings.decision_store_rows)
    stack.push_async_callback(keeping.close)
    sink = None
    if settings.decision_log:
        sink = lines.opened(
            settings.decision_log, settings.decision_log_max_bytes, settings.decision_log_files
        )
    decisions = DecisionLog(sink, keeping.put if settings.decision_store_rows else None)
    stack.callback(decisions.close)
    metering.show_lost({"log": lambda: decisions.lost, "store": lambda: keeping.lost})
    return keeping, decisions


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def microseconds() -> int:
    """Return the time in microseconds since the epoch."""
    return time.time_ns() // 1000
