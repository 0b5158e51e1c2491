"""``python -m mtlfn.predict RUN --task NAME --input FILE``: what a trained model says of a file's rows."""

import sys

from mtlfn.run.commands.command import predict

if __name__ == "__main__":
    sys.exit(predict())
