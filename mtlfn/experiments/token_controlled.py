"""Single-task baselines on exactly as many input tokens as a multi-task run: is its gain more than exposure?"""

import sys

from mtlfn.run.commands.plan_command import token_controlled

if __name__ == "__main__":
    sys.exit(token_controlled(__doc__ or ""))
