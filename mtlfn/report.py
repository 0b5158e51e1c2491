"""``python -m mtlfn.report STUDY``: the verdict and all that it rests on, as a page. See
``mtlfn.analysis.reporting.report``.
"""

import sys

from mtlfn.analysis.command import report

if __name__ == "__main__":
    sys.exit(report())
