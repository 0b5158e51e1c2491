"""The pure core: no files, no clocks, no global random numbers; it receives the loss as a function."""
