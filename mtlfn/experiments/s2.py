"""S2: one shared adapter for all tasks, plain gradient sum."""

import sys

from mtlfn.analysis.command import page
from mtlfn.run.commands.command import main

if __name__ == "__main__":
    sys.exit(main("s2", __doc__ or "", after=page))
