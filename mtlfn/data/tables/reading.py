"""From a mapping to a data set: the source's splits, their rows, an example or more each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from mtlfn.data import splits as splitting
from mtlfn.data.example import DataError, Example
from mtlfn.data.kinds import KINDS
from mtlfn.data.tables import sources
from mtlfn.data.tables.mapping import Mapping, entity_types, split_ends, split_name
from mtlfn.data.tables.rows import example
from mtlfn.data.tables.table import FIRST, Place, Row, Table
from mtlfn.data.tables.tags import to_iob2
from mtlfn.data.task import HIDDEN_TEST, PROBLEMS, SPLITS, Dataset, Task, fitted, hidden, kind_of, problems

DEV_NAMES = ("validation", "dev", "valid", "devel", "development", "val", "eval")
CONVERTED = "sentences whose tags were made IOB2"
SKIPPED = "unusable rows left out"


def read(name: str, mapping: Mapping, base: Path) -> Dataset:
    """The data set a mapping describes; texts are whole (``in_parts``).

    Args:
        name: of the task.
        base: folder that a relative ``mapping.source`` starts from.

    Raises:
        DataError: the source cannot be loaded, or a split, column or value is not what the mapping says; names the
            source, split and row (from 0) or line (from 1), what was found and what was expected.
    """
    negative = mapping.negative if KINDS[mapping.kind].negative_class else None
    labels = entity_types(mapping)
    task = Task(name=name, kind=mapping.kind, level=mapping.level, labels=labels, negative=negative)
    tables = sources.tables(name, mapping, base)
    source = mapping.source + (f"@{mapping.revision}" if mapping.revision else "")
    parts: dict[str, tuple[Example, ...]] = {}
    notes: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    unusable: list[str] = []
    texts: dict[str, dict[str, str]] = {}
    taken: dict[Table, dict[str, list[int]]] = {}  # table -> split -> which of its examples it is
    for split in SPLITS:
        wanted = _name(split, mapping, tables)
        if wanted is None:
            parts[split] = ()
            continue
        table = _table(wanted, split, name, source, tables)
        place = f"task {name}, {source}" + ("" if table.place == Path(source).name else f", {table.place}")
        if split == "test" and _unlabelled(task, mapping, table):
            rows = sum(1 for _ in table.rows())
            parts[split], notes = (), {**notes, HIDDEN_TEST: f"none of the {rows:,} rows of {wanted!r} has a label"}
            continue
        told = (Counter[str](), []) if table in taken else (counts, unusable)  # of a table that is read again, once
        found = _Reading(task, mapping, *told).examples(table, split, place)
        chosen = _part([e.unit for e in found], wanted)
        if not chosen:
            raise DataError(f"{place}: {wanted!r}, which {split} is to be, is none of the {len(found):,} examples")
        for other, before in taken.setdefault(table, {}).items():
            if shared := set(before) & set(chosen):
                raise DataError(
                    f"{place}: {other} is {_name(other, mapping, tables)!r} and {split} is {wanted!r}, which share "
                    f"{len(shared):,} of {len(found):,} rows, and training data must not be evaluated on; name parts "
                    "that share none, as train[:90%] and train[90%:]"
                )
        taken[table][split] = chosen
        parts[split] = tuple(found[i] for i in chosen)
        if table.texts:
            texts[split] = table.texts
    for table in taken:
        counts.update(table.notes)
        unusable += table.unusable
    if unusable:
        notes[PROBLEMS] = unusable[:FIRST]
    if not parts["dev"]:
        parts = splitting.completed(splitting.salt(name, bool(texts)), parts, lambda e: e.unit, ("dev",))
        notes[splitting.MADE["dev"]] = splitting.HOW
    train, dev, test = (parts[split] for split in SPLITS)
    task = fitted(task, train)
    notes |= counts
    return Dataset(task=task, train=train, dev=dev, test=test, source=source, notes=notes, documents=texts)


def _name(split: str, mapping: Mapping, tables: dict[Any, Table]) -> str | None:
    """What the mapping calls a split; None where it is to have none."""
    name = getattr(mapping.splits, split)
    if split == "test":
        if name is None:
            return "test" if "test" in tables and "test" not in (mapping.splits.train, mapping.splits.dev) else None
        return name or None
    if split == "dev" and name == "validation" and name not in tables:  # the default
        free = [other for other in DEV_NAMES if other in tables and other != mapping.splits.train]
        return free[0] if free else None
    return name


def _table(wanted: str, split: str, name: str, source: str, tables: dict[Any, Table]) -> Table:
    if (table := tables.get(split_name(wanted))) is None:
        raise DataError(
            f"task {name}: {source} has no split {split_name(wanted)!r}, splits found: {', '.join(map(str, tables))}; "
            f"name the {split} split under splits in [task.{name}]"
        )
    return table


def _part(units: Sequence[str], wanted: str) -> list[int]:
    """Which examples, by their units, the part is that a name asks for, such as ``train[90%:]``: whole units, in the
    order in which they begin."""
    first: dict[str, int] = {}
    for i, unit in enumerate(units):
        first.setdefault(unit, i)
    order = sorted(range(len(units)), key=lambda i: first[units[i]])
    start, end = (_cut([units[i] for i in order], at) for at in split_ends(wanted))
    return sorted(order[start:end])


def _cut(units: Sequence[str], at: str | None) -> int | None:
    """Where a border falls: behind the unit that it would part."""
    if not at:
        return None
    count = int(at.rstrip("%"))
    place = len(units) * count // 100 if at.endswith("%") else count
    while 0 < place < len(units) and units[place] == units[place - 1]:
        place += 1
    return place


def _unlabelled(task: Task, mapping: Mapping, table: Table) -> bool:
    """Whether there are rows, and none has a label. A row that cannot be read is left to the reader."""
    gold = kind_of(task).gold
    several = [gold] if table.by_role else (getattr(mapping.columns, gold) or gold).split(" + ")
    if table.columns is not None and not set(several) <= set(table.columns):
        return not set(several) & set(table.columns)
    try:
        rows = (row for _, row in table.rows())
        first = next(rows, None)
        return first is not None and all(hidden(task, row.get(c)) for row in chain([first], rows) for c in several)
    except DataError:
        return False


@frozen
class _Reading:
    """How the rows of a task become examples; ``counts``: of what was converted or left out, ``unusable``: what
    is wrong with the first left out."""

    task: Task
    mapping: Mapping
    counts: Counter[str]
    unusable: list[str]

    def examples(self, table: Table, split: str, place: str) -> tuple[Example, ...]:
        """The examples of a split; DataError names the first row that cannot be used."""
        columns = _columns(self.mapping, table, place)
        names = self.mapping.names
        if not names:
            names = table.names.get(columns[kind_of(self.task).gold][0], ())
        out: list[Example] = []
        left: list[str] = []
        places: dict[str, Place] = {}
        for number, (where, row) in enumerate(table.rows()):
            try:
                whole = self._example(_roles(columns, row, table), names, f"{split}-{number:07d}")
                if whole.id in places:
                    raise DataError(f"the id {whole.id!r} is also that of {places[whole.id]}; ids must be unique")
            except DataError as error:
                if not self.mapping.skip_unusable:
                    raise DataError(f"{place}, {where}: {error}") from error
                left.append(f"{where}: {error}")
                self.counts[SKIPPED] += 1
                if len(self.unusable) < FIRST:
                    self.unusable.append(f"{place}, {where}: {error}")
                continue
            places[whole.id] = where
            out.append(whole)
        if not out:
            if left:
                raise DataError(f"{place}: none of its {len(left):,} rows can be used; {left[0]}")
            raise DataError(f"{place} is empty, expected at least one row")
        return tuple(out)

    def _example(self, roles: Row, names: tuple[str, ...], number: str) -> Example:
        task = self.task
        if kind_of(task).tags and isinstance(tags := roles["tags"], list):
            named = [names[tag] if type(tag) is int and 0 <= tag < len(names) else tag for tag in tags]
            words = [tag for tag in named if isinstance(tag, str)]
            if len(words) == len(named):
                roles["tags"] = to_iob2(words, self.mapping.tags)
                if roles["tags"] != words:
                    self.counts[CONVERTED] += 1
        whole = example(task, roles, names, number, self.mapping.negative)
        if problem := problems(task, whole):
            raise DataError(f"the example {whole.id!r} {problem}")
        return whole


def _columns(mapping: Mapping, table: Table, place: str) -> dict[str, list[str]]:
    """Role -> the columns whose values it is made of; DataError where the table lacks one."""
    kind = KINDS[mapping.kind]
    if table.by_role:
        return {role: [role] for role in kind.roles}
    columns = {role: column.split(" + ") for role, column in asdict(mapping.columns).items() if column is not None}
    if missing := [role for role in kind.roles if role not in columns]:
        raise DataError(f"{place}: columns lacks {', '.join(missing)}, which the kind {mapping.kind} needs")
    for role, several in columns.items():
        for column in several:
            if table.columns is not None and column not in table.columns:
                raise DataError(
                    f"{place}: the column {column!r} (for {role}) is missing, columns found: {', '.join(table.columns)}"
                )
    return columns


def _roles(columns: dict[str, list[str]], row: Row, table: Table) -> Row:
    """Role -> value; a column that this row lacks is an error of the row."""
    if table.by_role:
        columns = {**columns, **{role: [role] for role in ("id", "unit", "text_pair") if role in row}}
    if missing := [column for several in columns.values() for column in several if column not in row]:
        raise DataError(f"the column {missing[0]!r} is missing, columns found: {', '.join(row) or 'none'}")
    return {role: row[one] if not more else [row[c] for c in (one, *more)] for role, (one, *more) in columns.items()}
