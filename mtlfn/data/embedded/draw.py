"""Chance and grammar of the embedded corpus: a document's numbers come from its name, its words from a rule book.

A rule book is text, one rule a line, ``name: alternative | 3* alternative`` (``3*`` weighs an alternative; an
indented line continues the rule above). In an alternative ``<rule>`` is expanded, ``<rule?>`` every second time,
``<#2-9>`` is a whole number, and ``[Label`` ... ``]`` mark a mention. A rule written ``name+:`` is an open lexicon:
every third entry is held out, that is, never drawn for a training document.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import accumulate
from typing import TypeVar

import numpy as np
from attrs import frozen

VERSION = "2"  # any change of a word, weight or rule changes the corpus: count this up with it
HELD_OUT_EVERY = 3

T = TypeVar("T")
_SLOT = re.compile(r"<(#?[\w.-]+)(\??)>")
_ONE_SLOT = r"<#?[\w.-]+\??>"
_WEIGHT = re.compile(r"(\d+)\* +")


def stream(*names: str | int) -> Iterator[float]:
    """Endless uniform numbers in [0, 1), a pure function of the corpus version and these names."""
    digest = sha256("/".join(map(str, (VERSION, *names))).encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))
    while True:
        yield from generator.random(128).tolist()


def chance(draws: Iterator[float], share: float) -> bool:
    """True in this share of the draws."""
    return next(draws) < share


def pick(draws: Iterator[float], items: Sequence[T]) -> T:
    """One of the items, each as likely."""
    return items[int(next(draws) * len(items))]


def shuffled(draws: Iterator[float], items: Sequence[T]) -> list[T]:
    """The items in another order."""
    keys = [next(draws) for _ in items]
    return [items[i] for i in sorted(range(len(items)), key=keys.__getitem__)]


@frozen(kw_only=True)
class Slot:
    """What an alternative leaves open.

    Attributes:
        rule: the rule to expand, "" for a number.
        optional: whether the rule is left out every second time.
        low, span: the smallest number and how many there are from there.
    """

    rule: str = ""
    optional: bool = False
    low: int = 0
    span: int = 0


Part = str | Slot | tuple  # a word or mark, a slot, or a word with slots inside, as a tuple of the former two
Weighted = tuple[tuple[tuple[Part, ...], ...], tuple[float, ...]]  # alternatives, running sums of their weights


@frozen
class Rule:
    """Alternatives of one symbol: all of them (``every``) and those that are not held out (``known``)."""

    every: Weighted
    known: Weighted


def _parse(token: str) -> Part:
    """A word or span mark as it is; what holds slots as pieces."""
    whole = _SLOT.fullmatch(token)
    if whole:
        name, optional = whole.groups()
        if not name.startswith("#"):
            return Slot(rule=name, optional=bool(optional))
        low, high = map(int, name[1:].split("-"))
        return Slot(low=low, span=high - low + 1)
    if "<" not in token:
        return token
    return tuple(_parse(piece) for piece in re.split(f"({_ONE_SLOT})", token) if piece)


def _rule(text: str, is_open: bool) -> Rule:
    weighted = []
    for alternative in text.split("|"):
        body = alternative.strip()
        weight = _WEIGHT.match(body)
        tokens = body[weight.end() if weight else 0 :].split()
        weighted.append((tuple(map(_parse, tokens)), float(weight[1]) if weight else 1.0))
    known = [w for i, w in enumerate(weighted) if not (is_open and i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1)]
    every, training = ((tuple(t for t, _ in ws), tuple(accumulate(w for _, w in ws))) for ws in (weighted, known))
    return Rule(every=every, known=training)


def grammar(*books: str) -> dict[str, Rule]:
    """The rules of one or more rule books; a later book may use the rules of an earlier one.

    Raises:
        ValueError: a rule is defined twice, or an alternative names a rule that does not exist.
    """
    lines: list[str] = []
    for line in "\n".join(books).splitlines():
        if line.startswith(" ") and lines:
            lines[-1] += " " + line.strip()
        elif line.strip():
            lines.append(line.strip())
    rules: dict[str, Rule] = {}
    for line in lines:
        name, _, body = line.partition(":")
        if name.rstrip("+") in rules:
            raise ValueError(f"rule {name} is defined twice, expected once: rename one")
        rules[name.rstrip("+")] = _rule(body, name.endswith("+"))
    for name, rule in rules.items():
        for slot in _slots(rule.every[0]):
            if slot.rule and slot.rule not in rules:
                raise ValueError(f"rule {name} uses <{slot.rule}>, which no rule book defines")
    return rules


def _slots(parts: tuple) -> Iterator[Slot]:
    for part in parts:
        if isinstance(part, Slot):
            yield part
        elif isinstance(part, tuple):
            yield from _slots(part)


def expand(rules: Mapping[str, Rule], symbol: str, draws: Iterator[float], unseen: bool) -> list[str]:
    """Tokens of one random expansion: words, punctuation, and the span marks ``[Label`` and ``]``.

    Args:
        rules: of :func:`grammar`.
        symbol: the rule to start from.
        draws: numbers of the document.
        unseen: whether held-out entries may be drawn.
    """
    alternatives, bounds = rules[symbol].every if unseen else rules[symbol].known
    at = min(bisect_right(bounds, next(draws) * bounds[-1]), len(bounds) - 1)
    out: list[str] = []
    for part in alternatives[at]:
        if isinstance(part, str):
            out.append(part)
        elif isinstance(part, Slot):
            out += _fill(rules, part, draws, unseen)
        else:  # one word, whatever is put into it
            out.append("".join(p if isinstance(p, str) else " ".join(_fill(rules, p, draws, unseen)) for p in part))
    return out


def _fill(rules: Mapping[str, Rule], slot: Slot, draws: Iterator[float], unseen: bool) -> list[str]:
    if slot.optional and not chance(draws, 0.5):
        return []
    if slot.rule:
        return expand(rules, slot.rule, draws, unseen)
    return [str(slot.low + int(next(draws) * slot.span))]
