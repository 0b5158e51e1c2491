"""S3b: shared adapter in every layer, level-1 and level-2 adapters below and above the read-out, PCGrad."""

import sys

from mtlfn.analysis.command import page
from mtlfn.run.commands.command import main

if __name__ == "__main__":
    sys.exit(main("s3b", __doc__ or "", after=page))
