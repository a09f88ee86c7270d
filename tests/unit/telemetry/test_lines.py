"""Lines arrive whole, whatever the sink is and whoever else writes to it."""

import os
import stat
import subprocess
import sys

import pytest

from ims_gateway.telemetry.lines import opened

BIG = 10**9


def a_file(path, max_bytes=BIG, files=3):
    """Open a file."""
    return opened(str(path), max_bytes, files)


def test_a_file_is_added_to(tmp_path):
    """A restart overwrites nothing."""
    path = tmp_path / "log"
    for number in range(2):
        sink = a_file(path)
        sink.write([b"%d\n" % number])
        sink.close()

    assert path.read_bytes() == b"0\n1\n"


def test_a_file_is_not_for_everybody(tmp_path):
    """It says who did what."""
    a_file(tmp_path / "log").close()

    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) & 0o007 == 0


def test_a_full_file_makes_room_for_the_next(tmp_path):
    """Only so many are kept, the latest has no number, and no line is split."""
    path = tmp_path / "log"
    sink = a_file(path, max_bytes=10)
    for number in range(8):
        sink.write([b"line%d\n" % number])
    sink.close()

    assert path.read_bytes() == b"line7\n"
    assert (tmp_path / "log.1").read_bytes() == b"line6\n"
    assert (tmp_path / "log.2").read_bytes() == b"line5\n"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_line_longer_than_a_file_has_one_to_itself(tmp_path):
    """It is written all the same, and once."""
    path = tmp_path / "log"
    sink = a_file(path, max_bytes=4)
    sink.write([b"a long line\n"])
    sink.write([b"x\n"])
    sink.close()

    assert (path.read_bytes(), (tmp_path / "log.1").read_bytes()) == (b"x\n", b"a long line\n")


def test_a_file_that_others_moved_away_is_noticed(tmp_path):
    """What logrotate does."""
    path = tmp_path / "log"
    sink = a_file(path, max_bytes=0)
    sink.write([b"1\n"])
    path.rename(tmp_path / "away")
    sink.write([b"2\n"])
    path.unlink()
    sink.write([b"3\n"])
    sink.close()

    assert (tmp_path / "away").read_bytes() == b"1\n"
    assert path.read_bytes() == b"3\n"


def test_a_log_that_cannot_be_opened_anew_lets_go_of_nothing_else(tmp_path):
    """A number that is closed is somebody else's next: a caller's connection, or the ledger."""
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = a_file(folder / "log")
    sink.write([b"1\n"])
    folder.rename(tmp_path / "away")
    others = []
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            sink.write([b"lost\n"])
        others.append((tmp_path / "others").open("ab"))
    for other in others:
        other.write(b"o")
        other.close()
    folder.mkdir()
    sink.write([b"2\n"])
    sink.close()

    assert (folder / "log").read_bytes() == b"2\n"
    assert (tmp_path / "away" / "log").read_bytes() == b"1\n"
    assert (tmp_path / "others").read_bytes() == b"ooo"


def test_processes_that_share_a_file_tear_no_line_and_lose_none(tmp_path):
    """They rotate it under each other's hands, and every line is in one of the files, once."""
    path, count = tmp_path / "log", 400
    program = (
        "import sys\n"
        "from ims_gateway.telemetry.lines import opened\n"
        f"sink = opened({str(path)!r}, 20_000, 1000)\n"
        f"for number in range({count}):\n"
        "    line = b'%s %d %s\\n' % (sys.argv[1].encode(), number, b'x' * (number % 300))\n"
        "    sink.write([line] * 2)\n"
        "sink.close()\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, name]) for name in "abc"]
    assert [process.wait() for process in processes] == [0, 0, 0]
    lines = [line for file in tmp_path.iterdir() for line in file.read_bytes().splitlines()]
    told = [tuple(line.split(b" ")[:2]) for line in lines]

    assert len(list(tmp_path.iterdir())) > 5
    assert all(len(line.split(b" ")[2]) == int(line.split(b" ")[1]) % 300 for line in lines)
    written = [(name, b"%d" % number) for name in (b"a", b"b", b"c") for number in range(count)]
    assert sorted(told) == sorted(written * 2)


def test_workers_that_share_standard_output_tear_no_line():
    """However long it is: what a pipe keeps together by itself is 4096 bytes."""
    program = (
        "import sys\n"
        "from ims_gateway.telemetry.lines import opened\n"
        "sink = opened('-', 0, 3)\n"
        "for number in range(100):\n"
        "    sink.write([sys.argv[1].encode() * (number * 300) + b'\\n'])\n"
    )
    reading, writing = os.pipe()
    processes = [
        subprocess.Popen([sys.executable, "-c", program, name], stdout=writing) for name in "abc"
    ]
    os.close(writing)
    # Little by little: the pipe is full, and whoever writes has to wait in the middle of a line.
    lines = b"".join(iter(lambda: os.read(reading, 1000), b"")).splitlines()
    os.close(reading)
    assert [process.wait() for process in processes] == [0, 0, 0]

    assert all(len(set(line)) <= 1 for line in lines)
    assert sorted(map(len, lines)) == sorted(number * 300 for number in range(100) for _ in "abc")


@pytest.mark.parametrize("sink", ["no/such/folder/log", "."])
def test_a_file_that_cannot_be_opened_stops_the_start(tmp_path, sink):
    """A gateway that records nothing must not look like one that does."""
    with pytest.raises(OSError, match=r"No such file|Is a directory"):
        a_file(tmp_path / sink)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is always full")  # noqa: PTH110 - no path is read
def test_a_full_disk_is_an_error_of_the_one_write():
    """Whoever writes counts it."""
    sink = a_file("/dev/full")
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            sink.write([b"line\n"])
    sink.close()


def test_half_a_line_is_taken_back(tmp_path):
    """A file that may grow no further keeps its last whole line."""
    path = tmp_path / "log"
    program = (
        "import resource, signal\n"
        "from ims_gateway.telemetry.lines import opened\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        f"sink = opened({str(path)!r}, 0, 3)\n"
        "sink.write([b'line1\\n'])\n"
        "try:\n"
        "    sink.write([b'line2\\n'])\n"
        "except OSError:\n"
        "    sink.write([b'3\\n'])\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)

    assert path.read_bytes() == b"line1\n3\n"


def test_a_pipe_that_nobody_reads_from_any_more_is_an_error(tmp_path):
    """And not the end of the process."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = a_file(path)
    sink.write([b"1\n", b"2\n"])
    assert os.read(reading, 100) == b"1\n2\n"
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        sink.write([b"3\n"])
    sink.close()


def test_a_line_that_was_torn_spoils_the_next_one_not(tmp_path):
    """A reader that goes on after a break finds whole lines after half of one."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = a_file(path)
    os.set_blocking(sink._descriptor, False)
    with pytest.raises(BlockingIOError):
        sink.write([b"x" * 1_000_000 + b"\n"])
    while True:
        try:
            os.read(reading, 1_000_000)
        except BlockingIOError:
            break
    sink.write([b"whole\n"])
    assert os.read(reading, 100) == b"\nwhole\n"
    sink.write([b"next\n"])
    assert os.read(reading, 100) == b"next\n"
    sink.close()
    os.close(reading)


def test_standard_output_is_a_sink_and_stays_open():
    """What the process prints itself comes through beside it."""
    program = (
        "from ims_gateway.telemetry.lines import opened\n"
        "sink = opened('-', 0, 3)\n"
        "sink.write([b'1\\n'])\n"
        "sink.close()\n"
        "print('still open')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == ["1", "still open"]
    assert done.stderr == ""
