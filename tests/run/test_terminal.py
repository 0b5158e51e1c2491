"""Real processes whose output nobody reads, or that are asked to leave while they begin: a code and no stack trace."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from mtlfn.run import terminal
from tests.run.test_run import result


@pytest.fixture
def command(bert, data, warm, tmp_path) -> list[str]:
    flags = {"backbone": bert, "data_dir": data, "cache_dir": warm, "output_dir": tmp_path / "run"}
    flags |= {"tasks": "bc5cdr_disease,ddi", "budget_tokens": 500, "micro_batch_tokens": 64, "threads": 1}
    given = [part for name, value in flags.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "mtlfn.experiments.s3b", *given, "--skip-smoke-test"]


def shell(line: str, command: list[str]) -> subprocess.CompletedProcess:
    """``line`` in a shell with the command as its arguments."""
    return subprocess.run(["bash", "-c", line, "bash", *command], capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_reader_that_leaves_does_not_end_a_training(command, tmp_path):
    ended = shell('"$@" | head -2; exit ${PIPESTATUS[0]}', command)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    assert len(ended.stdout.splitlines()) == 2
    assert result(tmp_path / "run")["tokens"]["total"] == 500
    assert result(tmp_path / "run")["digest"] in (tmp_path / "run" / "train.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["<&- >&- 2>&-", ">/dev/full"])
def test_a_training_without_an_output_goes_on_in_its_log(command, tmp_path, redirection):
    ended = shell(f'"$@" {redirection}', command)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ended.stderr == ""
    assert result(tmp_path / "run")["digest"] in (tmp_path / "run" / "train.log").read_text()


@pytest.mark.parametrize("buffered", [True, False])
def test_help_need_not_be_read(command, buffered):
    given = [command[0], *([] if buffered else ["-u"]), *command[1:3], "--help"]
    ended = shell('"$@" | true', given)
    assert ended.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_can_be_stopped_before_it_trains(command, number):
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *command[3:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert said == "mtlfn: stopped; what was saved stands, and the same command goes on from it\n"


def test_an_interrupt_that_a_library_swallows_comes_again():
    process = subprocess.Popen([sys.executable, "-c", SWALLOWING], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "hashing\n"
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert rest == "swallowed\n"


def test_an_interrupt_that_follows_another_at_once_is_the_same(monkeypatch):
    """torchrun hands on what its terminal has sent to all; and what is swallowed comes again all the same."""
    monkeypatch.setattr(terminal, "AGAIN", 1.0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
    try:
        with terminal.interruptible():
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                time.sleep(5)
    finally:
        signal.signal(signal.SIGINT, before)


# A command in which a library catches everything, once, and then goes on for long.
SWALLOWING = """
import signal, sys, time
from mtlfn.run import terminal

signal.signal(signal.SIGINT, signal.default_int_handler)
terminal.AGAIN = 1.0

def work():
    try:
        print("hashing", flush=True)
        time.sleep(60)
    except BaseException:
        print("swallowed", flush=True)
    time.sleep(60)
    return 0

from mtlfn.run.commands.guard import guarded
sys.exit(guarded(work))
"""

# The experiment, with reading that takes long.
SLOW = """
import signal, sys, time
from mtlfn.data import sources

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it

def slow(*_, **__):
    print("reading", flush=True)
    time.sleep(60)

sources.resolve = slow
from mtlfn.run.commands.command import main
sys.exit(main("s3b", "A test.", sys.argv[1:]))
"""
