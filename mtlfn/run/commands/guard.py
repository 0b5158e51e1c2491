"""What surrounds every command: what went wrong becomes one message and an exit code, said by one process."""

from __future__ import annotations

import sys
from collections.abc import Callable

from mtlfn.data.example import DataError
from mtlfn.run import terminal
from mtlfn.run.disk import PASSING
from mtlfn.run.errors import RESUMABLE, USAGE, UsageError
from mtlfn.run.machine import processes

STOPPED = "stopped; what was saved stands, and the same command goes on from it"


def guarded(command: Callable[[], int]) -> int:
    """Runs a command of one process; what the user did wrong becomes one message and an exit code."""
    with terminal.lasting(), terminal.interruptible():
        try:
            if processes.several():
                if processes.rank() > 0:
                    return USAGE  # the first process says why
                raise UsageError("torchrun: this command is of one process; only s2, s3a and s3b take several")
            return command()
        except (Exception, KeyboardInterrupt) as error:
            if (known := _answer(error)) is None:
                raise
            return _complain(*known)


def guarded_together(command: Callable[[processes.Processes], int]) -> int:
    """As ``guarded``, for a command that several processes may take part in: one speaks, all end with one code."""
    if not processes.several():
        return guarded(lambda: command(processes.ALONE))
    with terminal.lasting(), terminal.interruptible(), processes.quiet(processes.rank()):
        try:
            code = processes.run_together(processes.join(), command, _answer, lambda line: _complain(line, 0))
            processes.leave()
            return code
        except processes.Gone as gone:
            return _complain(str(gone), RESUMABLE)
        except KeyboardInterrupt:  # before the processes have met
            return _complain(STOPPED, RESUMABLE)


def _answer(error: BaseException) -> tuple[str, int] | None:
    """What to say of an error, and the exit code; None where it is a bug."""
    if isinstance(error, UsageError | DataError):
        return str(error), USAGE
    if isinstance(error, KeyboardInterrupt):
        return STOPPED, RESUMABLE
    if isinstance(error, OSError) and error.errno in PASSING:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{error.strerror}; free some space or mend the disk, and give the same command again", RESUMABLE
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; mend it, or move it away", USAGE
    if (code := getattr(error, "exit_code", None)) is not None:
        return str(error), code
    said = _exhausted(error) if isinstance(error, Exception) and not isinstance(error, OSError) else None
    return None if said is None else (said, USAGE)


def _exhausted(error: Exception) -> str | None:
    """What to say where memory did not suffice; None where something else happened."""
    if "torch" not in sys.modules:
        return None
    from mtlfn.run.machine import memory

    return memory.exhausted(error)


def _complain(message: str, code: int) -> int:
    print(f"mtlfn: {terminal.shown(message)}", file=sys.stderr)
    return code
