"""Decisions in the ledger: kept once, bounded, and found by what is asked for."""

import pytest

from ims_gateway.jobs.decisions import NEWEST, Kept, Wanted, keep, read

EVERYTHING = Wanted()


def kept(number, **changes):
    """Return a decision, with changes."""
    members = {
        "decision_id": f"d-{number}",
        "tenant": "acme",
        "principal": "principal/farm",
        "code": "OK",
        "reason": "",
        "differs": 0,
        "record": f"record {number}",
        **changes,
    }
    return Kept(**members)


def write(rows, *decisions, most=10_000):
    """Keep decisions in one transaction."""
    with rows.transaction() as db:
        keep(db, decisions, most)


def pages(rows, wanted=EVERYTHING, count=10, window=5_000):
    """Return the records of every page."""
    found, before = [], NEWEST
    while before is not None:
        page = read(rows.db, wanted, before, count, window=window)
        found.append([*page.records])
        before = page.end
    return found


@pytest.mark.parametrize("count", [1, 7, 8, 63, 64, 200])
def test_what_is_kept_is_found_newest_first(ledger_rows, count):
    """Whatever the size of a batch."""
    write(ledger_rows, *(kept(number) for number in range(count)))
    found = [record for page in pages(ledger_rows, count=50) for record in page]

    assert found == [f"record {number}" for number in reversed(range(count))]


def test_a_decision_that_is_kept_again_is_changed_and_stays_one(ledger_rows):
    """An aggregate grows; and a batch whose commit was not answered comes twice."""
    write(ledger_rows, kept(1), kept(2))
    write(ledger_rows, kept(1, record="grown"), kept(3))

    assert pages(ledger_rows) == [["record 3", "record 2", "grown"]]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Wanted(decision_id="d-2"), [2]),
        (Wanted(decision_id="d-9"), []),
        (Wanted(decision_id="d-2", tenant="globex"), []),
        (Wanted(tenant="globex"), [4]),
        (Wanted(principal="principal/other"), [3]),
        (Wanted(code="NOT_FOUND"), [2, 1]),
        (Wanted(code="NOT_FOUND", reason="A"), [1]),
        (Wanted(differs=1), [5]),
        (Wanted(tenant="' OR 1 = 1 --"), []),
    ],
)
def test_a_filter_finds_what_fits_all_of_it(ledger_rows, wanted, numbers):
    """And no more; a value is never a part of the statement."""
    write(
        ledger_rows,
        kept(0),
        kept(1, code="NOT_FOUND", reason="A"),
        kept(2, code="NOT_FOUND", reason="B"),
        kept(3, principal="principal/other"),
        kept(4, tenant="globex"),
        kept(5, differs=1),
    )

    assert pages(ledger_rows, wanted) == [[f"record {number}" for number in numbers]]


@pytest.mark.parametrize("wanted", [EVERYTHING, Wanted(tenant="acme"), Wanted(code="OK")])
def test_pages_hold_everything_once(ledger_rows, wanted):
    """Also while more is kept."""
    write(ledger_rows, *(kept(number) for number in range(25)))
    first = read(ledger_rows.db, wanted, NEWEST, 10)
    write(ledger_rows, kept(99))
    second = read(ledger_rows.db, wanted, first.end, 10)
    third = read(ledger_rows.db, wanted, second.end, 10)

    assert third.end is None
    assert [*first.records, *second.records, *third.records] == [
        f"record {number}" for number in reversed(range(25))
    ]


def test_a_filter_that_hardly_anything_fits_looks_at_a_window_for_one_page(ledger_rows):
    """Pages may be empty, and lead on."""
    write(ledger_rows, kept(0, reason="RARE"), *(kept(number) for number in range(1, 100)))
    found = pages(ledger_rows, Wanted(reason="RARE"), window=30)

    assert [page for page in found if page] == [["record 0"]]
    assert len(found) == 4


def test_the_oldest_make_room(ledger_rows):
    """A bound that was lowered is come to in steps."""
    write(ledger_rows, *(kept(number) for number in range(500)))
    for number in range(500, 520):
        write(ledger_rows, kept(number), most=50)
    (left,) = pages(ledger_rows, count=1000)

    assert left == [f"record {number}" for number in reversed(range(470, 520))]


def test_no_transaction_deletes_many(ledger_rows):
    """Others wait for it."""
    write(ledger_rows, *(kept(number) for number in range(1_000)))
    write(ledger_rows, kept(1_000), most=1)

    assert 800 < sum(map(len, pages(ledger_rows, count=1000))) < 1_000
