"""Pages of a filtered list: every job that fits, once, newest first, and at a bounded cost."""

import json
from base64 import urlsafe_b64encode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ims_gateway.errors import InvalidRequest
from ims_gateway.jobs import pages, rows
from ims_gateway.jobs.filters import Filter, parse
from ims_gateway.jobs.states import State
from tests.unit.jobs.world import NOON, SECOND, emptied, intent

STATES = (State.SUBMITTING, State.QUEUED, State.RUNNING, State.SUCCEEDED, State.SUBMIT_UNKNOWN)
ALGORITHMS = ("cover", "video_clip", "music_demix")
KEYS = ("team", "app.example.com/name")
TEXTS = ("x", "", "' OR '1' = '1", "'; DROP TABLE jobs; --", ":tenant", "%s", "标签")

JOBS = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from(("acme", "acme", "acme", "globex")),
        "state": st.sampled_from(STATES),
        "algorithm": st.sampled_from(ALGORITHMS),
        "create_time": st.integers(NOON, NOON + 3),
        "labels": st.dictionaries(st.sampled_from(KEYS), st.sampled_from(TEXTS)),
    }
)
FILTERS = st.builds(
    Filter,
    states=st.none() | st.frozensets(st.sampled_from(STATES)),
    algorithms=st.none() | st.frozensets(st.sampled_from(ALGORITHMS)),
    since=st.none() | st.integers(NOON - 1, NOON + 4),
    before=st.none() | st.integers(NOON - 1, NOON + 4),
    labels=st.frozensets(st.tuples(st.sampled_from(KEYS), st.sampled_from(TEXTS)), max_size=3),
)


def fits(job, wanted):
    """Say what a filter means, in Python."""
    return (
        job["tenant"] == "acme"
        and (wanted.states is None or job["state"] in wanted.states)
        and (wanted.algorithms is None or job["algorithm"] in wanted.algorithms)
        and (wanted.since is None or job["create_time"] >= wanted.since)
        and (wanted.before is None or job["create_time"] < wanted.before)
        and wanted.labels <= set(job["labels"].items())
    )


def made(ledger, number, job):
    """Admit a job and put it into its state."""
    members = {name: job[name] for name in ("tenant", "algorithm", "create_time")}
    ledger.admit(intent(number, labels=tuple(job["labels"].items()), **members))
    values = {"state": int(job["state"]), "job_id": f"job-{number}"}
    ledger.db.execute("UPDATE jobs SET state = :state WHERE job_id = :job_id", values)


def listed(db, wanted, count, window=pages.WINDOW):
    """Return the ids of all pages, one after the other."""
    found, after = [], pages.NEWEST
    while after is not None:
        page = pages.read(db, "acme", wanted, after, count, window=window)
        assert len(page.records) <= count
        found += [record.job_id for record in page.records]
        after = page.end
    return found


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    jobs=st.lists(JOBS, max_size=12),
    filters=st.lists(FILTERS, min_size=1, max_size=8),
    count=st.integers(1, 5),
    window=st.integers(1, 6),
)
def test_pages_hold_every_job_that_fits_once_newest_first(
    ledger_rows, jobs, filters, count, window
):
    """Whatever the filter, the size of a page, and how much one look may take in."""
    emptied(ledger_rows)
    for number, job in enumerate(jobs):
        made(ledger_rows, number, job)
    for wanted in filters:
        fitting = [
            (job["create_time"], f"job-{number}")
            for number, job in enumerate(jobs)
            if fits(job, wanted)
        ]
        expected = [job_id for _, job_id in sorted(fitting, reverse=True)]
        assert listed(ledger_rows.db, wanted, count, window) == expected


def test_cost_of_a_page_does_not_grow_with_the_ledger(file_rows):
    """A filter that no job fits makes no caller wait for all of a tenant's jobs to be read."""
    filters = [parse("state = FAILED"), parse("labels.team = a AND state = FAILED")]
    _fill(file_rows.db, 12_000)
    few = [_cost(file_rows.db, wanted) for wanted in filters]
    _fill(file_rows.db, 24_000)
    many = [_cost(file_rows.db, wanted) for wanted in filters]
    assert many == pytest.approx(few, rel=0.1)


def _fill(db, count):
    """Add jobs that have all succeeded, each with the same label."""
    start = db.execute("SELECT COUNT(*) FROM jobs").fetchone()[0]
    db.execute("BEGIN")
    for number in range(start, start + count):
        job = intent(number, job_id=f"job-{number:06}", labels=(("team", "a"),))
        rows.insert_intent(db, job)
        pages.add_labels(db, job)
    db.execute("UPDATE jobs SET state = 5")
    db.execute("COMMIT")


def _cost(db, wanted):
    """Return how many hundreds of steps the database takes for a page; it must find nothing."""
    steps = []
    db.set_progress_handler(lambda: steps.append(1), 100)
    page = pages.read(db, "acme", wanted, pages.NEWEST, 50)
    db.set_progress_handler(None, 0)
    assert page.records == []
    assert page.end is not None
    return len(steps)


@pytest.mark.parametrize(
    "text", ["", "state = FAILED", "labels.team = a", 'create_time < "2026-06-01T12:00:00Z"']
)
def test_list_goes_along_an_index(file_rows, text):
    """No page sorts or scans a tenant's jobs; a window of them is all that is ever sorted."""
    _fill(file_rows.db, 10)
    seen = []
    file_rows.db.set_trace_callback(seen.append)
    pages.read(file_rows.db, "acme", parse(text), pages.NEWEST, 5)
    file_rows.db.set_trace_callback(None)
    plan = [row[3] for row in file_rows.db.execute(f"EXPLAIN QUERY PLAN {seen[0]}")]
    index = "labels_newest" if "labels" in text else "jobs_newest"
    assert any("COVERING INDEX " + index in step for step in plan), plan
    assert not any(step.startswith(("SCAN jobs", "SCAN labels")) for step in plan)


def test_both_bounds_of_time_are_found_in_the_index(file_rows):
    """A page of last week's jobs passes over neither this week's nor last year's."""
    seen = []
    file_rows.db.set_trace_callback(seen.append)
    wanted = Filter(since=NOON, before=NOON + SECOND)
    pages.read(file_rows.db, "acme", wanted, pages.NEWEST, 5)
    file_rows.db.set_trace_callback(None)
    plan = " ".join(row[3] for row in file_rows.db.execute(f"EXPLAIN QUERY PLAN {seen[0]}"))
    assert "create_time>? AND (create_time,job_id)<(?,?)" in plan.replace("expr", "?"), plan


def test_label_that_no_store_takes_is_not_looked_for_and_does_not_stop_its_job(ledger_rows):
    """PostgreSQL has no NUL in a text; the job keeps the label, and others find it."""
    labels = (("bad", "a\x00b"), ("good", "yes"))
    ledger_rows.admit(intent(1, labels=labels))
    assert ledger_rows.all("SELECT key, value FROM labels") == [("good", "yes")]
    assert listed(ledger_rows.db, parse("labels.good = yes"), 5) == ["job-1"]


WANTED = parse("state = FAILED")
END = (NOON, "job-1")
TOKEN = pages.token("acme", WANTED, END)


def test_token_leads_back_to_its_position():
    """For the same tenant and the same filter, however that is spelled."""
    assert pages.position(TOKEN, "acme", parse("  state  =  'FAILED'")) == END
    assert pages.position("", "acme", WANTED) == pages.NEWEST
    assert len(pages.token("t" * 63, WANTED, (2**62, "j" * 64))) <= 512


def _forged(*members):
    return urlsafe_b64encode(json.dumps(members).encode()).decode()


@pytest.mark.parametrize(
    ("token", "tenant", "wanted"),
    [
        (TOKEN, "globex", WANTED),
        (TOKEN, "acme", Filter()),
        (TOKEN, "acme", parse("state = QUEUED")),
        (TOKEN, "acme", parse("state = FAILED AND labels.team = x")),
        (TOKEN[:-4], "acme", WANTED),
        ("nonsense", "acme", WANTED),
        ("ä", "acme", WANTED),
        (_forged("acme", WANTED.digest(), 10**400, "job-1"), "acme", WANTED),
        (_forged("acme", WANTED.digest(), 1.5, "job-1"), "acme", WANTED),
        (_forged("acme", WANTED.digest(), {}, "job-1"), "acme", WANTED),
        (_forged("acme", WANTED.digest(), NOON, None), "acme", WANTED),
        (_forged("acme", WANTED.digest(), NOON, "\x00"), "acme", WANTED),
        (_forged("acme", WANTED.digest(), NOON), "acme", WANTED),
        (_forged(["acme"], WANTED.digest(), NOON, "job-1"), "acme", WANTED),
        (urlsafe_b64encode(b"{}").decode(), "acme", WANTED),
        (urlsafe_b64encode(b"7").decode(), "acme", WANTED),
    ],
)
def test_token_of_another_list_is_refused(token, tenant, wanted):
    """Another tenant's, another filter's, or one that was never given out."""
    with pytest.raises(InvalidRequest) as refused:
        pages.position(token, tenant, wanted)
    assert [violation.path for violation in refused.value.violations] == ["page_token"]


@settings(deadline=None)
@given(
    st.text(min_size=1, max_size=512)
    | st.binary(max_size=300).map(lambda b: urlsafe_b64encode(b).decode())
)
def test_no_token_breaks_anything(token):
    """Whatever stands in it."""
    try:
        position = pages.position(token, "acme", WANTED)
    except InvalidRequest:
        return
    assert token == "" or position == pages.position(token, "acme", WANTED)
