"""SemEval-2017 Task 3 (English): threads of a forum, read as queries whose candidates are to be ranked.

Subtask A ranks the comments of a related question, B the related questions of a new question, C the comments of all
its related questions. Queries keep the order of the files, since the scorer compares its two files line by line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import Element

from attrs import field, frozen

from mtlfn.data.document import Candidate, Log, Query
from mtlfn.data.example import DataError
from mtlfn.data.semeval.formats.xml_file import escape, parse
from mtlfn.data.task import SPLITS

Subtask = Literal["A", "B", "C"]

COMMENT_LABELS = {"Good": True, "PotentiallyUseful": False, "Bad": False}
LABELS: dict[str, dict[str, bool]] = {  # subtask -> label -> whether it counts as relevant
    "A": COMMENT_LABELS,
    "B": {"PerfectMatch": True, "Relevant": True, "Irrelevant": False},
    "C": COMMENT_LABELS,
}
ATTRIBUTE = {"A": "RELC_RELEVANCE2RELQ", "B": "RELQ_RELEVANCE2ORGQ", "C": "RELC_RELEVANCE2ORGQ"}
NO_LABEL = (None, "", "?", "N/A")  # what files without labels and old releases hold instead of one
REPEATED = "SubtaskA_Skip_Because_Same_As_RelQuestion_ID"

NUMBER = "([0-9]{1,9})"
COMMENT_ID = re.compile(f"(.+)_C{NUMBER}", re.DOTALL)
RELATED_ID = re.compile(f".*_R{NUMBER}", re.DOTALL)


def positive(subtask: Subtask, label: str | None) -> bool | None:
    """Whether the scorer takes a label as relevant; None where there is no label, or none of this subtask."""
    return LABELS[subtask].get(label) if label is not None else None


def read(folder: Path, subtask: Subtask, log: Log) -> dict[str, tuple[Query, ...]]:
    """The queries of every split, in the order of the files; a split without files is empty.

    A text is subject, blank line, body; where one of the two is empty, the other alone. Threads that a file marks as
    repeated are left out of subtask A, as the file asks: ``log.counts`` has their number.

    Args:
        folder: searched with all folders below. Split by file name: "train", "dev" or "test"; the reformatted files
            of 2015 are training data for subtask A alone, whatever their name says; the test file of 2016 is training
            data where there is one of 2017.

    Raises:
        DataError: the folder does not exist; a strict log's first problem.
    """
    known(subtask)
    if not folder.is_dir():
        raise DataError(f"the folder {folder} does not exist; expected one with the XML files of SemEval-2017 Task 3")
    files = _files(folder, subtask)
    return {split: _queries(files[split], subtask, log) for split in SPLITS}


def known(subtask: str) -> None:
    """DataError where there is no such subtask."""
    if subtask not in LABELS:
        raise DataError(f"found the subtask {subtask!r}, expected one of {', '.join(LABELS)}")


def _files(folder: Path, subtask: Subtask) -> dict[str, list[Path]]:
    """The files to read for each split. Of those with one stem: with labels before without, subtask A's before main."""
    groups: dict[tuple[str, str], list[tuple[bool, bool, Path]]] = {}
    for path in folder.rglob("*"):
        name = path.stem.lower()
        if path.suffix.lower() != ".xml" or name.startswith(".") or "multiline" in name or not path.is_file():
            continue
        for_a, without_labels = "-subtaska" in name, "-input" in name
        if reformatted := "reformatted" in name:
            split = "train"
        elif match := re.search("train|dev|test", name):
            split = match[0]
        else:
            continue
        if subtask == "A" or not (for_a or reformatted):
            stem = name.replace("-subtaska", "").replace("-input", "")
            groups.setdefault((split, stem), []).append((without_labels, not for_a, path))
    newer = any(split == "test" and "2017" in stem for split, stem in groups)
    chosen: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for (split, stem), group in groups.items():
        first = min(group)[:2]
        home = "train" if split == "test" and newer and "2016" in stem else split
        chosen[home] += [path for *rank, path in group if tuple(rank) == first]
    return {split: sorted(paths) for split, paths in chosen.items()}


@frozen
class _Source:
    """A file that is read. ``seen``: ids of its split so far. ``unknown``: how often which unknown label occurs."""

    path: Path
    subtask: Subtask
    log: Log
    seen: set[tuple[str, str]]
    unknown: Counter[str] = field(factory=Counter)

    def skipped(self, where: str, what: str) -> None:
        self.log.skipped(self.path, where, what)

    def repaired(self, where: str, what: str) -> None:
        self.log.repaired(self.path, where, what)

    def is_new(self, attribute: str, name: str, where: str) -> bool:
        """Whether the id occurs for the first time; otherwise it is logged as skipped."""
        if (attribute, name) in self.seen:
            self.skipped(where, f"the {attribute} {name!r} occurs more than once, expected unique ids")
            return False
        self.seen.add((attribute, name))
        return True

    def label(self, element: Element) -> str | None:
        label = element.get(ATTRIBUTE[self.subtask])
        if label in LABELS[self.subtask]:
            return label
        if label is not None and label not in NO_LABEL:
            self.unknown[label] += 1
        return None

    def text(self, element: Element, where: str, *tags: str) -> str:
        """The texts of the children with these tags, empty ones left out, a blank line between them."""
        parts = []
        for tag in tags:
            child = element.find(tag)
            if child is None:
                self.repaired(where, f"has no {tag}, taken as empty")
            else:
                parts.append("".join(child.itertext()))
        return "\n\n".join(part for part in parts if part)


def _queries(paths: Sequence[Path], subtask: Subtask, log: Log) -> tuple[Query, ...]:
    texts: dict[str, str] = {}
    candidates: dict[str, list[Candidate]] = {}
    ids: set[tuple[str, str]] = set()
    for path in paths:
        root = parse(path, log)
        if root is None:
            continue
        for query, text, candidate in _rows(_Source(path, subtask, log, ids), root):
            if texts.setdefault(query, text) != text:
                where = f"candidate {candidate.id}"
                log.repaired(path, where, f"the text of its query {query} differs from the first, which is kept")
            candidates.setdefault(query, []).append(candidate)
    return tuple(Query(id=query, text=texts[query], candidates=tuple(each)) for query, each in candidates.items())


def _rows(source: _Source, root: Element) -> Iterator[tuple[str, str, Candidate]]:
    """(query id, query text, candidate) for every candidate of a file."""
    subtask, stray, number = source.subtask, 0, 0
    for number, (question, thread) in enumerate(_threads(root), 1):
        related = thread.find("RelQuestion")
        sequence = thread.get("THREAD_SEQUENCE")
        if related is None:
            source.skipped(f"Thread {sequence}", "has no RelQuestion")
            continue
        name = related.get("RELQ_ID") or sequence
        where = f"Thread {name}"
        if not name:
            source.skipped(f"Thread at position {number}", "has neither RELQ_ID nor THREAD_SEQUENCE")
            continue
        if not related.get("RELQ_ID"):
            source.repaired(where, "its RelQuestion has no RELQ_ID, THREAD_SEQUENCE is taken")
        if subtask == "A" and REPEATED in thread.attrib:
            source.log.counted("threads that the files mark as repetitions")  # no flaw: it is what the file asks for
            continue
        if subtask != "A" and question is None:
            stray += 1
            continue
        if not source.is_new("RELQ_ID", name, where):
            continue
        if subtask == "A" or question is None:
            query, text = name, source.text(related, where, "RelQSubject", "RelQBody")
        elif query := question.get("ORGQ_ID", ""):
            text = source.text(question, f"OrgQuestion {query}", "OrgQSubject", "OrgQBody")
        else:
            source.skipped(where, "its OrgQuestion has no ORGQ_ID")
            continue
        for candidate in (_related if subtask == "B" else _comments)(source, name, thread, related):
            yield query, text, candidate
    where = f"element {root.tag}"
    if not number:
        source.skipped(where, "holds no Thread, expected some, in OrgQuestion elements or directly")
    if stray:
        source.skipped(where, f"{stray} threads outside an OrgQuestion, which subtask {subtask} does not have")
    for label, times in sorted(source.unknown.items()):
        expected = ", ".join(LABELS[subtask])
        said = f"{ATTRIBUTE[subtask]} is {label!r} {times} times, expected {expected}; taken as no label"
        source.repaired(where, said)


def _threads(root: Element) -> Iterator[tuple[Element | None, Element]]:
    """Every thread and the OrgQuestion that it is in, None for a thread directly under the root."""
    for child in root:
        if child.tag == "Thread":
            yield None, child
        elif child.tag == "OrgQuestion":
            for thread in child.findall("Thread"):
                yield child, thread


def _related_number(source: _Source, name: str, related: Element, first: Literal["order", "id"]) -> int | None:
    """The search engine's rank of a related question, from its attribute or its id (which agree in official files)."""
    order = related.get("RELQ_RANKING_ORDER")
    matches = {"order": re.fullmatch(NUMBER, order or ""), "id": RELATED_ID.fullmatch(name)}
    lack = {"order": f"RELQ_RANKING_ORDER is {order!r}, expected a number"}
    lack["id"] = "its RELQ_ID does not end in _R and the number of the question"
    second: Literal["order", "id"] = "id" if first == "order" else "order"
    number = matches[first] or matches[second]
    if number is None:
        source.skipped(f"Thread {name}", f"{lack[first]}, and {lack[second]}")
        return None
    if matches[first] is None:
        source.repaired(f"Thread {name}", f"{lack[first]}; took {number[1]}")
    return int(number[1])


def _related(source: _Source, name: str, thread: Element, related: Element) -> Iterator[Candidate]:
    """The related question of a thread as a candidate."""
    rank = _related_number(source, name, related, "order")
    if rank is not None:
        text = source.text(related, f"Thread {name}", "RelQSubject", "RelQBody")
        yield Candidate(id=name, text=text, label=source.label(related), rank=rank)


def _comments(source: _Source, name: str, thread: Element, related: Element) -> Iterator[Candidate]:
    """The comments of a thread as candidates."""
    number = 0 if source.subtask == "A" else _related_number(source, name, related, "id")
    if number is None:
        return
    for position, comment in enumerate(thread.findall("RelComment"), 1):
        relc = comment.get("RELC_ID")
        where = f"RelComment {relc}"
        if not relc:
            source.skipped(f"Thread {name}", f"its comment at position {position} has no RELC_ID")
        elif source.is_new("RELC_ID", relc, where):
            if numbered := COMMENT_ID.fullmatch(relc):
                position = int(numbered[2])
            else:
                source.repaired(where, f"its RELC_ID does not end in _C and the number of the comment; took {position}")
            text = source.text(comment, where, "RelCText")
            yield Candidate(id=relc, text=text, label=source.label(comment), rank=100 * number + position)


def write(folder: Path, split: str, subtask: Subtask, queries: Sequence[Query]) -> Path:
    """Writes ``<folder>/<split>/SemEval2016-Task3-CQA-QL-<split>[-subtaskA].xml``, which ``read`` gives back; its path.

    One layout holds one subtask: a file for B has no comments, a file for C no texts of related questions, and the
    two have the same name. Attributes that a query does not hold (category, date, user) are there and empty.

    Raises:
        DataError: a split, id, rank, label or character that could not be read back.
    """
    known(subtask)
    if split not in SPLITS:
        raise DataError(f"found the split {split!r}, expected one of {', '.join(SPLITS)}")
    _writable(subtask, queries)
    path = folder / split / f"SemEval2016-Task3-CQA-QL-{split}{'-subtaskA' if subtask == 'A' else ''}.xml"
    lines = ['<?xml version="1.0" encoding="utf-8"?>', '<xml version="1.0">', ""]
    for query in queries:
        if subtask == "A":
            lines += [*_thread_lines(query.id, None, None, query.text, "A", query.candidates), ""]
            continue
        for name, number, label, text, comments in _threads_of(query, subtask):
            lines += [_start("OrgQuestion", ORGQ_ID=query.id), *_text_lines("OrgQ", query.text)]
            lines += [*_thread_lines(name, number, label, text, subtask, comments), "</OrgQuestion>", ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join([*lines, "</xml>", ""]).encode("utf-8"))
    return path


def _writable(subtask: Subtask, queries: Sequence[Query]) -> None:
    """DataError names the first query or candidate that could not be read back as it is."""
    if repeated := [name for name, times in Counter(query.id for query in queries).items() if times > 1]:
        raise DataError(f"the query id {repeated[0]!r} occurs more than once; ids must be unique")
    ids: set[str] = set()
    related: set[str] = set()
    for query in queries:
        if not query.id or not query.candidates:
            problem = f"{len(query.candidates)} candidates"
            raise DataError(f"the query {query.id!r} has {problem}, expected an id and at least one candidate")
        previous = None
        for candidate in query.candidates:
            place = f"the candidate {candidate.id!r} of the query {query.id!r}"
            if not candidate.id or candidate.id in ids:
                raise DataError(f"{place} has an empty or repeated id; ids must be unique")
            ids.add(candidate.id)
            if candidate.label is not None and candidate.label not in LABELS[subtask]:
                allowed = f"None or one of {', '.join(LABELS[subtask])}"
                raise DataError(f"{place} has the label {candidate.label!r}, expected {allowed}")
            if (rank := _rank_of(subtask, candidate)) != candidate.rank:
                raise DataError(f"{place} has the rank {candidate.rank}, expected {rank}")
            if subtask == "C" and (thread := candidate.id.rpartition("_C")[0]) != previous:
                if thread in related:
                    raise DataError(
                        f"{place} is apart from the others of {thread!r}, expected them one after the other"
                    )
                related.add(thread)
                previous = thread
        for text in (query.id, query.text, *(part for c in query.candidates for part in (c.id, c.text))):
            try:
                escape(text)
            except DataError as error:
                raise DataError(f"the query {query.id!r} or a candidate of it: {error}") from error


def _rank_of(subtask: Subtask, candidate: Candidate) -> int | str:
    """The rank that ``read`` would give, or what the id lacks for one."""
    if subtask == "B":
        return candidate.rank if 0 <= candidate.rank < 10**9 else "0 to 999999999"
    comment = COMMENT_ID.fullmatch(candidate.id)
    if comment is None:
        return "an id that ends in _C and the comment number"
    if subtask == "A":
        return int(comment[2])
    related = RELATED_ID.fullmatch(comment[1])
    return 100 * int(related[1]) + int(comment[2]) if related else "an id with _R and the number of the question"


def _threads_of(query: Query, subtask: Subtask) -> Iterator[tuple[str, int, str | None, str, tuple[Candidate, ...]]]:
    """(thread, its number, its label, its text, its comments) for the candidates of a query of subtask B or C."""
    if subtask == "B":
        for candidate in query.candidates:
            yield candidate.id, candidate.rank, candidate.label, candidate.text, ()
        return
    threads: dict[str, list[Candidate]] = {}
    for candidate in query.candidates:
        threads.setdefault(candidate.id.rpartition("_C")[0], []).append(candidate)
    for name, comments in threads.items():
        yield name, int(name.rpartition("_R")[2]), None, "", tuple(comments)


def _thread_lines(
    name: str, number: int | None, label: str | None, text: str, subtask: Subtask, comments: Sequence[Candidate]
) -> list[str]:
    relq = {"RELQ_ID": name}
    if subtask != "A":
        relq["RELQ_RANKING_ORDER"] = str(number)
    relq |= dict.fromkeys(("RELQ_CATEGORY", "RELQ_DATE", "RELQ_USERID", "RELQ_USERNAME"), "")
    if subtask != "A":
        relq["RELQ_RELEVANCE2ORGQ"] = label or "?"
    lines = [_start("Thread", THREAD_SEQUENCE=name), _start("RelQuestion", **relq), *_text_lines("RelQ", text)]
    lines.append("</RelQuestion>")
    for comment in comments:
        relc = {"RELC_ID": comment.id} | dict.fromkeys(("RELC_DATE", "RELC_USERID", "RELC_USERNAME"), "")
        if subtask != "A":
            relc["RELC_RELEVANCE2ORGQ"] = comment.label or "?"
        relc["RELC_RELEVANCE2RELQ"] = comment.label or "?" if subtask == "A" else "?"
        lines += [_start("RelComment", **relc), _element("RelCText", comment.text), "</RelComment>"]
    return [*lines, "</Thread>"]


def _text_lines(prefix: str, text: str) -> list[str]:
    """Subject and body: what stands before and after the first blank line, or all of it as the subject."""
    subject, _, body = text.partition("\n\n")
    if not subject or not body:
        subject, body = text, ""
    return [_element(f"{prefix}Subject", subject), _element(f"{prefix}Body", body)]


def _start(tag: str, **attributes: str) -> str:
    # A parser would read other white space in an attribute as blanks.
    entities = {'"': "&quot;", "\n": "&#10;", "\t": "&#9;"}
    values = {name: "".join(entities.get(c, c) for c in escape(value)) for name, value in attributes.items()}
    return "".join((f"<{tag}", *(f' {name}="{value}"' for name, value in values.items()), ">"))


def _element(tag: str, text: str) -> str:
    return f"<{tag}>{escape(text)}</{tag}>"
