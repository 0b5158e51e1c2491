"""S3a: a shared adapter and a private one for each task in every layer, PCGrad."""

import sys

from mtlfn.analysis.command import page
from mtlfn.run.commands.command import main

if __name__ == "__main__":
    sys.exit(main("s3a", __doc__ or "", after=page))
