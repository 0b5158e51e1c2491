"""``python -m mtlfn.verdict RUN…``: transfer, or more text? See ``mtlfn.analysis.statistics.verdict``."""

import sys

from mtlfn.analysis.command import verdict

if __name__ == "__main__":
    sys.exit(verdict())
