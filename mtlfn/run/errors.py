"""How a command ends: its exit codes, and the error of who asked for something that cannot be."""

from __future__ import annotations

# Finished; a bug, or a part that failed; wrong usage; the preflight failed; bits or files are not what they were;
# stopped, and the same command goes on.
OK, BUG, USAGE, PREFLIGHT, MISMATCH, RESUMABLE = 0, 1, 2, 3, 4, 75


class UsageError(ValueError):
    """Something the user asked for that cannot be; the message names the flag, what was found and what to do."""
