"""Any table of the `datasets` library is a task once a mapping names its columns.

The mapping is a value that a TOML file can hold:

    [task.my_ner]
    source = "path/to/folder or hub/id"
    kind = "tagging"
    level = 1
    labels = ["Disease"]
    columns = { tokens = "tokens", tags = "ner_tags" }
    splits = { train = "train", dev = "validation", test = "test" }
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import asdict, fields, frozen

from mtlfn.data.example import DataError, Example
from mtlfn.data.kinds import KINDS
from mtlfn.data.kinds.kind import of_type
from mtlfn.data.rows import class_names, example
from mtlfn.data.task import HIDDEN_TEST, SPLITS, Dataset, Task, fitted, hidden, kind_of, problems

if TYPE_CHECKING:
    import datasets

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@frozen(kw_only=True)
class Columns:
    """Which column of the table holds what; a field inside a column of records is written ``column.field``, and several
    columns that are read as the list of their values ``a + b``.

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
    mentions: str | None = None
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
    """Names of the splits in the source.

    Without a name for test, a split called "test" is taken if there is one; with an empty one (in TOML, ``test =
    false``) none is. A test split in which nothing has a label, as public sets hide it, is left out in any case.
    """

    train: str = "train"
    dev: str = "validation"
    test: str | None = None


@frozen(kw_only=True)
class Mapping:
    """How a `datasets` folder or Hub id becomes a task. DataError on values that contradict each other.

    Attributes:
        source: folder written by ``save_to_disk``, or a Hub id.
        revision: Hub only: git revision (a commit hash makes the data repeatable).
        subset: Hub only: the configuration, for data sets that have several.
        data_dir: Hub only: the folder of the repository that holds the files.
        kind, level, labels, negative: as in ``Task``. multilabel: ``negative`` is a label of the table that says that
            there is none; it is left out, and not among ``labels``.
        names: names of integer tags or labels in the order of the integers; default: those of the table's
            class-label feature.
        columns, splits: where to find what.
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
    given = {role for role, column in asdict(mapping.columns).items() if column is not None}
    if missing := [role for role in needs.roles if role not in given]:
        return f"columns lacks {', '.join(missing)}, which the kind {kind} needs"
    if surplus := given - {*needs.roles, *needs.optional}:
        return f"columns has {', '.join(sorted(surplus))}, which the kind {kind} does not use"
    named = [name for name in (splits.train, splits.dev, splits.test) if name]
    if len(set(named)) < len(named):
        return f"splits is {', '.join(named)}, expected different names: training data must not be evaluated on"
    return None


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
        found = cattrs.transform_error(error, path=f"task.{name}", format_exception=_explain)
        raise DataError(f"[task.{name}] cannot be used: {'; '.join(found)}") from error


def _without_test(table: Any) -> Any:
    """The table with ``splits.test = false`` written as no name."""
    splits = table.get("splits") if isinstance(table, dict) else None
    hidden = isinstance(splits, dict) and splits.get("test") is False
    return {**table, "splits": {**splits, "test": ""}} if hidden else table


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


def read(name: str, mapping: Mapping, base: Path) -> Dataset:
    """The data set a mapping describes.

    Args:
        name: of the task.
        base: folder that a relative ``mapping.source`` starts from.

    Raises:
        DataError: the source cannot be loaded, or a split, column or value is not what the mapping says; names the
            source, split and row (from 0), what was found and what was expected.
    """
    negative = mapping.negative if KINDS[mapping.kind].negative_class else None
    task = Task(name=name, kind=mapping.kind, level=mapping.level, labels=mapping.labels, negative=negative)
    tables = _load(name, mapping, base)
    source = mapping.source + (f"@{mapping.revision}" if mapping.revision else "")
    splits: dict[str, tuple[Example, ...]] = {}
    notes: dict[str, str] = {}
    for split in SPLITS:
        key = getattr(mapping.splits, split)
        if key is None:
            key = "test" if "test" in tables and "test" not in (mapping.splits.train, mapping.splits.dev) else None
        if key is None or (split == "test" and key == ""):
            splits[split] = ()
            continue
        if key not in tables:
            raise DataError(
                f"task {name}: {source} has no split {key!r}, splits found: {', '.join(map(str, tables))}; "
                f"name the {split} split under splits in [task.{name}]"
            )
        if split == "test" and _unlabelled(task, mapping, tables[key]):
            splits[split], notes = (), {HIDDEN_TEST: f"none of the {len(tables[key]):,} rows of {key!r} has a label"}
            continue
        splits[split] = _examples(task, mapping, tables[key], split, f"task {name}, {source}, split {key}")
    return Dataset(task=fitted(task, splits["train"]), source=source, notes=notes, **splits)


def _load(name: str, mapping: Mapping, base: Path) -> dict[Any, Any]:
    import datasets

    folder = base / mapping.source
    if folder.is_dir():
        if mapping.revision or mapping.subset or mapping.data_dir:
            raise DataError(
                f"task {name}: {folder} is a folder, so revision, subset and data_dir mean nothing; leave them out"
            )
        try:
            tables = datasets.load_from_disk(str(folder))
        except (OSError, ValueError, TypeError, LookupError) as error:  # IndexError: a split saved without rows
            raise DataError(
                f"task {name}: {folder} cannot be loaded ({error}); expected a folder written by "
                "datasets.DatasetDict.save_to_disk, with at least one row in every split"
            ) from error
    elif not HUB_ID.fullmatch(mapping.source) or Path(mapping.source).exists():
        # load_dataset would take a folder of the working directory for a Hub id, although base names another place.
        raise DataError(f"task {name}: the folder {folder} does not exist; correct source in [task.{name}]")
    else:
        try:
            tables = datasets.load_dataset(
                mapping.source, name=mapping.subset, revision=mapping.revision, data_dir=mapping.data_dir
            )
        except Exception as error:  # whatever the Hub client, its HTTP library or a parser raises
            raise DataError(
                f"task {name}: {mapping.source!r} is no folder below {base} and cannot be loaded from the Hub "
                f"({type(error).__name__}: {error}); check the id, revision, subset, data_dir, network and access, or "
                "save the data set on a connected machine with save_to_disk and give its folder as source"
            ) from error
    if not isinstance(tables, dict):
        raise DataError(
            f"task {name}: {mapping.source} holds one table ({type(tables).__name__}), expected named splits; save a "
            "datasets.DatasetDict with train and validation"
        )
    return tables


def _unlabelled(task: Task, mapping: Mapping, table: datasets.Dataset) -> bool:
    """Whether no row of a table has a label."""
    several = (getattr(mapping.columns, kind_of(task).gold) or "").split(" + ")
    if not set(several) <= set(table.column_names):
        table = table.flatten()
    if not set(several) <= set(table.column_names):
        return not set(several) & set(table.column_names)
    rows = table.select_columns(several).with_format(None)
    return len(table) > 0 and all(hidden(task, row[column]) for row in rows for column in several)


def _examples(task: Task, mapping: Mapping, table: datasets.Dataset, split: str, place: str) -> tuple[Example, ...]:
    columns = {role: column.split(" + ") for role, column in asdict(mapping.columns).items() if column is not None}
    wanted = list(dict.fromkeys(column for several in columns.values() for column in several))
    if not set(wanted) <= set(table.column_names):
        table = table.flatten()  # records become column.field
    for role, several in columns.items():
        for column in several:
            if column not in table.column_names:
                raise DataError(
                    f"{place}: the column {column!r} (for {role}) is missing, columns found: "
                    f"{', '.join(table.column_names)}"
                )
    names = mapping.names
    if not names:
        names = class_names(table.features[columns[kind_of(task).gold][0]])
    # Other columns may be costly to decode (images); a stored format may turn lists into arrays.
    table = table.select_columns(wanted).with_format(None)
    examples: list[Example] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(table):
        roles = {
            role: row[one] if not more else [row[c] for c in (one, *more)] for role, (one, *more) in columns.items()
        }
        try:
            made = example(task, roles, names, f"{split}-{number:07d}", mapping.negative)
            if problem := problems(task, made):
                raise DataError(f"the example {made.id!r} {problem}")
            if made.id in seen:
                raise DataError(f"the id {made.id!r} is also that of row {seen[made.id]}; ids must be unique")
        except DataError as error:
            raise DataError(f"{place}, row {number}: {error}") from error
        seen[made.id] = number
        examples += kind_of(task).parts(made, split == "train")
    if not examples:
        raise DataError(f"{place} is empty, expected at least one row")
    return tuple(examples)
