"""Whether this is a Kaggle notebook: light to ask, so that the processes that only wait for runs can ask it, too."""

from __future__ import annotations

import os

SIGN = "KAGGLE_KERNEL_RUN_TYPE"  # set in every notebook, interactive or not


def here() -> bool:
    """Whether this process runs in a Kaggle notebook."""
    return SIGN in os.environ
