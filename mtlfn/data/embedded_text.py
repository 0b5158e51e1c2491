"""From grammar tokens to text: natural spacing, typing errors, and spans that stay where they belong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from mtlfn.data.embedded_draw import chance, pick
from mtlfn.data.task import Example, Span

TIGHT = frozenset(",.;:?!)%”")  # no blank before these
MISSED = 0.04  # share of mentions whose label is lost
CLIPPED = 0.06  # share of mentions of several words that lose their first word
_NEIGHBOURS = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wertyuioposdfghjklkxcvbnmn", strict=True))  # next key


@frozen(kw_only=True)
class Layout:
    """A text with its words and the spans over them.

    Attributes:
        text: natural spacing.
        words: characters of each word; punctuation is a word of its own.
        spans: (label, first word, end word), in the order in which they open; spans may nest.
    """

    text: str
    words: tuple[Span, ...]
    spans: tuple[tuple[str, int, int], ...]


def mistype(word: str, draws: Iterator[float]) -> str:
    """The word with one typing error: two letters swapped, one dropped, one doubled or a wrong key."""
    at = 1 + int(next(draws) * (len(word) - 2))
    kind = pick(draws, ("swap", "drop", "double", "key"))
    if kind == "swap":
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == "drop":
        return word[:at] + word[at + 1 :]
    if kind == "double":
        return word[:at] + word[at] + word[at:]
    return word[:at] + _NEIGHBOURS.get(word[at], "e") + word[at + 1 :]


def is_mark(token: str) -> bool:
    """Whether a token opens or closes a span instead of being text."""
    return token[0] == "[" or token == "]"


def with_typos(tokens: Sequence[str], draws: Iterator[float], share: float) -> list[str]:
    """The tokens, where this share of the lower-case words of five letters or more has a typing error."""
    return [
        mistype(t, draws) if len(t) > 4 and t.isalpha() and t.islower() and chance(draws, share) else t for t in tokens
    ]


def capitalised(tokens: Sequence[str]) -> list[str]:
    """The tokens with a capital letter at the start and after each full stop, question and exclamation mark."""
    out, start = [], True
    for token in tokens:
        if not is_mark(token):
            token, start = (token[:1].upper() + token[1:] if start else token), token in (".", "?", "!")
        out.append(token)
    return out


def layout(tokens: Sequence[str]) -> Layout:
    """Text, words and spans of marked tokens; a span mark ``[Label`` is closed by the next free ``]``."""
    pieces, words, spans, stack, glue, at = [], [], [], [], True, 0
    for token in tokens:
        if token == "]":
            label, first, order = stack.pop()
            spans.append((order, label, first, len(words)))
        elif is_mark(token):
            stack.append((token[1:].replace("_", " "), len(words), len(spans) + len(stack)))
        else:
            if not (glue or token in TIGHT):
                pieces.append(" ")
                at += 1
            pieces.append(token)
            words.append((at, at + len(token)))
            at += len(token)
            glue = token in "(“"
    found = sorted((first, order, label, end) for order, label, first, end in spans if end > first)
    return Layout(text="".join(pieces), words=tuple(words), spans=tuple((label, a, b) for a, _, label, b in found))


def noisy_spans(spans: Sequence[tuple[str, int, int]], draws: Iterator[float]) -> list[tuple[str, int, int]]:
    """The spans as a hurried annotator leaves them: some missed, some clipped (``MISSED``, ``CLIPPED``)."""
    kept = []
    for label, a, b in spans:
        if not chance(draws, MISSED):
            kept.append((label, a + (b - a > 1 and chance(draws, CLIPPED)), b))
    return kept


def tagged(id: str, unit: str, laid: Layout, spans: Sequence[tuple[str, int, int]]) -> Example:
    """A tagging example; where spans nest, the inner one gives the tags."""
    tags = ["O"] * len(laid.words)
    for label, a, b in spans:
        tags[a:b] = [f"B-{label}", *[f"I-{label}"] * (b - a - 1)]
    for i, tag in enumerate(tags):  # what an inner span cut off starts anew
        if tag.startswith("I-") and (i == 0 or tags[i - 1][2:] != tag[2:]):
            tags[i] = "B-" + tag[2:]
    return Example(id=id, unit=unit, texts=((laid.text, None),), words=laid.words, tags=tuple(tags))
