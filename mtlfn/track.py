"""``python -m mtlfn.track RUN --to tensorboard,wandb``: a run or study, followed by trackers."""

import sys

from mtlfn.run.commands.command import track

if __name__ == "__main__":
    sys.exit(track())
