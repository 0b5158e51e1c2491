"""One run: from its settings to its result, and back again."""
