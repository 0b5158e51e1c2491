"""Tasks and their data: readers, sources, tokenised store, sampler, stream and metrics."""
