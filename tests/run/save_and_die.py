"""Saves a step into a folder in forked processes, each killed one system call later than the one before.

    python -m tests.run.save_and_die FOLDER

FOLDER/begin is copied for every try to FOLDER/<n>; prints a line for each: n, and the signal that ended it or 0.
"""

import itertools
import os
import shutil
import sys
from pathlib import Path

from mtlfn.run.storage.archive import Place, restore
from tests.run.disks import Killing
from tests.run.test_checkpoint import IDENTITY, at


def main(folder: Path) -> None:
    for n in itertools.count(1):
        target = folder / str(n)
        shutil.copytree(folder / "begin", target)
        child = os.fork()
        if child == 0:
            archive, _ = restore(Place(target, IDENTITY, Killing(n)), at(0), print)
            archive.save(at(3))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(n, os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status), flush=True)
        if not os.WIFSIGNALED(status):
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
