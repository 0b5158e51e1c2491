"""Concepts by lookup: the lines of a dictionary, normal forms, and which CUI wins, against the rules played out."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtlfn.data.document import Log
from mtlfn.data.example import DataError
from mtlfn.data.semeval import concepts

PATH = Path("folder/cui.tsv")

words = st.sampled_from(["Fever", "fever", "PAIN", "pain", "chest", "Chest's", "3", "ß", "SS"])
gaps = st.sampled_from([" ", "\n", "-", ", ", " / ", "_"])
names = st.lists(st.tuples(words, gaps), max_size=4).map(lambda parts: "".join(word + gap for word, gap in parts))
cuis = st.sampled_from(["C0000001", "c0000001", "C0000002", "CUI-less", "cui-LESS"])
pairs = st.lists(st.tuples(cuis, names), max_size=8)


def plain(text: str) -> list[str]:
    """The words of a text, one sign at a time."""
    return "".join(c if c.isalnum() else " " for c in text.casefold()).split()


def usual(given: Sequence[tuple[str, str]], keep: object) -> str | None:
    """The most frequent CUI of the names that ``keep`` takes, of equals the smaller."""
    found = ["CUI-less" if cui.lower() == "cui-less" else cui.upper() for cui, name in given if keep(plain(name))]
    return min(found, key=lambda cui: (-found.count(cui), cui), default=None)


@given(pairs, pairs, names)
@example([("C0000002", "pain"), ("C0000001", "pain")], [], "PAIN")  # a tie
@example([("C0000001", "pain"), ("C0000002", "pain"), ("C0000002", "pain")], [], "pain")
@example([("C0000001", "pain chest")], [("C0000002", "chest pain")], "chest pain")  # training comes before order
@example([("C0000001", "pain chest"), ("C0000002", "chest pain"), ("C0000001", "pain chest")], [], "chest pain")
@example([("C0000001", "ß")], [], "SS")
@example([("C0000001", "-")], [], "--")  # no word is no name
def test_training_first_words_in_order_first_the_most_frequent_then_the_smaller(trained, listed, text):
    wanted = plain(text)
    tries = [
        usual(source, lambda name, how=how: wanted and how(name) == how(wanted))
        for source in (trained, listed)
        for how in (list, sorted)
    ]
    expected = next(filter(None, tries), "CUI-less")
    assert concepts.lookup((concepts.build(trained), concepts.build(listed)), text) == expected


@given(pairs, names, st.randoms(use_true_random=False))
def test_neither_case_nor_the_order_of_lines_matters(given_pairs, text, random):
    shuffled = random.sample(given_pairs, len(given_pairs))
    built = concepts.build(given_pairs)
    assert concepts.build(shuffled) == built
    swapped = text.swapcase() if text.isascii() else text
    assert concepts.lookup([built], swapped) == concepts.lookup([built], text)


def test_without_names_everything_is_cui_less():
    assert concepts.lookup((), "fever") == "CUI-less"
    assert concepts.lookup([concepts.build([])], "") == "CUI-less"


listed_names = st.text(st.characters(codec="utf-8", exclude_characters="\t\n\r"), min_size=1).filter(
    lambda name: plain(name) and name == name.strip()
)


@given(st.lists(st.tuples(st.from_regex(r"C[0-9]{7}", fullmatch=True).filter(str.isascii), listed_names)))
def test_a_dictionary_that_is_written_is_read_back(written):
    log = Log(strict=True)
    for end in ("\n", "\r\n", "\n\n# C0000009\tno line\n \t\n"):
        content = "".join(f"{cui}\t{name}{end}" for cui, name in written)
        assert concepts.parse(content, PATH, log) == tuple(written)


def test_small_letters_blanks_around_and_a_mark_at_the_start_are_no_dirt():
    content = "\ufeffc0000001 \t fever \nC0000002\tatrium, left"
    assert concepts.parse(content, PATH, Log(strict=True)) == (("C0000001", "fever"), ("C0000002", "atrium, left"))


BAD = {
    "C0000002 fever": "found 1 fields between tabs, expected CUI, tab, name",
    "C0000002\tfever\tfinding": "found 3 fields between tabs, expected CUI, tab, name",
    "CUI-less\tfever": "found the CUI 'CUI-less', expected C and seven digits",
    "C00000012\tfever": "found the CUI 'C00000012', expected C and seven digits",
    "C000000٣\tfever": "found the CUI 'C000000٣', expected C and seven digits",
    "C0000002\t": "found the name '', expected one with a letter or a digit",
    f"C0000002\t{string.punctuation}": f"found the name {string.punctuation!r}, expected one with a letter or a digit",
}


@pytest.mark.parametrize("line", BAD)
def test_a_bad_line_is_skipped_and_told_and_stops_a_strict_log(line):
    log = Log()
    content = f"# names\nC0000001\tfever\n{line}\nC0000003\tpain\n"
    assert [cui for cui, _ in concepts.parse(content, PATH, log)] == ["C0000001", "C0000003"]
    assert [str(p) for p in log.problems] == [f"{PATH}, line 3: {BAD[line]} (skipped)"]
    with pytest.raises(DataError) as caught:
        concepts.parse(content, PATH, Log(strict=True))
    assert str(caught.value) == f"{PATH}, line 3: {BAD[line]}"
