"""A whole comparison from one file: multi-task runs, their single-task controls, the exclusion control, the verdict."""

import sys

from mtlfn.analysis.command import study

if __name__ == "__main__":
    sys.exit(study(__doc__ or ""))
