"""From grammar tokens to text: natural spacing, typing errors, and mentions that stay where they belong.

``[Label`` opens a mention and ``]`` closes it. ``[+`` opens a group, in which a label that holds a digit names one
mention: the same label again is another piece of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs
from attrs import frozen

from mtlfn.data.embedded.draw import chance, pick
from mtlfn.data.example import Span

Fresh = Callable[..., bool]  # texts -> whether no earlier document has one of them; from then on, this one has

GROUP = "+"
TIGHT = frozenset(",.;:?!)%”")  # no blank before these
MISSED = 0.04  # share of mentions whose label is lost
CLIPPED = 0.06  # share of mentions of several words that lose their first word
_NEIGHBOURS = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wertyuioposdfghjklkxcvbnmn", strict=True))  # next key


@frozen(kw_only=True)
class Layout:
    """A text with its words and the spans over them.

    Attributes:
        text: natural spacing; a token "\\n" is a line break.
        words: characters of each word; punctuation is a word of its own.
        spans: (label, first word, end word), in the order in which they open; spans may nest.
    """

    text: str
    words: tuple[Span, ...]
    spans: tuple[tuple[str, int, int], ...]


@frozen(kw_only=True)
class Marked:
    """A mention that the grammar marks.

    Attributes:
        label: of its mark.
        group: words of the smallest group that it is in, first and end; all words where it is in none.
        pieces: words, first and end, in order.
    """

    label: str
    group: Span
    pieces: tuple[Span, ...]


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
            stack.append((token[1:], len(words), len(spans) + len(stack)))
        else:
            if not (glue or token in TIGHT or token == "\n"):
                pieces.append(" ")
                at += 1
            pieces.append(token)
            if token != "\n":
                words.append((at, at + len(token)))
            at += len(token)
            glue = token in "(“\n"
    ordered = sorted((first, order, label, end) for order, label, first, end in spans if end > first)
    return Layout(text="".join(pieces), words=tuple(words), spans=tuple((label, a, b) for a, _, label, b in ordered))


def marked(laid: Layout) -> tuple[Marked, ...]:
    """The mentions of a layout, in the order in which they begin; groups themselves are none."""
    every = (0, len(laid.words))
    groups = [every, *((a, b) for label, a, b in laid.spans if label == GROUP)]
    pieces: dict[tuple[str, Span, int], list[Span]] = {}
    for order, (label, a, b) in enumerate(laid.spans):
        if label != GROUP:
            group = min((g for g in groups if g[0] <= a and b <= g[1]), key=lambda g: g[1] - g[0])
            # A name with a digit is that of one mention of its group.
            own = -1 if any(c.isdigit() for c in label) else order
            pieces.setdefault((label, group, own), []).append((a, b))
    return tuple(Marked(label=label, group=group, pieces=_joined(p)) for (label, group, _), p in pieces.items())


def _joined(pieces: Sequence[Span]) -> tuple[Span, ...]:
    """The pieces in order; those with no word between them are one."""
    out: list[Span] = []
    for a, b in sorted(pieces):
        if out and out[-1][1] == a:
            a = out.pop()[0]
        out.append((a, b))
    return tuple(out)


def characters(laid: Layout, pieces: Sequence[Span], at: int = 0) -> tuple[Span, ...]:
    """Pieces in words as pieces in characters, where the layout begins at this character."""
    return tuple((at + laid.words[a][0], at + laid.words[b - 1][1]) for a, b in pieces)


def noisy(mentions: Sequence[Marked], draws: Iterator[float]) -> list[Marked]:
    """The mentions as a hurried annotator leaves them: some missed, some clipped (``MISSED``, ``CLIPPED``)."""
    annotated = []
    for mention in mentions:
        if chance(draws, MISSED):
            continue
        (a, b), *others = mention.pieces
        if (b - a > 1 or others) and chance(draws, CLIPPED):
            mention = attrs.evolve(mention, pieces=(((a + 1, b),) if b - a > 1 else ()) + tuple(others))
        annotated.append(mention)
    return annotated
