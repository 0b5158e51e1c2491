"""What the columns of a table show: which of them play which role, and so which kind of task the rows are of.

Values decide, names break ties. What is a guess is said in ``Draft.guesses``, so that who reads the draft looks there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from attrs import field, frozen

from mtlfn.data.iob2 import valid_iob2
from mtlfn.data.kinds.graded import MOST as GRADES
from mtlfn.data.tables.tags import ENDS, LIKE, Scheme, to_iob2, types
from mtlfn.run.draft import classes
from mtlfn.run.draft.classes import FEW, MOST
from mtlfn.run.draft.values import (
    distinct,
    is_key,
    is_labels,
    is_list_of,
    is_mention,
    is_pieces,
    is_strings,
    is_text,
    is_whole,
    is_words,
    label_of,
    number_of,
    parts_of,
)

OF_UNITS = ("document", "doc", "patient")
NAMES = {  # role -> names of columns that usually play it, the most usual first
    "tokens": ("tokens", "words", "token", "word"),
    "tags": ("tags", "ner_tags", "ner", "bio", "iob", "labels", "label"),
    "text": ("text", "sentence", "sentence1", "text1", "text_1", "text_a", "premise", "question", "query", "a", "q1"),
    "text_pair": ("text_pair", "sentence2", "text2", "text_2", "text_b", "hypothesis", "context", "answer", "b", "q2"),
    "label": ("label", "class", "category", "target", "relation", "gold_label", "score", "similarity", "rating", "y"),
    "labels": ("labels", "classes", "categories", "topics", "codes", "label"),
    "head": ("head", "head.spans", "e1", "entity1", "arg1", "subject", "source", "h"),
    "tail": ("tail", "tail.spans", "e2", "entity2", "arg2", "object", "target", "t"),
    "mentions": ("mentions", "entities", "spans", "annotations"),
    "query": ("query", "question", "text"),
    "candidates": ("candidates", "answers", "passages", "documents", "choices", "options"),
    "relevance": ("relevance", "relevant", "labels", "grades", "gold"),
    "id": ("id", "idx", "guid", "uid", "example_id", "row_id"),
    "unit": ("unit", "docid", "pmid", "subject_id", *OF_UNITS, *(f"{name}_id" for name in (*OF_UNITS, "note"))),
}
AN_ID = re.compile(r".*([a-z](ID|Id)|[^A-Za-z](id|ID))")  # as PairID, pair_id
TOLD = ("answer", "explanation", "rationale", "conclusion")  # in names of texts that may give the label away


@frozen(kw_only=True)
class Column:
    """A column of the training split: its values, those of the first rows at most, and the names of its classes."""

    name: str
    values: Sequence[Any]
    classes: tuple[str, ...] = ()

    def all(self, fits: Callable[[Any], bool]) -> bool:
        """Whether there is a value, and every one that is not absent fits."""
        present = [value for value in self.values if value is not None]
        return bool(present) and all(map(fits, present))


@frozen(kw_only=True)
class Draft:
    """A task as it is to be written. ``guesses``: key of the table -> what to look at before it is believed."""

    kind: str
    labels: tuple[str, ...] = ()
    negative: str | None = None
    names: tuple[str, ...] = ()
    columns: dict[str, str] = field(factory=dict)
    tags: Scheme | None = None
    separator: str | None = None
    guesses: dict[str, str] = field(factory=dict)


def draft(columns: Sequence[Column]) -> Draft | None:
    """The task in a table; None where its columns show none."""
    for kind in (_tagging, _spans, _relation, _ranking, _multilabel, _labelled):
        if (drafted := kind(columns)) is not None:
            return drafted
    return None


def scheme(sentences: Sequence[Sequence[str]]) -> Scheme | None:
    """The scheme of tags that needs to be named: None for IOB2, and for BIOES, which shows itself."""
    tags = {tag for tags in sentences for tag in tags if tag != "O"}
    prefixes = {tag.partition("-")[0] for tag in tags}
    if any("-" not in tag for tag in tags) or not prefixes <= LIKE.keys():
        return "IO"
    if prefixes & ENDS or all(list(tags) == valid_iob2(list(tags)) for tags in sentences):
        return None
    return "IOB1"


def tag_types(sentences: Sequence[Sequence[str]], form: Scheme | None) -> tuple[str, ...]:
    """The entity types in tags of a scheme."""
    return types(sorted({tag for tags in sentences for tag in to_iob2(tags, form)}))


# Kinds


def _tagging(columns: Sequence[Column]) -> Draft | None:
    words = [c for c in columns if c.all(is_strings) or c.all(is_words)]
    for tokens in _ordered(words, "tokens"):
        for tags in _ordered(columns, "tags"):
            if tags is tokens or not _parallel(tokens, tags) or not _like_tags(tags):
                continue
            sentences = [[label_of(tag, tags.classes) for tag in parts_of(value)] for value in tags.values]
            form = scheme(sentences)
            return Draft(
                kind="tagging",
                labels=types([c for c in tags.classes if c != "O"]) or tag_types(sentences, form),
                tags=form,
                columns={"tokens": tokens.name, "tags": tags.name, **_keys(columns, (tokens, tags))},
            )
    return None


def _spans(columns: Sequence[Column]) -> Draft | None:
    lists = [c for c in columns if c.all(lambda value: is_list_of(value, is_mention)) and any(c.values)]
    text = _text(columns)
    for mentions in _ordered(lists, "mentions"):
        if text is not None:
            return Draft(
                kind="spans",
                labels=distinct(str(m["label"]) for value in mentions.values for m in value or []),
                columns={"text": text.name, "mentions": mentions.name, **_keys(columns, (text, mentions))},
            )
    return None


def _relation(columns: Sequence[Column]) -> Draft | None:
    spans = [c for c in columns if c.all(is_pieces)]
    text = _text(columns)
    if len(spans) < 2 or text is None:
        return None
    head = _ordered(spans, "head")[0]
    tail = next(c for c in _ordered(spans, "tail") if c is not head)
    label, doubt = _label([c for c in columns if c not in (head, tail, text)])
    if label is None:
        return None
    labels, names = classes.labels_and_names(label.values, label.classes)
    negative, guess = classes.negative(labels, label.values, label.classes)
    if doubtful := classes.doubtful(labels):
        guess["labels"] = doubtful
    return Draft(
        kind="relation",
        labels=labels,
        negative=negative,
        names=names,
        columns={
            "text": text.name,
            "head": head.name,
            "tail": tail.name,
            "label": label.name,
            **_keys(columns, (text, head, tail, label)),
        },
        guesses=guess | doubt,
    )


def _ranking(columns: Sequence[Column]) -> Draft | None:
    lists = [c for c in columns if c.all(is_strings)]
    query = next((c for c in _ordered(columns, "query") if _called(c, "query") and c.all(is_text)), None)
    for candidates in _ordered(lists, "candidates"):
        for relevance in _ordered(columns, "relevance"):
            if query is None or relevance is candidates or not _parallel(candidates, relevance):
                continue
            values = [each for value in relevance.values for each in value or []]
            if not all(type(v) in (int, float, bool) or v in ("relevant", "irrelevant") for v in values):
                continue
            roles = {"query": query.name, "candidates": candidates.name, "relevance": relevance.name}
            above = any(type(v) in (int, float) and v > 1 for v in values)
            graded = above and all(is_whole(v) and v <= GRADES for v in values)
            what = "grades above 1" if graded else f"grades that are not whole numbers from 0 to {GRADES}"
            guess = {"kind": f'has {what}; kind = "ranking" asks only whether a grade is above 0'}
            return Draft(
                kind="graded" if graded else "ranking",
                columns={**roles, **_keys(columns, (query, candidates, relevance))},
                guesses=guess if above else {},
            )
    return None


def _multilabel(columns: Sequence[Column]) -> Draft | None:
    text = _text(columns)
    for labels in _ordered([c for c in columns if c.all(is_labels) and any(c.values)], "labels"):
        values = [value for value in labels.values if value is not None]
        if text is None or not (_called(labels, "labels") or _called(labels, "label")):
            continue
        guesses = _other_texts(text, columns)
        roles = {"text": text.name, **_keys(columns, (text, labels))}
        flat = [each for value in values for each in value]
        named, names = classes.labels_and_names(flat)
        if labels.classes:
            named, names = distinct(label_of(each, labels.classes) for each in flat), labels.classes
        if len(named) > MOST:
            continue
        if all(len(value) == 1 for value in values) and len(named) > 1:
            columns_ = {**roles, "label": labels.name}
            return Draft(kind="classification", labels=named, names=names, columns=columns_, guesses=guesses)
        return Draft(
            kind="multilabel",
            labels=labels.classes or named,
            names=names,
            columns={**roles, "labels": labels.name},
            guesses=guesses,
        )
    return None


def _labelled(columns: Sequence[Column]) -> Draft | None:
    """One text or two, with a class or a number."""
    label, guesses = _label([c for c in columns if not _keyed(c, columns)])
    texts = [c for c in _texts(columns) if c is not label]
    text = _text([c for c in columns if c is not label])
    if label is None or text is None:
        return None
    others = [c for c in texts if c is not text and c.all(lambda value: " " in value.strip() or value == "")]
    told = [c for c in others if _tells(c)]
    others = [c for c in others if c not in told]
    pair = next((c for c in _ordered(texts, "text_pair") if c is not text and _called(c, "text_pair")), None)
    said = [guesses["columns"]] if guesses else []
    if pair is None and len(others) == 1:
        pair = others[0]
        said.append(f"{pair.name} is taken for a second text; leave text_pair out if it is none")
    elif pair is None and others:
        shown = ", ".join(c.name for c in others)
        said.append(f'{shown} are texts, too; "{text.name} + {others[0].name}" joins two to one')
    elif pair is None and told:
        said.append(f"{told[0].name} is left out: by its name it may give the label away")
    guesses = {"columns": "; ".join(said)} if said else {}
    roles = {"text": text.name, **({"text_pair": pair.name} if pair else {}), "label": label.name}
    roles |= _keys(columns, [c for c in (text, pair, label) if c])
    if not label.classes and classes.amounts(label.values):
        return Draft(kind="regression", columns=roles, guesses=guesses)
    labels, names = classes.labels_and_names(label.values, label.classes)
    if len(labels) < 2:
        return None
    if doubtful := classes.doubtful(labels):
        guesses["labels"] = doubtful
    if not label.classes and all(number_of(value) is not None for value in labels):
        guesses["kind"] = 'the labels are numbers; if they are amounts, kind = "regression" without labels'
    return Draft(kind="classification", labels=labels, names=names, columns=roles, guesses=guesses)


# Roles


def _ordered(columns: Sequence[Column], role: str) -> list[Column]:
    """The columns, those with a usual name for the role first."""
    usual = NAMES[role]
    return sorted(columns, key=lambda c: usual.index(c.name.lower()) if c.name.lower() in usual else len(usual))


def _called(column: Column, role: str) -> bool:
    """Whether its name is a usual one for the role, in capitals or not."""
    return column.name.lower() in NAMES[role]


def _texts(columns: Sequence[Column]) -> list[Column]:
    return [c for c in columns if c.all(is_text) and not _keyed(c, columns)]


def _text(columns: Sequence[Column]) -> Column | None:
    """The text: by its name, else the longest that is none on the label."""
    texts = _texts(columns)
    named = [c for c in _ordered(texts, "text") if _called(c, "text")]
    longest = max(texts, key=lambda c: (not _tells(c), sum(len(v or "") for v in c.values)), default=None)
    return named[0] if named else longest


def _other_texts(text: Column, columns: Sequence[Column]) -> dict[str, str]:
    """What to look at where a text was chosen by its length, and there are others."""
    others = [c.name for c in _texts(columns) if c is not text]
    if _called(text, "text") or not others:
        return {}
    return {"columns": f"{text.name} is taken for the text, being the longest; other texts: {', '.join(others)}"}


def _tells(column: Column) -> bool:
    return any(word in column.name.lower() for word in TOLD)


def _label(columns: Sequence[Column]) -> tuple[Column | None, dict[str, str]]:
    """The column of classes or numbers: by its name, else the only one of few values, else, of several that are no
    texts, one that is called an answer, or the last; and what to look at where others could be it."""
    single = [c for c in columns if c.all(lambda value: isinstance(value, (str, int, float)))]
    named = [c for c in _ordered(single, "label") if _called(c, "label")]
    few = [c for c in single if c.classes or 1 < len(set(c.values)) <= min(FEW, len(c.values) // 2)]
    if label := next((c for c in named if len(set(c.values)) <= MOST), few[0] if len(few) == 1 else None):
        return label, {}
    words = [c for c in few if not c.all(is_text) or not any(" " in str(value).strip() for value in c.values)]
    if not words:
        return None, {}
    label = ([c for c in words if _tells(c)] or words)[-1]
    others = ", ".join(c.name for c in words if c is not label)
    return label, {"columns": f"{label.name} is taken for the label; {others} could be it, too"} if others else {}


def _keys(columns: Sequence[Column], taken: Sequence[Column]) -> dict[str, str]:
    """Ids and units, where a column of a usual name has values that can be."""
    free = [c for c in columns if c not in taken and c.all(lambda value: isinstance(value, (str, int)))]
    whole = [c for c in free if None not in c.values and "" not in c.values]
    unique = [c.name for c in whole if len(set(c.values)) == len(c.values)]
    ids = [name for name in unique if name.lower() in NAMES["id"]]
    units = [c.name for c in whole if _called(c, "unit")]
    ids += [name for name in unique if AN_ID.fullmatch(name) and name not in units]
    return {role: names[0] for role, names in (("id", ids), ("unit", units)) if names}


def _keyed(column: Column, columns: Sequence[Column]) -> bool:
    return column.name in _keys(columns, ()).values()


# Values of columns


def _parallel(column: Column, other: Column) -> bool:
    """Whether both hold lists, of equal length in every row."""
    texts = any(isinstance(value, str) for value in column.values)
    same = all(isinstance(b, str if texts else list) for b in other.values)
    return same and all(len(parts_of(a)) == len(parts_of(b)) for a, b in zip(column.values, other.values, strict=True))


def _like_tags(column: Column) -> bool:
    parts = [value for each in column.values for value in parts_of(each)]
    if not all(map(is_key, parts)):
        return False
    values = set(parts)
    if column.classes:
        return all(type(value) is int for value in values) and any(name == "O" for name in column.classes)
    prefixed = all(isinstance(v, str) and (v == "O" or (v.partition("-")[0] in LIKE and "-" in v)) for v in values)
    return bool(values - {"O"}) and (prefixed or ("O" in values and _called(column, "tags")))
