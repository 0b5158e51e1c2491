"""From the text of a disorder to its concept, a CUI of the UMLS, by lookup among names: no model, nothing learnt.

The UMLS is licensed, so none of it is here: names come from annotated mentions and from a dictionary of the user's own.
A text is looked up without regard to letter case, white space and punctuation, then to the order of its words too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from mtlfn.data.document import Log
from mtlfn.data.example import DataError
from mtlfn.data.semeval.formats.share_notes import lines

FILE = "cui.tsv"  # in the folder of a task: a line a name, CUI, tab, name
NO_CUI = "CUI-less"  # of a disorder that has no concept

_CUI = re.compile("C[0-9]{7}")
_WORD = re.compile(r"[^\W_]+")  # what stands between two words, a hyphen too, is dropped and divides them


@frozen(kw_only=True)
class Names:
    """What is known of names.

    Attributes:
        texts: the words of a name, case folded and joined by one blank -> its CUI.
        bags: the same with the words sorted.
    """

    texts: Mapping[str, str]
    bags: Mapping[str, str]


def parse(content: str, path: Path, log: Log) -> tuple[tuple[str, str], ...]:
    """The (CUI, name) pairs of a dictionary; blank lines and lines that begin with # are passed over.

    Args:
        content: of the file ``path``. A line is a CUI (C and seven digits, in either case), a tab and a name that has
            a letter or a digit; the log tells which is not, by its number.
    """
    pairs = []
    for number, line in lines(content.removeprefix("\ufeff")):
        if line.startswith("#"):
            continue
        try:
            pairs.append(_pair(line))
        except DataError as error:
            log.skipped(path, f"line {number}", str(error))
    return tuple(pairs)


def build(pairs: Iterable[tuple[str, str]]) -> Names:
    """Names from (CUI, name) pairs. Of several CUIs of a name, the most frequent; of equals, the smaller.

    CUIs are written with capital letters, "CUI-less" like this, whatever their case in the pairs.
    """
    texts: Counter[tuple[str, str]] = Counter()
    bags: Counter[tuple[str, str]] = Counter()
    for cui, name in pairs:
        if words := _words(name):
            cui = NO_CUI if cui.upper() == NO_CUI.upper() else cui.upper()
            texts[" ".join(words), cui] += 1
            bags[" ".join(sorted(words)), cui] += 1
    return Names(texts=_most_frequent(texts), bags=_most_frequent(bags))


def lookup(known: Sequence[Names], text: str) -> str:
    """The CUI of a text from the first of ``known`` that has its words in their order or, failing that, in another.

    "CUI-less" where none has.
    """
    words = _words(text)
    in_order, sorted_words = " ".join(words), " ".join(sorted(words))
    for names in known:
        if cui := names.texts.get(in_order) or names.bags.get(sorted_words):
            return cui
    return NO_CUI


def _pair(line: str) -> tuple[str, str]:
    fields = [field.strip() for field in line.split("\t")]
    if len(fields) != 2:
        raise DataError(f"found {len(fields)} fields between tabs, expected CUI, tab, name")
    cui, name = fields
    if not _CUI.fullmatch(cui.upper()):
        raise DataError(f"found the CUI {cui!r}, expected C and seven digits")
    if not _words(name):
        raise DataError(f"found the name {name!r}, expected one with a letter or a digit")
    return cui.upper(), name


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _most_frequent(counts: Mapping[tuple[str, str], int]) -> dict[str, str]:
    best: dict[str, tuple[int, str]] = {}
    for (text, cui), count in counts.items():
        best[text] = min(best.get(text, (0, "")), (-count, cui))
    return {text: cui for text, (_, cui) in best.items()}
