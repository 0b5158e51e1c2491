"""The corpora that are made here: stand-ins for the SemEval tasks, and planted worlds."""
