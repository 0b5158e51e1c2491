"""One writer a run, also where the file system knows no locks."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading

import pytest

from mtlfn.run.storage import lock


@pytest.fixture
def without_locks(monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)


def test_one_writer_at_a_time(tmp_path):
    with (
        lock.held(tmp_path / "lock", print),
        pytest.raises(lock.Busy, match="another process is writing"),
        lock.held(tmp_path / "lock", print),
    ):
        pass
    with lock.held(tmp_path / "lock", print):
        assert not (tmp_path / lock.OWNER).exists()


@pytest.mark.usefixtures("without_locks")
def test_a_file_system_without_locks_is_said_and_has_an_owner_file(tmp_path):
    said = []
    with lock.held(tmp_path / "lock", said.append):
        assert "cannot be locked (No locks available)" in said[0]
        assert json.loads((tmp_path / lock.OWNER).read_text())["process"] == os.getpid()
        with pytest.raises(lock.Busy, match=f"process {os.getpid()} on host"), lock.held(tmp_path / "lock", print):
            pass
    assert not (tmp_path / lock.OWNER).exists()


@pytest.mark.usefixtures("without_locks")
def test_the_owner_file_of_a_process_that_is_gone_is_taken_over(tmp_path):
    # Written by a process that ends without a word, as a killed one does.
    written = (
        "import os, json, psutil, pathlib\nfrom mtlfn.run.storage import lock\n"
        f"pathlib.Path({str(tmp_path / lock.OWNER)!r}).write_text(json.dumps(lock._process(psutil.Process())))\n"
    )
    subprocess.run([sys.executable, "-c", written], check=True)
    said = []
    with lock.held(tmp_path / "lock", said.append):
        assert "is gone: taken over" in said[1]
        assert json.loads((tmp_path / lock.OWNER).read_text())["process"] == os.getpid()


GONE = {"process": 2**30, "began": 1.0}  # no process has such a number


@pytest.mark.usefixtures("without_locks")
def test_of_two_that_see_the_owner_gone_at_once_one_takes_over(tmp_path, monkeypatch):
    """The slower one must not take the file of the faster for that of the process that is gone."""
    (tmp_path / lock.OWNER).write_text(json.dumps({**GONE, "host": lock.socket.gethostname()}))
    both, inside, over = threading.Barrier(2), threading.Event(), threading.Event()
    real = lock._alive

    def alive(owner):
        answer = real(owner)
        if owner["process"] == GONE["process"]:
            both.wait(30)
            if threading.current_thread().name == "late":
                inside.wait(30)
        return answer

    monkeypatch.setattr(lock, "_alive", alive)
    ended = {}

    def work():
        name = threading.current_thread().name
        try:
            with lock.held(tmp_path / "lock", lambda line: None):
                if name == "early":
                    inside.set()
                    over.wait(30)
                ended[name] = "wrote"
        except lock.Busy as error:
            ended[name] = str(error)

    threads = [threading.Thread(target=work, name=name) for name in ("early", "late")]
    for thread in threads:
        thread.start()
    threads[1].join(60)
    over.set()
    threads[0].join(60)
    assert ended["early"] == "wrote"
    assert f"process {os.getpid()} on host" in ended["late"]
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.usefixtures("without_locks")
def test_nobody_takes_over_while_another_does(tmp_path):
    (tmp_path / lock.OWNER).write_text(json.dumps({**GONE, "host": lock.socket.gethostname()}))
    claim = tmp_path / f"{lock.OWNER}.tmp-claim"
    claim.touch()
    said = rf"another process is taking this run over; .* If there is none, remove {claim}"
    with pytest.raises(lock.Busy, match=said), lock.held(tmp_path / "lock", print):
        pass
    claim.unlink()
    with lock.held(tmp_path / "lock", print):
        assert not claim.exists()


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize("owner", [{"host": "elsewhere", "process": 1, "began": 0.0}, {}, [], None])
def test_a_process_that_cannot_be_seen_is_believed_and_the_file_named(tmp_path, owner):
    path = tmp_path / lock.OWNER
    path.write_text("half of" if owner is None else json.dumps(owner))
    with pytest.raises(lock.Busy, match=r"If it is gone, remove that file"), lock.held(tmp_path / "lock", print):
        pass
    assert path.exists()
