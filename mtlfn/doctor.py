"""``python -m mtlfn.doctor [options of a run]``: would this run go well here? See ``mtlfn.run.one.doctor``."""

import sys

from mtlfn.run.commands.command import doctor

if __name__ == "__main__":
    sys.exit(doctor())
