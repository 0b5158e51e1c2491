"""What official files hold, as it is: texts with annotations at exact character offsets, and queries with candidates.

Every format has a module with two functions: ``read(folder, log)`` and ``write(folder, split, ...)``; what was written
is read back as the same annotations. A reader survives dirt: it skips or repairs, and the log counts and tells it; a
strict log makes the first problem an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from attrs import define, field, frozen

from mtlfn.data.example import DataError, Span

WITHOUT_NOTE = "annotation files without their note"
KINDS = 20  # of problems that are shown
PARTICULAR = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\S*(?:\d|[/.]\w)\S*""")


@frozen(kw_only=True)
class Mention:
    """An annotated stretch of a text.

    Attributes:
        id: unique within its document.
        label: its type: "Disease_Disorder", "EVENT", the name of a technique.
        pieces: one span or, where it is discontiguous, several, in the order of the file: ``text[start:end]``.
        attributes: (name, value) pairs in the order of the file.
    """

    id: str
    label: str
    pieces: tuple[Span, ...]
    attributes: tuple[tuple[str, str], ...] = ()

    def __getitem__(self, name: str) -> str | None:
        """The value of an attribute; None where it has none of that name."""
        return dict(self.attributes).get(name)


@frozen(kw_only=True)
class Link:
    """An annotated relation between two mentions of one document, named by their ids."""

    id: str
    label: str
    source: str
    target: str


@frozen(kw_only=True)
class Document:
    """A text and its annotations.

    ``linked``: whether links were annotated at all, found or not. ``borders``: characters that begin a part of the
    file's own, as a passage: no sentence goes across.
    """

    id: str
    text: str
    mentions: tuple[Mention, ...] = ()
    links: tuple[Link, ...] = ()
    linked: bool = True
    borders: tuple[int, ...] = ()


@frozen(kw_only=True)
class Candidate:
    """What is ranked for a query. ``label``: as in the file, None where it has none. ``rank``: as the file gives it."""

    id: str
    text: str
    label: str | None
    rank: int


@frozen(kw_only=True)
class Query:
    """A query and its candidates in the order of the file."""

    id: str
    text: str
    candidates: tuple[Candidate, ...]


@frozen
class Problem:
    """Something in a file that is not as it should be: where ("line 3", "entity 7@e@…"), what, and what was done."""

    path: Path
    where: str
    what: str
    done: Literal["skipped", "repaired"]

    def __str__(self) -> str:
        return f"{self.path}, {self.where}: {self.what} ({self.done})"


@define
class Log:
    """Collects problems; with ``strict``, the first one is a DataError that names file, place and what was found.

    ``unlabelled``: what has no annotation is read without, since it is to be predicted on. ``counts``: what else there
    is to know -> how often.
    """

    strict: bool = False
    unlabelled: bool = False
    problems: list[Problem] = field(factory=list)
    counts: Counter[str] = field(factory=Counter)

    def counted(self, what: str) -> None:
        """Something that is no flaw of the files, such as what they themselves ask to leave out, or is one of many."""
        self.counts[what] += 1

    def skipped(self, path: Path, where: str, what: str) -> None:
        """Something could not be used."""
        self._tell(Problem(path, where, what, "skipped"))

    def repaired(self, path: Path, where: str, what: str) -> None:
        """Something was read as what it must have meant."""
        self._tell(Problem(path, where, what, "repaired"))

    def _tell(self, problem: Problem) -> None:
        if self.strict:
            raise DataError(f"{problem.path}, {problem.where}: {problem.what}")
        self.problems.append(problem)


def by_kind(problems: Iterable[Problem]) -> list[str]:
    """A line a kind of problem, the most frequent first: how often, what was done, and the first one.

    Of one kind are problems that differ in numbers, names of files and quoted texts alone.
    """
    kinds: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        kinds.setdefault((problem.done, PARTICULAR.sub("…", problem.what)), []).append(problem)
    ordered = sorted(kinds.values(), key=len, reverse=True)
    out = [
        f"{len(alike):,} {alike[0].done}, first {alike[0].path}, {alike[0].where}: {alike[0].what}" for alike in ordered
    ]
    rest = ordered[KINDS:]
    return [*out[:KINDS], *([f"{sum(map(len, rest)):,} more, of {len(rest):,} kinds"] if rest else [])]


def fits(pieces: tuple[Span, ...], text: str) -> bool:
    """Whether there is a piece, and every piece is a stretch of the text of at least one character."""
    return bool(pieces) and all(0 <= start < end <= len(text) for start, end in pieces)


def mention_text(text: str, mention: Mention) -> str:
    """The pieces of a mention in their order, joined by one blank."""
    return " ".join(text[start:end] for start, end in mention.pieces)


def mentions_and_links(document: Document) -> Any:
    """What predictions for a document are compared with, as JSON, in an order of its own."""
    mentions = sorted((m.label, m.pieces, m.id) for m in document.mentions)
    return mentions, sorted((link.label, link.source, link.target) for link in document.links)


def judgements(query: Query) -> Any:
    """What predictions for a query are compared with, as JSON."""
    return [(c.id, c.label) for c in query.candidates]


def decode(data: bytes, path: Path, log: Log) -> str:
    """The text of a file, no line end translated: UTF-8, or Latin-1 where it is not, so that no byte is lost."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        log.repaired(path, f"byte {error.start}", "is not UTF-8; the file is read as Latin-1")
        return data.decode("latin-1")
