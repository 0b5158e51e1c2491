"""``python -m mtlfn.data check DIR --task NAME``: what a data set holds. See ``mtlfn.run.commands.check``."""

import sys

from mtlfn.run.commands.command import data

if __name__ == "__main__":
    sys.exit(data())
