"""The commands, from their flags to their exit codes."""
