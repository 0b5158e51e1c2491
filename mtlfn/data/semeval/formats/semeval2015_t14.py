"""SemEval-2015 Task 14, Analysis of Clinical Text: disorders, their concepts, and eight slots, each with its cue.

A line has 19 fields between bars: document, spans (``225-232,241-250``), CUI, then value and cue of every slot; older
releases have three more for time. A disorder with several body locations has several lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import attrs

from mtlfn.data.document import Document, Log, Mention, fits
from mtlfn.data.example import DataError, Span
from mtlfn.data.semeval.formats import share_notes

CORPUS = "semeval-2015-task-14"
LABEL = "Disease_Disorder"
NO_CUI = "CUI-less"
NULL = "null"

# Slot -> its values, the default first; in the order of the fields, the body location after them.
SLOTS: dict[str, tuple[str, ...]] = {
    "negation": ("no", "yes"),
    "subject": ("patient", "family_member", "donor_other", "other"),
    "uncertainty": ("no", "yes"),
    "course": ("unmarked", "changed", "increased", "decreased", "improved", "worsened", "resolved"),
    "severity": ("unmarked", "slight", "moderate", "severe"),
    "conditional": ("false", "true"),
    "generic": ("false", "true"),
}
BODY, BODY_CUE = "bodyloc", "bodyloc_cue"
TIME = ("doctime", "temporal", "temporal_cue")  # the DT value, the TE value and the TE cue of releases with 22 fields

_FIELDS = 3 + 2 * len(SLOTS) + 2
_MISSPELT = {"doner_other": "donor_other"}
_NO_CUE = ("", "nul", "unmarked")
_SPANS = re.compile("[0-9]{1,9}-[0-9]{1,9}(,[0-9]{1,9}-[0-9]{1,9})*")

Attributes = tuple[tuple[str, str], ...]
Tell = Callable[[str], None]
Cue = Callable[[str, str], str]


def read(folder: Path, log: Log) -> dict[str, tuple[Document, ...]]:
    """Train, dev (devel) and test, sorted by document id; a split without files is empty.

    Args:
        folder: the one that holds ``semeval-2015-task-14``, or a folder inside it down to ``data``.

    A mention's id is the number of its first line, from "1". Its attributes are "cui", then value and cue of every
    slot ("negation", "negation_cue", …), where lines differ in the body location alone one pair "bodyloc",
    "bodyloc_cue" a line, and last the three of time where the line has them. A slot with an unknown value gets its
    default; where a line has all values "null", as in a run that only finds disorders, they stay "null". DataError
    where there is no note and no annotation file.
    """
    files = share_notes.official(folder, CORPUS)
    if not files:
        raise DataError(f"{folder} holds no notes of SemEval-2015 Task 14; looked for {share_notes.looked_for(CORPUS)}")
    return {
        split: share_notes.documents(share_notes.pairs(paths, log), _mentions, log) for split, paths in files.items()
    }


def write(folder: Path, split: str, documents: Iterable[Document], *, notes: bool = True) -> None:
    """The documents in the official layout, below ``folder/semeval-2015-task-14/data``; what ``read`` gives back.

    A mention without "cui" is written as CUI-less, one without any slot with "null" in all of them, as a run that
    only finds disorders has it; other missing slots get their default. Ids of mentions are not written, since lines
    have none. Without ``notes``, only annotations are written. DataError names the document and what the format
    cannot hold: another label, attribute or value, links, mentions that differ in the body location alone.
    """
    share_notes.write(
        folder / CORPUS / "data",
        split,
        documents,
        home=lambda _: "discharge",
        complete=_complete,
        line=_lines,
        parse=_mentions,
        notes=notes,
    )


def _mentions(stem: str, text: str, content: str, path: Path, log: Log) -> tuple[Mention, ...]:
    # What lines have in common (pieces; CUI and slots; time) -> body location -> the number of its line
    mentions: dict[tuple[tuple[Span, ...], Attributes, Attributes], dict[Attributes, int]] = {}
    for number, line in share_notes.lines(content):
        where = f"line {number}"
        skipped, repaired = partial(log.skipped, path, where), partial(log.repaired, path, where)
        try:
            fields, pieces = _fields(line, text)
        except DataError as error:
            skipped(str(error))
            continue
        if problem := share_notes.wrong_name(fields[0], stem):
            repaired(problem)
        cue = partial(_cue, text=text, skipped=skipped, repaired=repaired)
        slots = (("cui", _filled(fields[2], "cui", NO_CUI, repaired)), *_slots(fields, cue, skipped, repaired))
        body = _body(fields, cue, repaired)
        time = _time(fields, cue, repaired)
        bodies = mentions.setdefault((pieces, slots, time), {})
        if body in bodies:
            skipped(f"repeats line {bodies[body]}")
        else:
            bodies[body] = number
    return tuple(
        Mention(
            id=str(next(iter(bodies.values()))),
            label=LABEL,
            pieces=pieces,
            attributes=(*slots, *(pair for body in bodies for pair in body), *time),
        )
        for (pieces, slots, time), bodies in mentions.items()
    )


def _fields(line: str, text: str) -> tuple[list[str], tuple[Span, ...]]:
    """19 or 22 fields, and the spans in the second."""
    fields = [" ".join(field.split()) for field in line.split("|")]
    if len(fields) in (_FIELDS + 1, _FIELDS + len(TIME) + 1) and not fields[-1]:
        del fields[-1]
    if len(fields) not in (_FIELDS, _FIELDS + len(TIME)):
        raise DataError(f"found {len(fields)} fields, expected {_FIELDS}, or {_FIELDS + len(TIME)} with those of time")
    pieces = _spans(fields[1])
    if not pieces:
        raise DataError(f"found the spans {fields[1]!r}, expected such as 1-5,8-9")
    if not fits(pieces, text):
        raise DataError(f"found the spans {fields[1]!r}, expected stretches of a text of {len(text)} characters")
    return fields, pieces


def _spans(field: str) -> tuple[Span, ...]:
    """Empty where the field holds no spans."""
    bare = field.replace(" ", "")
    if not _SPANS.fullmatch(bare):
        return ()
    starts_ends = (piece.split("-") for piece in bare.split(","))
    return tuple((int(start), int(end)) for start, end in starts_ends)


def _slots(fields: list[str], cue: Cue, skipped: Tell, repaired: Tell) -> Iterator[tuple[str, str]]:
    unannotated = all(fields[i].lower() == NULL for i in range(3, _FIELDS, 2))
    for i, (slot, allowed) in enumerate(SLOTS.items()):
        value = fields[3 + 2 * i].lower()
        if value in _MISSPELT:
            repaired(f"found the {slot} {value!r}, expected {_MISSPELT[value]!r}")
            value = _MISSPELT[value]
        if value not in allowed and not unannotated:
            skipped(f"found the {slot} {value!r}, expected one of {', '.join(allowed)}; read as {allowed[0]!r}")
            value = allowed[0]
        yield slot, value
        yield f"{slot}_cue", cue(f"{slot}_cue", fields[4 + 2 * i])


def _body(fields: list[str], cue: Cue, repaired: Tell) -> Attributes:
    value, words = fields[_FIELDS - 2 : _FIELDS]
    return (BODY, _filled(value, BODY, NULL, repaired)), (BODY_CUE, cue(BODY_CUE, words))


def _time(fields: list[str], cue: Cue, repaired: Tell) -> Attributes:
    if len(fields) == _FIELDS:
        return ()
    *values, words = fields[_FIELDS:]
    filled = ((name, _filled(value, name, NULL, repaired)) for name, value in zip(TIME[:2], values, strict=True))
    return (*filled, (TIME[2], cue(TIME[2], words)))


def _filled(value: str, name: str, default: str, repaired: Tell) -> str:
    """A value of an open set; the default where it is empty, or dirt that stands for "null" where that is it."""
    if value.lower() == default.lower() == NULL:
        return NULL
    if not value or (default == NULL and value.lower() in _NO_CUE):
        repaired(f"found the {name} {value!r}, expected {default!r} or a value")
        return default
    return value


def _cue(name: str, words: str, *, text: str, skipped: Tell, repaired: Tell) -> str:
    """The spans of the words that trigger a value, as 1-5,8-9, or "null"."""
    if words.lower() == NULL:
        return NULL
    if words.lower() in _NO_CUE:
        repaired(f"found the {name} {words!r}, expected {NULL!r} or spans")
        return NULL
    pieces = _spans(words)
    if not fits(pieces, text):
        skipped(
            f"found the {name} {words!r}, expected {NULL!r} or spans such as 1-5,8-9 in a text of {len(text)} "
            f"characters; read as {NULL!r}"
        )
        return NULL
    return ",".join(f"{start}-{end}" for start, end in pieces)


def _complete(mention: Mention) -> Mention:
    values = dict(mention.attributes)
    plain = not any(name in values for name in (*SLOTS, BODY))
    slots = [("cui", values.get("cui", NO_CUI))]
    for slot, allowed in SLOTS.items():
        slots.append((slot, values.get(slot, NULL if plain else allowed[0])))
        slots.append((f"{slot}_cue", values.get(f"{slot}_cue", NULL)))
    bodies: list[tuple[str, str]] = []
    for name, value in mention.attributes:
        if name == BODY:
            bodies += [(BODY, value), (BODY_CUE, NULL)]
        elif name == BODY_CUE and bodies:
            bodies[-1] = BODY_CUE, value
    time = [(name, values.get(name, NULL)) for name in TIME] if any(name in values for name in TIME) else []
    attributes = (*slots, *(bodies or [(BODY, NULL), (BODY_CUE, NULL)]), *time)
    if strange := [pair for pair in mention.attributes if pair not in attributes]:
        name, value = strange[0]
        raise DataError(f"the mention {mention.id!r} has the attribute {name!r} ({value!r}), which is unknown or twice")
    return attrs.evolve(mention, attributes=attributes)


def _lines(stem: str, mention: Mention) -> Iterator[str]:
    values = [value for _, value in mention.attributes]
    names = [name for name, _ in mention.attributes]
    first, last = names.index(BODY), len(names) - names[::-1].index(BODY_CUE)
    spans = ",".join(f"{start}-{end}" for start, end in mention.pieces)
    for i in range(first, last, 2):
        yield "|".join((f"{stem}.text", spans, *values[:first], *values[i : i + 2], *values[last:]))
