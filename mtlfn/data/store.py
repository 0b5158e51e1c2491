"""Examples tokenised once into an Arrow store, named by the hash of what went in, and memory-mapped from then on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from attrs import frozen

from mtlfn.data.task import Dataset, Example, Task
from mtlfn.data.tokenise import Tokenised, tokenise, training_examples

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
COLUMNS = ("ids", "types", "marks", "starts", "examples", "labels", "label_starts")


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
        examples = training_examples(dataset.task, examples)
    key = _key(dataset.task, split, examples, tokenizer_sha256 or tokenizer_digest(tokenizer), max_length)
    folder = cache / "tokens" / key
    arrays, notes = _read(folder) or _write(folder, dataset.task, split, examples, tokenizer, max_length)
    return Corpus(
        task=dataset.task,
        **arrays,
        digest=_digest(arrays),
        notes=notes,
    )


def _key(task: Task, split: str, examples: Sequence[Example], tokenizer: str, max_length: int) -> str:
    h = hashlib.sha256()
    settings = [VERSION, attrs.asdict(task), split, tokenizer, max_length]
    h.update(json.dumps(settings, sort_keys=True).encode())
    for example in examples:
        h.update(json.dumps(attrs.astuple(example, recurse=False), ensure_ascii=False).encode())
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
        h.update(data.tobytes())
    return h.hexdigest()


def _write(
    folder: Path, task: Task, split: str, examples: Sequence[Example], tokenizer: Any, max_length: int
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Tokenises and keeps the result: written to a sibling first, so that a half-written store is never read."""
    import datasets

    rows, notes = [], dict.fromkeys(NOTES, 0)
    for row in tokenise(task, examples, tokenizer, max_length):
        notes["examples"] += 1
        notes["truncated"] += row.truncated
        # A label that its tokens no longer show teaches nothing; for evaluation it stays, and counts as missed.
        if row.usable or split != "train":
            rows.append(row)
        notes["unusable"] += not row.usable
        notes["inexpressible"] += row.lost
        notes["words without a token"] += row.silent[0]
        notes["entities without a token"] += row.silent[1]
    label_type = "float32" if task.kind == "regression" else "int32"
    arrays = _flatten(rows, label_type)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=folder.name + ".tmp-", dir=folder.parent))
    try:
        table = {
            "input_ids": [row.ids for row in rows],
            "token_types": [row.types for row in rows],
            "marks": [row.marks for row in rows],
            "labels": [row.labels for row in rows],
        }
        ints = datasets.List(datasets.Value("int32"))
        features = datasets.Features(
            {
                **dict.fromkeys(("input_ids", "token_types", "marks"), datasets.List(ints)),
                "labels": datasets.List(datasets.Value(label_type)),
            }
        )
        with _without_progress():
            datasets.Dataset.from_dict(table, features=features).save_to_disk(str(scratch))
        (scratch / "mtlfn.json").write_text(json.dumps({"digest": _digest(arrays), "notes": notes}))
        try:
            os.rename(scratch, folder)
        except OSError:
            if _read(folder) is None:  # there, but not intact
                shutil.rmtree(folder, ignore_errors=True)
                os.rename(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return arrays, notes


def _flatten(rows: Sequence[Tokenised], label_type: str = "int32") -> dict[str, np.ndarray]:
    sequences = [s for row in rows for s in row.ids]

    def flat(parts: Iterator[Sequence[float]], form: str = "int32") -> np.ndarray:
        return np.fromiter(chain.from_iterable(parts), dtype=form)

    def starts(sizes: Iterator[int]) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(list(sizes), dtype=np.int64)]).astype(np.int64)

    return {
        "ids": flat(iter(sequences)),
        "types": flat(s for row in rows for s in row.types),
        "marks": flat(s for row in rows for s in row.marks),
        "starts": starts(len(s) for s in sequences),
        "examples": starts(len(row.ids) for row in rows),
        "labels": flat((row.labels for row in rows), label_type),
        "label_starts": starts(len(row.labels) for row in rows),
    }


def _read(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, int]] | None:
    """The stored arrays, memory-mapped where Arrow allows; None when absent or not what was written."""
    import datasets

    try:
        written = json.loads((folder / "mtlfn.json").read_text())
        table = datasets.load_from_disk(str(folder)).data.table.combine_chunks()
    except (OSError, ValueError, KeyError):
        return None
    nested = {name: _list(table[name]) for name in ("input_ids", "token_types", "marks")}
    inner = {name: _list(values) for name, (_, values) in nested.items()}
    label_starts, labels = _list(table["labels"])
    arrays = {
        "ids": inner["input_ids"][1].to_numpy(),
        "types": inner["token_types"][1].to_numpy(),
        "marks": inner["marks"][1].to_numpy(),
        "starts": inner["input_ids"][0],
        "examples": nested["input_ids"][0],
        "labels": labels.to_numpy(),
        "label_starts": label_starts,
    }
    return (arrays, written["notes"]) if _digest(arrays) == written["digest"] else None


def _list(column: Any) -> tuple[np.ndarray, Any]:
    """Offsets (from zero) and values of an Arrow list column."""
    import pyarrow

    if isinstance(column, pyarrow.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pyarrow.array([], column.type)
    offsets = column.offsets.to_numpy().astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    return offsets - first, column.values.slice(first, last - first)


@contextmanager
def _without_progress() -> Iterator[None]:
    """No progress bars of ``datasets`` while the store is written."""
    import datasets

    hidden = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not hidden:
            datasets.enable_progress_bars()
