"""Token accounting in Python ints, and the exact cut of the last batch.

Input tokens are positions with attention_mask = 1, loss tokens are positions (or sequences) that carry a label,
padded slots are positions computed. The three are never mixed up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen


@frozen
class TokenCount:
    """What went through the model: input tokens, labels that entered the loss, slots computed, examples."""

    input: int = 0
    loss: int = 0
    padded: int = 0
    examples: int = 0

    def __add__(self, other: TokenCount) -> TokenCount:
        return TokenCount(
            self.input + other.input, self.loss + other.loss, self.padded + other.padded, self.examples + other.examples
        )


def total(counts: Iterable[TokenCount]) -> TokenCount:
    """The sum of counts."""
    return sum(counts, TokenCount())


def cut(lengths: Sequence[int], budget: int) -> tuple[int, ...]:
    """How many tokens of each sequence are kept so that they sum to ``min(budget, sum(lengths))``.

    Whole sequences go first, in order; the first that does not fit is cut at its end; what follows is dropped (0).
    """
    counts = []
    for length in lengths:
        take = min(length, max(budget, 0))
        counts.append(take)
        budget -= take
    return tuple(counts)
