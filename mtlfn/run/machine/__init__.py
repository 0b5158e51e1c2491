"""What a run meets in the machine: memory, time, the code, the backbone as it computes here."""
