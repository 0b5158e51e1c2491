"""mtlfn: token-controlled multi-task fine-tuning that repeats to the bit."""

__version__ = "0.1.0"
