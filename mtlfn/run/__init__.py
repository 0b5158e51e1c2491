"""The shell around the core: the only rooms with clocks, disks, signals and devices."""
