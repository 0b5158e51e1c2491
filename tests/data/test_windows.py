"""Documents become windows, tokens, labels and mentions again, and nothing is lost that the head can express."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.data import windows
from mtlfn.data.document import Document, Mention
from mtlfn.data.task import Task
from mtlfn.data.tokens import tokenise
from mtlfn.data.tokens.collate import collate
from mtlfn.data.tokens.store import Corpus, _flatten
from mtlfn.models import backbone
from mtlfn.models.heads import spans as span_head
from tests.tiny import bert, tiny_folder

__all__ = ["bert", "tiny_folder"]
ALPHABET = "ab1.\n ?é-"


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Any text with any mentions: overlapping, nested, discontiguous, crossing lines and sentences, ending in words."""
    text = draw(st.text(ALPHABET, min_size=1, max_size=60))
    places = st.integers(0, len(text) - 1).flatmap(
        lambda a: st.tuples(st.just(a), st.integers(a + 1, min(len(text), a + 12)))
    )
    mentions = draw(st.lists(st.tuples(st.sampled_from("XY"), st.lists(places, min_size=1, max_size=3)), max_size=5))
    made = (Mention(id=str(i), label=label, pieces=tuple(p)) for i, (label, p) in enumerate(mentions))
    return Document(id="d", text=text, mentions=tuple(made))


limits = st.integers(1, 8)


@given(documents(), limits)
def test_windows_are_the_whole_text_in_order(document, limit):
    text = document.text
    found = windows.cut(text, (), limit)
    assert "".join(text[a:b] for a, b in found) == text
    assert all(len(windows.words(text[a:b])) <= limit for a, b in found)
    assert [(a + x, a + y) for a, b in found for x, y in windows.words(text[a:b])] == list(windows.words(text))


@given(documents(), limits)
def test_no_cut_goes_through_what_is_kept(document, limit):
    keep = [windows.hull(m.pieces) for m in document.mentions]
    found = windows.cut(document.text, keep, limit)
    assert "".join(document.text[a:b] for a, b in found) == document.text
    for cut, _ in found[1:]:
        assert not any(a < cut < b for a, b in keep)


def test_cuts_prefer_the_ends_of_sentences():
    text = "One two three. Four five!\n\nSix seven eight nine ten eleven. Last."
    assert [text[a:b] for a, b in windows.cut(text, (), 5)] == [
        "One two three. ",
        "Four five!\n\n",
        "Six seven eight nine ten ",
        "eleven. Last.",
    ]
    assert windows.cut(text, (), 100) == ((0, len(text)),)


@given(documents(), limits, st.booleans())
def test_every_mention_belongs_to_one_window_and_keeps_its_offsets(document, limit, training):
    made = windows.examples(document, ("X", "Y"), training=training, limit=limit)
    held = Counter(mention for e in made for mention in e.mentions)
    for e in made:
        assert e.texts[0][0] == document.text[e.offset : e.offset + len(e.texts[0][0])]
    begins = [windows.hull(m.pieces)[0] for m in document.mentions]
    spaces = [i for i, c in enumerate(document.text) if c.isspace()]
    reachable = Counter((m.label, m.pieces) for m, a in zip(document.mentions, begins, strict=True) if a not in spaces)
    assert not reachable - held  # what begins with white space may lie in a window without words
    assert not held - Counter((m.label, m.pieces) for m in document.mentions)


@given(documents(), limits)
def test_words_and_characters_turn_into_each_other(document, limit):
    for e in windows.examples(document, ("X", "Y"), training=True, limit=limit):
        for _, pieces in e.mentions:
            if (found := windows.in_words(e, pieces)) is not None:
                assert windows.in_characters(e, found) == pieces


@pytest.fixture(scope="module")
def tokenizer(bert):
    return backbone.load(str(bert)).tokenizer


TASK = Task(name="t", kind="spans", level=1, labels=("X", "Y"), max_width=4, discontiguous=True)


def perfect(corpus: Corpus, batch) -> list:
    """What the head decodes where it gives exactly its gold labels a score above 0."""
    inputs = batch.inputs
    n = span_head.first_tokens(inputs.marks).shape[1]
    rows, count = inputs.marks.shape[0], len(TASK.labels)
    scores = torch.full((rows, n, TASK.max_width, 2 * count), -1.0)
    sizes = Counter((row, mention) for row, mention, *_ in inputs.labels.tolist())
    for row, mention, label, word, width in inputs.labels.tolist():
        scores[row, word, width, label + (count if sizes[row, mention] > 1 else 0)] = 1.0
    links = torch.ones(rows, n, TASK.max_width, 2 * span_head.LINK)
    return span_head.decode(TASK, torch.cat([scores, links], dim=-1))


@given(document=documents(), limit=limits)
def test_split_tokenise_label_and_decode_lose_nothing_that_can_be_expressed(tokenizer, document, limit):
    """With all pieces linked, windows with one mention of several pieces a label come back to the letter."""
    made = windows.examples(document, TASK.labels, training=True, limit=limit)
    if not made:
        return
    rows = list(tokenise.tokenise(TASK, made, tokenizer, 512))
    for example, row in zip(made, rows, strict=True):
        corpus = Corpus(task=TASK, **_flatten([row]), digest="", notes={})
        batch = collate(corpus, [0])
        assert batch.tokens.loss == 1
        distinct = set(example.mentions)
        told = {m for m in distinct if is_expressible(example, m[1])}
        assert row.lost == len(distinct) - len(told)
        gold = {(label, tuple(sorted(set(pieces)))) for label, pieces in told}
        (decoded,) = perfect(corpus, batch)
        found = {(label, windows.in_characters(example, pieces)) for label, pieces in decoded}
        assert {m for m in found if len(m[1]) == 1} == {m for m in gold if len(m[1]) == 1}
        for label in TASK.labels:
            several = [m for m in gold if m[0] == label and len(m[1]) > 1]
            if len(several) == 1:
                assert [m for m in found if m[0] == label and len(m[1]) > 1] == several


def is_expressible(example, pieces) -> bool:
    """By the letter: each piece is some words of the example, from the first one's start to the last one's end."""
    starts, ends = zip(*[(a + example.offset, b + example.offset) for a, b in example.words], strict=True)
    return all(a in starts and b in ends and 0 <= ends.index(b) - starts.index(a) < TASK.max_width for a, b in pieces)
