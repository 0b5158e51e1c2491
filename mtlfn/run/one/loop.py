"""A run from its command to its result: prepare, resume or start, step until finished, evaluate, export."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mtlfn.run import documents
from mtlfn.run.config import Config, task_names
from mtlfn.run.errors import OK, UsageError
from mtlfn.run.machine import cublas, deadline, memory
from mtlfn.run.machine.processes import ALONE, Processes
from mtlfn.run.one import conclude, directory, matched, start, together
from mtlfn.run.one.directory import Mismatch
from mtlfn.run.one.prepare import Prepared, prepare
from mtlfn.run.storage import archive, checkpoint, ledger, lock
from mtlfn.run.terminal import say, shown
from mtlfn.run.watch import observers


def run(
    strategy: str,
    config: Config,
    command: Sequence[str],
    beside: Path | None = None,
    processes: Processes = ALONE,
) -> int:
    """Trains to the end or to the next stop; returns the exit code.

    Args:
        command: what the user gave, to give again.
        beside: a run that this one will be compared with: it must have the same data and backbone.
        processes: those of the run, of which this is the first; the others follow (run/one/follow.py).

    Raises:
        UsageError, DataError: something that was given cannot be used.
        Mismatch, Stopped, Failed (run/one/directory.py), Busy (run/storage/lock.py): each with its exit code.
    """
    task_names(config)  # before anything is read or written
    limit = deadline.Deadline(deadline.began(), config.max_hours)
    folder = directory.resolve(config, strategy)
    directory.check_settings(folder, config, strategy)
    sized = directory.with_recorded_size(folder, config)
    prepared = together.load_in_turn(partial(load, strategy), sized, processes)
    if beside is not None:
        matched.check(beside, prepared.identity, prepared.model.backbone.settings)
    directory.make(folder)
    with lock.held(folder / lock.LOCK, say):
        prepared = directory.claim(folder, strategy, prepared, command)
        report = observers.Reporter(folder / documents.LOG)
        try:
            if (finished := conclude.finished(folder, report.say)) is not None:
                directory.check_backbone(folder, prepared.model.backbone.settings)
                print(f"mtlfn: this run is finished; its result:\n{finished}\nall of it: {shown(str(folder))}")
                return OK
            return start.run(strategy, prepared, folder, report, command, limit, processes)
        except directory.Failed as error:
            report.log(str(error))
            raise
        except (ledger.Broken, archive.Diverged) as error:
            raise (directory.broken(error) if isinstance(error, ledger.Broken) else Mismatch(str(error))) from None
        except (OSError, checkpoint.Damaged) as error:
            raise directory.stopped(folder, error) from None
        finally:
            report.close()


def load(strategy: str, config: Config) -> Prepared:
    """Everything a run is made of, with deterministic numerics; UsageError where it cannot be loaded."""
    fix_numerics(config)
    from mtlfn.models.backbone import BackboneError

    try:
        return prepare(strategy, config)
    except BackboneError as error:
        raise UsageError(str(error)) from None


def fix_numerics(config: Config) -> None:
    """Deterministic operations, set before any device is touched; and memory that is kept."""
    memory.keep_freed()
    cublas.ask_for_determinism()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch

    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms first loads the compiler: 2 s
    # It costs time, and nothing here reads such memory. (A property that torch adds when it is imported: no type.)
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    with warnings.catch_warnings():  # torch 2.9 says once that these are old names; with the new ones, the old raise
        warnings.simplefilter("ignore")
        torch.get_float32_matmul_precision()
        if torch.cuda.is_available():  # torch's own default is TF32 for convolutions
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = config.tf32
    if config.threads is not None:
        torch.set_num_threads(config.threads)
