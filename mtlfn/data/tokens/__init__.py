"""From examples to tokens, micro-batches and the stream of a run."""
