"""``python -m mtlfn.replay RUN``: does the run repeat? See ``mtlfn.run.replay``."""

import sys

from mtlfn.run.command import replay

if __name__ == "__main__":
    sys.exit(replay())
