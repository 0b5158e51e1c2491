"""``mtlfn completion SHELL``: what a shell completes. See ``mtlfn.analysis.completion``."""

import sys

from mtlfn.__main__ import COMMANDS, names
from mtlfn.analysis.completion import completion

if __name__ == "__main__":
    sys.exit(completion({name: COMMANDS[name][1] for name in names()}))
