"""Following a run from another process: it reads what the run wrote, and sends it to a tracker."""
