"""``python -m mtlfn.replay RUN``: does the run repeat? See ``mtlfn.run.one.replay``."""

import sys

from mtlfn.run.commands.command import replay

if __name__ == "__main__":
    sys.exit(replay())
