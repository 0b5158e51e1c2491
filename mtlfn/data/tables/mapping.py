"""Any table is a task once a mapping names its columns. The mapping is a value that a TOML file can hold:

[task.my_ner]
source = "path/to/folder, file or hub/id"
kind = "tagging"
level = 1
labels = ["Disease"]
columns = { tokens = "tokens", tags = "ner_tags" }
splits = { train = "train", dev = "validation", test = "test" }
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

from attrs import asdict, field, fields, frozen

from mtlfn.data.example import DataError
from mtlfn.data.kinds import KINDS
from mtlfn.data.kinds.kind import of_type
from mtlfn.data.tables.formats import BY_ROLE, READERS
from mtlfn.data.tables.tags import SCHEMES, Scheme, types

FORMATS = tuple(READERS)
LATER = {"identity": "later"}  # of a field that the identity of a run has only where it is not the default
SPLIT = re.compile(r"(?P<name>[^\[\]]+)(\[(?P<start>\d{1,9}|\d{1,3}%)?:(?P<end>\d{1,9}|\d{1,3}%)?\])?")


@frozen(kw_only=True)
class Columns:
    """Which column of the table holds what; a field inside a column of records is written ``column.field``, and several
    columns that are read as the list of their values ``a + b``. Of files without names of columns (CoNLL), the number
    of the column, from 0, or from the right, from -1.

    Attributes:
        text, text_pair: a string, or a list of strings that is joined by one blank.
        tokens, tags: tagging: lists of equal length; tags are IOB2.
        mentions: spans: a list of objects with ``label`` and ``start`` and ``end``, or ``label`` and ``spans``, a list
            of [start, end], in characters of ``text``, end exclusive; or a list of [label, spans].
        label: relation, classification: one class, or a list that holds one; regression: a number, or a list of
            numbers, whose mean is taken. labels: multilabel: a list of labels.
        head, tail: relation: ``[start, end]`` or a list of them, characters of ``text``, end exclusive.
        query: ranking: a string. candidates: a list of strings. relevance: one value a candidate, "relevant" or
            "irrelevant", or a number or bool, of which more than 0 is relevant.
        id: string or number, unique in the split; default: split and row number.
        unit: string or number, the document or query that statistics resample; default: the id.
    """

    text: str | None = None
    text_pair: str | None = None
    tokens: str | None = None
    tags: str | None = None
    mentions: str | None = field(default=None, metadata=LATER)
    label: str | None = None
    labels: str | None = None
    head: str | None = None
    tail: str | None = None
    query: str | None = None
    candidates: str | None = None
    relevance: str | None = None
    id: str | None = None
    unit: str | None = None


@frozen(kw_only=True)
class Splits:
    """Names of the splits in the source, or parts of one, as ``train[:90%]`` and ``train[90%:]``: whole units.

    A source without a dev split gives a tenth of its training units, by a hash of their names. Without a name for test,
    a split called "test" is taken if there is one; with an empty one (in TOML, ``test = false``) none is. A test split
    in which nothing has a label, as public sets hide it, is left out in any case.
    """

    train: str = "train"
    dev: str = "validation"
    test: str | None = None


@frozen(kw_only=True)
class Mapping:
    """How a table, wherever it lies, becomes a task. DataError on values that contradict each other.

    Attributes:
        source: a folder, a file (then the only split is "train"), or a Hub id.
        format: one of ``FORMATS``; default: what the files in the folder are.
        revision: Hub only: git revision (a commit hash makes the data repeatable).
        subset: Hub only: the configuration, for data sets that have several.
        data_dir: Hub only: the folder of the repository that holds the files.
        kind, level, labels, negative: as in ``Task``. multilabel: ``negative`` is a label of the table that says that
            there is none; it is left out, and not among ``labels``.
        names: names of integer tags or labels in the order of the integers; default: those of the table's
            class-label feature, else an integer is a label itself, as written.
        columns, splits: where to find what.
        tags: scheme of the table's tags, which are made IOB2: one of ``tags.SCHEMES``; BIOES needs not be named.
        separator: between the parts of a list in a CSV or TSV file, such as ";". A JSON list needs none.
        skip_unusable: rows that cannot be used are left out and counted.
    """

    source: str
    revision: str | None = None
    subset: str | None = None
    data_dir: str | None = None
    kind: str
    level: Literal[1, 2]
    labels: tuple[str, ...] = ()
    negative: str | None = None
    names: tuple[str, ...] = ()
    columns: Columns = Columns()
    splits: Splits = Splits()
    format: str | None = field(default=None, metadata=LATER)
    tags: Scheme | None = field(default=None, metadata=LATER)
    separator: str | None = field(default=None, metadata=LATER)
    skip_unusable: bool = field(default=False, metadata=LATER)

    def __attrs_post_init__(self) -> None:
        if problem := _contradiction(self):
            raise DataError(problem)


def _contradiction(mapping: Mapping) -> str | None:
    kind, labels, splits = mapping.kind, mapping.labels, mapping.splits
    if kind not in KINDS:
        return f"the kind is {kind!r}, expected one of {', '.join(KINDS)}"
    needs, least = KINDS[kind], KINDS[kind].least_labels
    if len(labels) < least or len(set(labels)) < len(labels) or (least == 0 and labels):
        number = f"at least {least}" if least else "no"
        return f"labels is {list(labels)}, expected {number} different names for the kind {kind}"
    known = ", ".join(labels)
    if needs.negative_class:
        fits, wanted = mapping.negative in labels, f"one of {known}"
    elif needs.none_is_an_answer:
        fits, wanted = mapping.negative not in labels, f"another name than {known}"
    else:
        fits, wanted = mapping.negative is None, f"none for the kind {kind}"
    if not fits:
        return f"negative is {mapping.negative!r}, expected {wanted}"
    if mapping.format is not None and mapping.format not in FORMATS:
        return f"the format is {mapping.format!r}, expected one of {', '.join(FORMATS)}"
    if mapping.separator == "":
        return "separator is '', expected what stands between the parts of a field"
    if needs.tags and not entity_types(mapping):
        return f"labels is {list(labels)}, expected a type of mentions"
    if mapping.tags is not None and not KINDS[kind].tags:
        return f"tags is {mapping.tags!r}, expected none for the kind {kind}"
    given = {role for role, column in asdict(mapping.columns).items() if column is not None}
    if not given or mapping.format in BY_ROLE:  # the format may say what is what: the reader will see
        return _contradiction_of_splits(splits)
    if missing := [role for role in needs.roles if role not in given]:
        return f"columns lacks {', '.join(missing)}, which the kind {kind} needs"
    if surplus := given - {*needs.roles, *needs.optional}:
        return f"columns has {', '.join(sorted(surplus))}, which the kind {kind} does not use"
    return _contradiction_of_splits(splits)


def _contradiction_of_splits(splits: Splits) -> str | None:
    if empty := [split for split in ("train", "dev") if getattr(splits, split) == ""]:
        how = "; leave it out, and dev is made where there is none" if empty == ["dev"] else ""
        return f"splits.{empty[0]} is '', expected a name{how}"
    named = [name for name in (splits.train, splits.dev, splits.test) if name]
    if len(set(named)) < len(named):
        return f"splits is {', '.join(named)}, expected different names: training data must not be evaluated on"
    if odd := [name for name in named if not SPLIT.fullmatch(name)]:
        return f"splits has {odd[0]!r}, expected a name, or a part of one as in train[:90%]"
    return None


def split_name(wanted: str) -> str:
    """The split in a name or a part of one: that of ``train[90%:]`` is train."""
    return _parts_of(wanted)["name"]


def split_ends(wanted: str) -> tuple[str | None, str | None]:
    """Where a part of a split begins and ends, as rows or per cent; None, or nothing, where it is not cut."""
    return _parts_of(wanted)["start"], _parts_of(wanted)["end"]


def _parts_of(wanted: str) -> re.Match[str]:
    whole = SPLIT.fullmatch(wanted)
    assert whole is not None, "a mapping holds no other"
    return whole


def entity_types(mapping: Mapping) -> tuple[str, ...]:
    """The labels of a task; where they are of tags, which may be named by them, the types."""
    return types(mapping.labels) if KINDS[mapping.kind].tags else mapping.labels


def structure(table: Any, name: str) -> Mapping:
    """The mapping in a TOML table ``[task.<name>]``. DataError names every wrong key, what it holds and what is known.

    Args:
        table: nested dict as ``tomllib`` gives it.
    """
    import cattrs

    converter = cattrs.Converter(forbid_extra_keys=True)
    # By default cattrs would take 3 for "3", and "abc" for the list a, b, c.
    converter.register_structure_hook(str, lambda value, _: of_type(value, str, "a string"))
    hooks: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
        (tuple[str, ...], _string_list),
        (Literal[1, 2], lambda value: _one_of(value, (1, 2))),
        (Scheme | None, lambda value: _one_of(value, SCHEMES)),
        (bool, lambda value: of_type(value, bool, "true or false")),
    )
    for form, hook in hooks:
        converter.register_structure_hook_func(lambda f, form=form: f == form, lambda v, _, hook=hook: hook(v))
    for part in (Columns, Splits, Mapping):
        plain = cattrs.gen.make_dict_structure_fn(part, converter, _cattrs_forbid_extra_keys=True)
        converter.register_structure_hook(
            part, lambda value, form, plain=plain: plain(of_type(value, dict, "a table"), form)
        )
    try:
        return converter.structure(_without_test(table), Mapping)
    except (cattrs.BaseValidationError, DataError) as error:
        if isinstance(error, DataError):
            raise DataError(f"[task.{name}]: {error}") from error
        errors = cattrs.transform_error(error, path=f"task.{name}", format_exception=_explain)
        raise DataError(f"[task.{name}] cannot be used: {'; '.join(errors)}") from error


def _without_test(table: Any) -> Any:
    """The table with ``splits.test = false`` written as no name."""
    splits = table.get("splits") if isinstance(table, dict) else None
    if isinstance(splits, dict) and splits.get("test") is False:
        return {**table, "splits": {**splits, "test": ""}}
    return table


def _string_list(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise DataError(f"found {value!r}, expected a list of strings")
    return tuple(value)


def _one_of(value: Any, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed or isinstance(value, bool):
        raise DataError(f"found {value!r}, expected one of {', '.join(map(str, allowed))}")
    return value


def _explain(error: BaseException, _: Any) -> str:
    import cattrs

    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        known = ", ".join(a.name for a in fields(error.cl))
        return f"unknown key {', '.join(sorted(error.extra_fields))}, expected some of {known}"
    if isinstance(error, KeyError):
        return f"the key {error.args[0]} is missing"
    return str(error)
