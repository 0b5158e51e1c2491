"""S1: one private adapter for one task, the single-task baseline."""

import sys

from mtlfn.analysis.command import page
from mtlfn.run.commands.command import main

if __name__ == "__main__":
    sys.exit(main("s1", __doc__ or "", after=page))
