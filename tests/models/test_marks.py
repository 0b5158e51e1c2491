"""Tokens carry the marks of exactly the characters that a mention or a word has, whatever stands around them."""

from __future__ import annotations

import random

import pytest

from mtlfn.data.example import Example
from mtlfn.data.kinds.relation import HEAD, HEAD_SIGN, TAIL, TAIL_SIGN
from mtlfn.data.screening import survey
from mtlfn.data.task import Task
from mtlfn.data.tokens.tokenise import tokenise
from mtlfn.models import backbone
from tests import tiny

RELATION = Task(name="relation", kind="relation", level=2, labels=("none", "x"), negative="none")
TAGGING = Task(name="tagging", kind="tagging", level=1, labels=("A",))
TEXT = "the patient had a mild fever and acute asthma on day two with aspirin"


@pytest.fixture(scope="module", params=["bert", "llama"])
def tokenizer(request: pytest.FixtureRequest):
    return backbone.load(str(request.getfixturevalue(request.param))).tokenizer


def spans(text: str, *parts: str) -> tuple[tuple[int, int], ...]:
    return tuple((text.index(p), text.index(p) + len(p)) for p in parts)


def relation(text: str, head, tail) -> Example:
    return Example(id="e", unit="e", texts=((text, None),), head=tuple(head), tail=tuple(tail), labels=("x",))


def marked(tokenizer, example: Example, bit: int, max_length: int = 200) -> str:
    """The characters of the tokens that carry the bit, without blanks."""
    (row,) = tokenise(RELATION, [example], tokenizer, max_length)
    ids = [i for i, mark in zip(row.ids[0], row.marks[0], strict=True) if mark > 0 and mark & bit]
    pieces = tokenizer.convert_ids_to_tokens(ids)
    return "".join(piece.removeprefix("##").replace("Ġ", "") for piece in pieces)


def unsigned(text: str) -> str:
    return text.replace("@", "").replace("#", "")


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        (("fever",), ("aspirin",)),
        (("aspirin",), ("fever",)),
        (("mild fever",), ("fever",)),  # nested, ending together
        (("acute",), ("acute asthma",)),  # nested, beginning together
        (("fever",), ("fever",)),  # the same
        (("mild ",), ("fever",)),  # adjacent, no character between
        (("the",), ("aspirin",)),  # first and last word
        (("mild", "asthma"), ("acute",)),  # discontiguous around the other
        (("mild", "and"), ("fever", "asthma")),  # discontiguous, crossing
        (("acute asthma on",), ("asthma",)),  # nested, strictly inside
        (("fever and acute",), ("acute asthma",)),  # overlapping
        (("a mild", "asthma"), ("mild fever",)),  # discontiguous and overlapping
    ],
)
def test_a_mention_is_marked_whole_and_alone(tokenizer, head, tail):
    example = relation(TEXT, spans(TEXT, *head), spans(TEXT, *tail))
    for bit, words, mine, other in ((HEAD, head, example.head, example.tail), (TAIL, tail, example.tail, example.head)):
        found, borders = marked(tokenizer, example, bit), (other[0][0], other[-1][1])
        # Signs of the other mention that stand inside a piece of this one are the next test's.
        if any(a < border < b for a, b in mine for border in borders):
            found = unsigned(found)
        assert found == "".join(words).replace(" ", "")


def test_random_mentions_of_whole_words_are_marked_whole_and_alone(tokenizer):
    rng, words = random.Random(4), TEXT.split()
    starts = [sum(len(w) + 1 for w in words[:i]) for i in range(len(words))]
    for _ in range(150):
        chosen = [sorted(rng.sample(range(len(words)), rng.randint(1, 3))) for _ in range(2)]
        head, tail = ([(starts[i], starts[i] + len(words[i])) for i in c] for c in chosen)
        example = relation(TEXT, head, tail)
        # Whole words: no sign can stand inside a piece, so none is marked.
        assert marked(tokenizer, example, HEAD) == "".join(words[i] for i in chosen[0]), chosen
        assert marked(tokenizer, example, TAIL) == "".join(words[i] for i in chosen[1]), chosen


def test_the_signs_around_a_nested_mention_are_no_part_of_the_outer_one(tokenizer):
    example = relation(TEXT, spans(TEXT, "acute asthma on"), spans(TEXT, "asthma"))
    (row,) = tokenise(RELATION, [example], tokenizer, 200)
    pieces = tokenizer.convert_ids_to_tokens(row.ids[0])
    of_head = [p for p, m in zip(pieces, row.marks[0], strict=True) if m > 0 and m & HEAD]
    assert not any("#" in p and not p.startswith("##") for p in of_head)


@pytest.mark.parametrize(
    ("head", "tail"), [("fever", "asthma"), ("asthma", "fever"), ("acute asthma", "asthma"), ("fever", "fever")]
)
def test_the_sign_before_each_mention_carries_its_own_mark(tokenizer, head, tail):
    (row,) = tokenise(RELATION, [relation(TEXT, spans(TEXT, head), spans(TEXT, tail))], tokenizer, 200)
    pieces = tokenizer.convert_ids_to_tokens(row.ids[0])
    marks = [max(mark, 0) for mark in row.marks[0]]
    for sign, sign_bit, bit in (("@", HEAD_SIGN, HEAD), ("#", TAIL_SIGN, TAIL)):
        (place,) = [i for i, mark in enumerate(marks) if mark & sign_bit]
        assert pieces[place].removeprefix("Ġ") == sign
        assert place == min(i for i, piece in enumerate(pieces) if piece.removeprefix("Ġ") == sign)
        assert place < min(i for i, mark in enumerate(marks) if mark & bit)


def test_the_text_gets_the_signs_of_head_and_tail(tokenizer):
    example = relation(TEXT, spans(TEXT, "fever"), spans(TEXT, "asthma"))
    (row,) = tokenise(RELATION, [example], tokenizer, 200)
    text = tokenizer.decode(row.ids[0], skip_special_tokens=True).replace(" ", "")
    assert "amild@fever@andacute#asthma#onday" in text


def test_special_tokens_carry_no_mark(tokenizer):
    example = relation(TEXT, spans(TEXT, "the"), spans(TEXT, "aspirin"))
    (row,) = tokenise(RELATION, [example], tokenizer, 200)
    for i, mark in zip(row.ids[0], row.marks[0], strict=True):
        assert (mark == -1) == (i in tokenizer.all_special_ids)


@pytest.mark.parametrize("where", ["start", "middle", "end"])
def test_a_long_text_is_cut_to_a_window_around_both_mentions(tokenizer, where):
    filler = "of a dose " * 40
    text = {"start": TEXT + " " + filler, "middle": filler + TEXT + " " + filler, "end": filler + TEXT}[where]
    example = relation(text, spans(text, "fever"), spans(text, "asthma"))
    (row,) = tokenise(RELATION, [example], tokenizer, 60)
    assert len(row.ids[0]) <= 60
    assert (row.truncated, row.usable) == (True, True)
    assert marked(tokenizer, example, HEAD, 60) == "fever"
    assert marked(tokenizer, example, TAIL, 60) == "asthma"
    assert len(row.ids[0]) >= 55  # the window uses the room there is
    both = [i for i, mark in enumerate(row.marks[0]) if mark > 0]
    before, after = both[0], len(row.marks[0]) - both[-1]
    if where == "middle":  # elsewhere the text ends before the room does
        assert abs(before - after) <= 6


def test_mentions_too_far_apart_are_unusable_and_say_so(tokenizer):
    text = "fever " + "of a dose " * 40 + "asthma"
    example = relation(text, spans(text, "fever"), spans(text, "asthma"))
    (row,) = tokenise(RELATION, [example], tokenizer, 40)
    assert (row.truncated, row.usable) == (True, False)


def test_a_text_that_fits_is_not_cut(tokenizer):
    example = relation(TEXT, spans(TEXT, "fever"), spans(TEXT, "asthma"))
    (row,) = tokenise(RELATION, [example], tokenizer, 200)
    assert (row.truncated, row.usable) == (False, True)


def test_a_text_of_many_byte_characters_is_cut_around_both_mentions_too(llama):
    """74 characters, but 134 tokens: a byte-level tokenizer has more tokens than the text has characters."""
    tokenizer = backbone.load(str(llama)).tokenizer
    text = "µ" * 60 + " fever asthma"
    example = relation(text, spans(text, "fever"), spans(text, "asthma"))
    (row,) = tokenise(RELATION, [example], tokenizer, 90)
    assert len(row.ids[0]) <= 90
    assert row.usable
    assert marked(tokenizer, example, TAIL, 90) == "asthma"


def tagged(text: str, words: list[str]) -> Example:
    found, at = [], 0
    for word in words:
        start = text.index(word, at)
        at = start + len(word)
        found.append((start, at))
    return Example(id="e", unit="e", texts=((text, None),), words=tuple(found), tags=("O",) * len(words))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the patient had fever", ["the", "patient", "had", "fever"]),
        ("  the   patient\thad \n fever  ", ["the", "patient", "had", "fever"]),
        ("fever,no asthma.", ["fever", ",", "no", "asthma", "."]),
        ("non-acute fever(mild)", ["non-acute", "fever", "(", "mild", ")"]),
        ("the fever had", ["fever"]),  # words that are no words of the task carry no number
    ],
)
def test_the_first_token_of_each_word_carries_its_number(tokenizer, text, words):
    example = tagged(text, words)
    (row,) = tokenise(TAGGING, [example], tokenizer, 200)
    numbers = [m for m in row.marks[0] if m >= 0]
    assert numbers == list(range(len(words)))
    pieces = tokenizer.convert_ids_to_tokens(row.ids[0])
    firsts = [p.removeprefix("Ġ") for p, m in zip(pieces, row.marks[0], strict=True) if m >= 0]
    for word, first in zip(words, firsts, strict=True):
        assert word.startswith(first)


def test_a_word_that_the_tokenizer_drops_takes_no_number_from_the_next(bert):
    """BERT's normaliser deletes control characters: the word between has no token."""
    tokenizer = backbone.load(str(bert)).tokenizer
    (row,) = tokenise(TAGGING, [tagged("fever \x01 asthma", ["fever", "\x01", "asthma"])], tokenizer, 200)
    pieces = tokenizer.convert_ids_to_tokens(row.ids[0])
    assert [(p, m) for p, m in zip(pieces, row.marks[0], strict=True) if m >= 0] == [("fever", 0), ("asthma", 2)]


def test_words_that_are_cut_off_have_no_number(tokenizer):
    words = TEXT.split()
    (row,) = tokenise(TAGGING, [tagged(TEXT, words)], tokenizer, 9)
    numbers = [m for m in row.marks[0] if m >= 0]
    assert len(row.ids[0]) == 9
    assert row.truncated
    assert numbers == list(range(len(numbers)))
    assert 0 < len(numbers) < len(words)


def test_a_text_is_tokenised_the_same_whatever_stands_beside_it(tokenizer):
    """Texts alone, with a second one and with an empty second one, in one list."""
    task = Task(name="t", kind="classification", level=2, labels=("a",))
    examples = [
        Example(id=str(i), unit=str(i), texts=((f"the patient had {'fever ' * i}", second),), labels=("a",))
        for i, second in enumerate((None, "does it help", "", None, "never"))
    ]
    alone = [row for e in examples for row in tokenise(task, [e], tokenizer, 200)]
    assert list(tokenise(task, examples, tokenizer, 200)) == alone
    assert survey.lengths(task, examples, tokenizer).tolist() == [len(row.ids[0]) for row in alone]
    short = [row for e in examples for row in tokenise(task, [e], tokenizer, 8)]
    assert list(tokenise(task, examples, tokenizer, 8)) == short
    assert max(len(row.ids[0]) for row in short) <= 8


@pytest.mark.parametrize("name", tiny.datasets())
def test_lengths_are_those_of_what_the_model_reads(name, tokenizer):
    """Of relations with the signs around their mentions; so the length that is said to leave texts whole does."""
    dataset = tiny.datasets()[name]
    rows = list(tokenise(dataset.task, dataset.train, tokenizer, 10_000))
    assert survey.lengths(dataset.task, dataset.train, tokenizer).tolist() == [len(ids) for r in rows for ids in r.ids]
    assert not any(row.truncated for row in rows)
