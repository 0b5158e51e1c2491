"""The exclusion control: a shared adapter that never saw the excluded tasks, frozen, beside the full run."""

import sys

from mtlfn.run.commands.plan_command import mimic_exclusion

if __name__ == "__main__":
    sys.exit(mimic_exclusion(__doc__ or ""))
