"""The SemEval tasks from the organisers' files: a module each."""
