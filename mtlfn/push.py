"""``python -m mtlfn.push RUN --task T --to NAME``: an export, shared on the Hugging Face Hub."""

import sys

from mtlfn.run.commands.command import push

if __name__ == "__main__":
    sys.exit(push())
