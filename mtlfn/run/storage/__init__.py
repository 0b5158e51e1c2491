"""What a run keeps on the disk: checkpoints, ledger, the record of its steps, and their seal."""
