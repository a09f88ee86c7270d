"""Every call becomes a record that is written, kept, or counted as lost."""

import json
import threading

from google.rpc import code_pb2

from ims_gateway.telemetry.decisions import AT_ONCE, WAITING, DecisionLog
from ims_gateway.telemetry.floods import SINGLE, WINDOW_SECONDS
from tests.calls import a_call


class Written:
    """A sink that keeps what it gets. It can be made to wait, and to fail."""

    def __init__(self):
        self.lines = []
        self.writes = 0
        self.fails = False
        self.open = True
        self.go_on = threading.Event()
        self.go_on.set()

    def write(self, lines):
        """Take lines."""
        self.go_on.wait()
        self.writes += 1
        if self.fails:
            raise OSError("no space left on device")
        self.lines += lines

    def close(self):
        """Note that it was closed."""
        self.open = False

    @property
    def records(self):
        """What the lines say."""
        return [json.loads(line) for line in self.lines]


def ended(code=code_pb2.OK, reason="", **members):
    """Return a call that has ended."""
    call = a_call(**members)
    call.end(code, reason)
    return call


def test_a_record_is_a_line():
    """In order, in UTF-8, and also when texts hold line ends."""
    sink = Written()
    log = DecisionLog(sink)
    for number in range(AT_ONCE * 3):
        log.add(ended(id=str(number), job="视频\n1\u2028"))
    log.close()

    assert [record["decision_id"] for record in sink.records] == list(map(str, range(AT_ONCE * 3)))
    assert {record["job"] for record in sink.records} == {"视频\n1\u2028"}
    assert "视频".encode() in sink.lines[0]
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in sink.lines)
    assert (log.lost, sink.open) == (0, False)


def test_a_text_that_is_no_unicode_is_written_as_the_escape_that_it_is():
    """Half a surrogate pair, wherever it may come from."""
    sink = Written()
    log = DecisionLog(sink)
    log.add(ended(job="\ud800"))
    log.close()

    assert sink.records[0]["job"] == "\ud800"


def test_records_are_kept_with_or_without_a_sink():
    """The ledger's are none of the log's business."""
    kept = []
    log = DecisionLog(None, kept.append)
    log.add(ended(id="d-7"))
    log.flush()
    log.close()

    assert [record.facts["decision_id"] for record in kept] == ["d-7"]
    assert json.loads(kept[0].line) == kept[0].facts


def test_what_does_not_fit_is_counted_and_the_count_is_written():
    """A slow disk slows no call: here it is one that stands still."""
    sink = Written()
    sink.go_on.clear()
    log = DecisionLog(sink)
    count = WAITING * 2
    for number in range(count):
        log.add(ended(id=str(number)))
    lost = log.lost
    sink.go_on.set()
    log.close()
    written = [record["decision_id"] for record in sink.records if "decision_id" in record]

    assert 0 < lost == log.lost
    assert sum(record.get("lost_records", 0) for record in sink.records) == lost
    assert len(written) + lost == count
    assert written == sorted(written, key=int)


def test_what_cannot_be_written_is_counted_and_ends_no_thread():
    """A disk that is full may have room again, and then the gap is told."""
    sink = Written()
    log = DecisionLog(sink)
    sink.fails = True
    for number in range(5):
        log.add(ended(id=str(number)))
    log.flush()
    assert log.lost == 5

    sink.fails = False
    log.add(ended(id="d-6"))
    log.close()
    assert sink.records[0]["decision_id"] == "d-6"
    assert sink.records[1] == {"lost_records": 5}


def test_many_lines_are_one_write():
    """A file's lock is taken once for them."""
    sink = Written()
    sink.go_on.clear()
    log = DecisionLog(sink)
    for _ in range(AT_ONCE * 2):
        log.add(ended())
    sink.go_on.set()
    log.close()

    assert sink.writes <= 4


def test_a_flood_is_a_few_lines_and_an_aggregate_that_is_kept_while_it_grows():
    """Its line is written when it is over; the ledger has it before, under the id callers got."""
    sink, kept, now = Written(), {}, [0.0]
    log = DecisionLog(
        sink,
        lambda record: kept.__setitem__(record.facts["decision_id"], record.facts),
        lambda: now[0],
    )
    calls = [
        ended(code_pb2.PERMISSION_DENIED, "POLICY_DENIED", id=str(number), time=100.0 + number)
        for number in range(1_000)
    ]
    for call in calls[:500]:
        log.add(call)
    log.tick()
    assert all(call.id in kept for call in calls[:500])
    assert kept[calls[499].id]["count"] == 500 - SINGLE
    for call in calls[500:]:
        log.add(call)
    log.tick()
    log.flush()
    assert len(sink.lines) == SINGLE
    now[0] += WINDOW_SECONDS
    log.tick()
    log.close()

    assert len(sink.records) == SINGLE + 1
    aggregate = sink.records[-1]
    assert {call.id for call in calls[SINGLE:]} == {aggregate["decision_id"]}
    assert kept[aggregate["decision_id"]] == aggregate
    assert (aggregate["count"], aggregate["time"], aggregate["last_time"]) == (
        1_000 - SINGLE,
        100.0 + SINGLE,
        1_099.0,
    )


def test_a_flood_that_is_under_way_is_written_when_the_log_is_closed():
    """A shutdown is no gap."""
    sink = Written()
    log = DecisionLog(sink)
    for _ in range(100):
        log.add(ended(code_pb2.NOT_FOUND, "JOB_NOT_FOUND"))
    log.close()

    assert sum(record["count"] for record in sink.records) == 100
