"""One thin module an experiment, each a command: `python -m mtlfn.experiments.<name>`."""
