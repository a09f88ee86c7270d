"""Every record becomes one line of the decision log, or is counted as lost."""

import json
import os
import subprocess
import sys
import threading

import pytest

from ims_gateway.telemetry.decisions import RECENT, WAITING, DecisionLog


def lines_of(path):
    """Return the log's records."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_record_is_a_line(tmp_path):
    """In order, in UTF-8, and also when texts hold line ends."""
    path = tmp_path / "decisions.jsonl"
    records = [{"job": "视频\n1\u2028"}, {"steps": [{"step": "admit"}]}, {}]
    log = DecisionLog(str(path))
    for record in records:
        log.add(record)
    log.close()

    assert path.read_text(encoding="utf-8").count("\n") == 3
    assert "视频" in path.read_text(encoding="utf-8")
    assert [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]] == records
    assert log.lost == 0


def test_a_log_is_added_to(tmp_path):
    """A restart overwrites nothing."""
    path = tmp_path / "decisions.jsonl"
    for number in range(2):
        log = DecisionLog(str(path))
        log.add({"number": number})
        log.close()

    assert lines_of(path) == [{"number": 0}, {"number": 1}]


def test_close_writes_what_is_queued(tmp_path):
    """All of it."""
    path = tmp_path / "decisions.jsonl"
    log = DecisionLog(str(path))
    for number in range(5000):
        log.add({"number": number})
    log.close()

    assert [record["number"] for record in lines_of(path)] == list(range(5000))


def test_recent_records_are_kept_with_or_without_a_sink():
    """A bounded number of them."""
    log = DecisionLog("")
    for number in range(RECENT + 10):
        log.add({"number": number})
    log.close()

    assert [record["number"] for record in log.recent] == list(range(10, RECENT + 10))


def test_what_does_not_fit_is_counted_and_the_count_is_written(tmp_path):
    """A slow disk slows no call: here it is a pipe that nobody reads from."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    log = DecisionLog(str(path))
    count = WAITING * 3
    for number in range(count):
        log.add({"number": number, "text": "x" * 100})
    lost = log.lost
    closing = threading.Thread(target=log.close)
    closing.start()
    with os.fdopen(reading, "rb") as pipe:
        lines = [json.loads(line) for line in pipe.read().splitlines()]
    closing.join()
    written = [line["number"] for line in lines if "number" in line]

    assert lost > 0
    assert log.lost == lost
    assert sum(line.get("lost_records", 0) for line in lines) == lost
    assert len(written) + lost == count
    assert written == sorted(written)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is always full")  # noqa: PTH110 - no path is read
def test_a_full_disk_is_counted_and_ends_no_thread():
    """What cannot be written is lost, and the log still closes."""
    log = DecisionLog("/dev/full")
    for number in range(WAITING + 100):
        log.add({"number": number})
    log.close()

    assert log.lost > 0


@pytest.mark.parametrize("sink", ["no/such/folder/decisions.jsonl", "."])
def test_a_log_that_cannot_be_opened_stops_the_start(tmp_path, sink):
    """A gateway that records nothing must not look like one that does."""
    with pytest.raises(OSError, match=r"No such file|Is a directory"):
        DecisionLog(str(tmp_path / sink))


def test_standard_output_is_a_sink_and_stays_open():
    """What the process prints itself comes through beside it."""
    program = (
        "from ims_gateway.telemetry.decisions import DecisionLog\n"
        "log = DecisionLog('-')\n"
        "log.add({'number': 1})\n"
        "log.close()\n"
        "print('still open')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == ['{"number":1}', "still open"]
    assert done.stderr == ""
