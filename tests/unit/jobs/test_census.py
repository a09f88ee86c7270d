"""The census counts what has not ended, and looks at nothing else."""

import re

from ims_gateway.jobs import census
from ims_gateway.jobs.census import Group
from ims_gateway.jobs.states import State
from tests.unit.jobs.world import DAILY, NOON, SECOND, intent

WAYS = {
    State.SUBMITTING: (),
    State.SUBMIT_UNKNOWN: (State.SUBMIT_UNKNOWN,),
    State.QUEUED: (State.QUEUED,),
    State.RUNNING: (State.QUEUED, State.RUNNING),
    State.CANCELLING: (State.QUEUED, State.CANCELLING),
    State.SUCCEEDED: (State.QUEUED, State.SUCCEEDED),
    State.REJECTED: (State.REJECTED,),
}


def populate(books, ways, account="main", begin=0):
    """Admit a job for each way, a second apart, and lead it along."""
    for number, way in enumerate(ways, begin):
        wish = intent(
            number, account=account, tenant=f"t{number}", create_time=NOON - number * SECOND
        )
        books.admit(wish, DAILY)
        for state in way:
            books.change(wish.job_id, state, next_poll_time=NOON + number * SECOND)


def test_every_job_that_has_not_ended_is_counted_in_its_state(ledger_rows):
    """With the time of the oldest, over all accounts; jobs that have ended are not looked at."""
    populate(ledger_rows, [*WAYS.values(), WAYS[State.QUEUED]])
    populate(ledger_rows, [WAYS[State.QUEUED]], account="other", begin=20)
    taken = census.take(ledger_rows.db, NOON)
    assert {state: group.jobs for state, group in taken.jobs.items()} == {
        State.SUBMITTING: 1,
        State.SUBMIT_UNKNOWN: 1,
        State.QUEUED: 3,
        State.RUNNING: 1,
        State.CANCELLING: 1,
    }
    assert taken.jobs[State.SUBMITTING] == Group(1, NOON)
    assert taken.jobs[State.SUBMIT_UNKNOWN] == Group(1, NOON - SECOND)
    assert taken.jobs[State.QUEUED].oldest == NOON - 20 * SECOND
    assert taken.time == NOON


def test_holds_are_those_of_jobs_that_are_not_settled(ledger_rows):
    """A hold that was committed or released is no longer held for an answer."""
    populate(ledger_rows, WAYS.values())
    assert census.take(ledger_rows.db, NOON).holds == {State.SUBMITTING: 1, State.SUBMIT_UNKNOWN: 1}


def test_each_account_has_its_first_poll(ledger_rows):
    """The one that was due for longest."""
    populate(ledger_rows, [WAYS[State.RUNNING], WAYS[State.QUEUED]], begin=3)
    populate(ledger_rows, [WAYS[State.QUEUED]], account="other", begin=7)
    due = census.take(ledger_rows.db, NOON).due
    assert due == {"main": NOON + 3 * SECOND, "other": NOON + 7 * SECOND}


def test_empty_ledger_has_nothing(ledger_rows):
    """No jobs, and no time of an oldest."""
    taken = census.take(ledger_rows.db, NOON)
    assert set(taken.jobs.values()) <= {Group(0, None)}
    assert set(taken.holds.values()) == {0}
    assert taken.due == {}


def test_no_statement_of_the_census_looks_at_a_job_that_has_ended(file_rows):
    """Each goes along an index that has open jobs alone, and finds holds by their job."""
    asked = []

    class Asked:
        def execute(self, statement):
            asked.append(statement)
            return file_rows.db.execute(statement)

    census.take(Asked(), NOON)
    assert len(asked) == 5
    for statement in asked:
        plan = [row[-1] for row in file_rows.all(f"EXPLAIN QUERY PLAN {statement}")]
        for step in plan:
            assert re.search(
                r"(SCAN|SEARCH) jobs USING (COVERING )?INDEX jobs_(due|leased|unknown)"
                r"|SEARCH holds USING INDEX \w+ \(job_id=\?\)",
                step,
            ), plan
