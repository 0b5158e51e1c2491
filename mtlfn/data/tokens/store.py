"""Examples tokenised once into an Arrow store, named by the hash of what went in, and memory-mapped from then on."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import frozen

from mtlfn.data.cache import locked, scratch_beside
from mtlfn.data.example import Example
from mtlfn.data.task import Dataset, Task, kind_of
from mtlfn.data.tokens.tokenise import Tokenised, tokenise

VERSION = 5  # of the tokenisation; raised whenever its result changes
# Counted of each split: examples; those with a token cut off; those whose label no token shows, which are not trained
# on; mentions that the head cannot express; words that come to no token, and entities with such a word: never found.
NOTES = (
    "examples",
    "truncated",
    "unusable",
    "inexpressible",
    "words without a token",
    "entities without a token",
)
TABLE, NOTED = "tokens.arrow", "mtlfn.json"  # files of a store
BATCH = 1024  # examples whose tokens are held as lists
COLUMNS = ("ids", "types", "marks", "starts", "examples", "labels", "label_starts")
STARTS = ("starts", "examples", "label_starts")  # those that say where something begins


@frozen(eq=False)
class Corpus:
    """One split of one task as flat arrays.

    Attributes:
        task: the task.
        ids, types, marks: int32 [tokens]: input ids, token types, marks (tagging: word number of a word's first
            token, else -1, and so for spans; relation: bits; otherwise -1).
        starts: int64 [sequences + 1]: where each sequence begins.
        examples: int64 [examples + 1]: the first sequence of each example.
        labels, label_starts: labels of every example, laid flat, int32 (regression: float32), and where each
            example's begin.
        digest: SHA-256 over the arrays.
        notes: counts of what was cut or left out.
    """

    task: Task
    ids: np.ndarray
    types: np.ndarray
    marks: np.ndarray
    starts: np.ndarray
    examples: np.ndarray
    labels: np.ndarray
    label_starts: np.ndarray
    digest: str
    notes: dict[str, int]

    def __len__(self) -> int:
        return len(self.examples) - 1

    @property
    def tokens(self) -> int:
        """Input tokens of one pass."""
        return len(self.ids)

    def sequences(self, example: int) -> range:
        return range(int(self.examples[example]), int(self.examples[example + 1]))

    def length(self, sequence: int) -> int:
        return int(self.starts[sequence + 1] - self.starts[sequence])

    def label(self, example: int) -> np.ndarray:
        return self.labels[self.label_starts[example] : self.label_starts[example + 1]]


def load(
    dataset: Dataset, split: str, tokenizer: Any, max_length: int, cache: Path, tokenizer_sha256: str | None = None
) -> Corpus:
    """The tokenised split, from the cache where it is there and intact, else made and kept.

    For training, ranking queries become pairs of one relevant and one irrelevant candidate. ``tokenizer_sha256``: its
    ``tokenizer_digest``, which takes a sixth of a second, where it is known.
    """
    examples = dataset[split]
    if split == "train":
        examples = kind_of(dataset.task).training(examples)
    key = _key(dataset.task, split, examples, tokenizer_sha256 or tokenizer_digest(tokenizer), max_length)
    folder = cache / "tokens" / key
    stored = _read(folder)
    if stored is None:
        lock = cache / "locks" / key
        lock.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock):
            stored = _read(folder)  # another process may have made it while this one waited
            if stored is None:
                _write(folder, *_tokenised(dataset.task, split, examples, tokenizer, max_length))
                stored = _read(folder)
    if stored is None:
        raise OSError(errno.EIO, "what was just written there reads otherwise", str(folder))
    arrays, digest, notes = stored
    return Corpus(task=dataset.task, **arrays, digest=digest, notes=notes)


def in_memory(task: Task, examples: Sequence[Example], tokenizer: Any, max_length: int) -> Corpus:
    """Examples that are only predicted on: all of them, tokenised, kept nowhere."""
    arrays, notes = _tokenised(task, "", examples, tokenizer, max_length)
    return Corpus(task=task, **arrays, digest=_digest(arrays), notes=notes)


def _key(task: Task, split: str, examples: Sequence[Example], tokenizer: str, max_length: int) -> str:
    h = hashlib.sha256()
    settings = [VERSION, attrs.asdict(task), split, tokenizer, max_length]
    h.update(json.dumps(settings, sort_keys=True).encode())
    for values in map(attrgetter(*(field.name for field in attrs.fields(Example))), examples):
        h.update(json.dumps(values, ensure_ascii=False).encode())
        h.update(b"\n")
    return h.hexdigest()


def tokenizer_digest(tokenizer: Any) -> str:
    """SHA-256 of a fast tokenizer's definition, less the truncation and padding that its last use left behind."""
    definition = json.loads(tokenizer.backend_tokenizer.to_str())
    del definition["truncation"], definition["padding"]
    if (side := getattr(tokenizer, "truncation_side", "right")) != "right":
        definition["truncation_side"] = side
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()


def _digest(arrays: dict[str, np.ndarray]) -> str:
    h = hashlib.sha256()
    for name in COLUMNS:
        data = np.ascontiguousarray(arrays[name])
        h.update(f"{name} {data.dtype.str} {data.shape}".encode())
        h.update(data.data)
    return h.hexdigest()


def _tokenised(
    task: Task, split: str, examples: Sequence[Example], tokenizer: Any, max_length: int
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """The arrays of a split, and its notes."""
    notes: dict[str, int] = dict.fromkeys(NOTES, 0)

    def usable() -> Iterator[Tokenised]:
        for row in tokenise(task, examples, tokenizer, max_length):
            notes["examples"] += 1
            notes["truncated"] += row.truncated
            notes["unusable"] += not row.usable
            notes["inexpressible"] += row.lost
            notes["words without a token"] += row.silent[0]
            notes["entities without a token"] += row.silent[1]
            # A label that its tokens no longer show teaches nothing; for evaluation it stays, and counts as missed.
            if row.usable or split != "train":
                yield row

    return _flatten(usable(), kind_of(task).label_type), notes


def _flatten(rows: Iterable[Tokenised], label_type: str = "int32") -> dict[str, np.ndarray]:
    """The arrays of rows that come one by one: of a million rows, the lists would take ten times the memory."""
    remaining = iter(rows)
    parts = [_columns([], label_type)]
    while batch := list(islice(remaining, BATCH)):
        parts.append(_columns(batch, label_type))
    flat = {name: np.concatenate([part.pop(name) for part in parts]) for name in COLUMNS}
    return flat | {name: np.concatenate([[0], np.cumsum(flat[name])]) for name in STARTS}


def _columns(rows: Sequence[Tokenised], label_type: str) -> dict[str, np.ndarray]:
    """The columns of some rows, with sizes in the place of ``STARTS``."""
    sequences = [s for row in rows for s in row.ids]

    def flat(parts: Iterable[Sequence[float]], form: str = "int32") -> np.ndarray:
        return np.fromiter(chain.from_iterable(parts), dtype=form)

    def sizes(parts: Iterable[Sequence[Any]]) -> np.ndarray:
        return np.fromiter(map(len, parts), dtype=np.int64)

    return {
        "ids": flat(sequences),
        "types": flat(s for row in rows for s in row.types),
        "marks": flat(s for row in rows for s in row.marks),
        "starts": sizes(sequences),
        "examples": sizes(row.ids for row in rows),
        "labels": flat((row.labels for row in rows), label_type),
        "label_starts": sizes(row.labels for row in rows),
    }


def _write(folder: Path, arrays: dict[str, np.ndarray], notes: dict[str, int]) -> None:
    """Keeps them: written to a sibling first, so that a half-written store is never read."""
    import pyarrow

    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = scratch_beside(folder)
    try:
        # A single row, whose lists are the arrays: as they lie in the file, so are they mapped into memory.
        columns = {name: pyarrow.LargeListArray.from_arrays([0, len(array)], array) for name, array in arrays.items()}
        table = pyarrow.table(columns)
        with (scratch / TABLE).open("wb") as file, pyarrow.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        (scratch / NOTED).write_text(json.dumps({"digest": _digest(arrays), "notes": notes}))
        try:
            os.rename(scratch, folder)
        except OSError:
            if _read(folder) is None:  # there, but not intact
                shutil.rmtree(folder, ignore_errors=True)
                os.rename(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _read(folder: Path) -> tuple[dict[str, np.ndarray], str, dict[str, int]] | None:
    """The stored arrays, memory-mapped, with digest and notes; None when absent or not what was written."""
    import pyarrow

    try:
        written = json.loads((folder / NOTED).read_text())
        with pyarrow.memory_map(str(folder / TABLE)) as file:
            table = pyarrow.ipc.open_file(file).read_all()
        arrays = {name: table[name].chunk(0).values.to_numpy() for name in COLUMNS}
        digest = _digest(arrays)
        return (arrays, digest, written["notes"]) if digest == written["digest"] else None
    except (OSError, ValueError, RecursionError, LookupError, pyarrow.ArrowException):
        return None
