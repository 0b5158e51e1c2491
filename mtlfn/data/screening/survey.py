"""What a data set holds, before anybody trains on it: counts, lengths, repeated texts, what test shares with train."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mtlfn.data.example import Example
from mtlfn.data.kinds.kind import no_silence
from mtlfn.data.screening import notices
from mtlfn.data.screening.apart import compared
from mtlfn.data.task import PROBLEMS, SPLITS, Dataset, Task, kind_of, label_counts
from mtlfn.data.tokens.tokenise import CHUNK, encodings, tokenise
from mtlfn.data.windows import WORD

LENGTHS = (128, 256, 384, 512)  # what the longest sequence is rounded up to
SHARE = 95  # per cent of the sequences that are not cut
UNCUT = 2**30  # tokens: longer than any text
SAMPLE = 2000  # sequences that are measured for that, evenly spread over a split
NGRAM = 8  # words


def lengths(task: Task, examples: Sequence[Example], tokenizer: Any, most: int | None = None) -> np.ndarray:
    """Tokens of the sequences as the model reads them where nothing is cut, special tokens included, int64; ``most``:
    of so many, evenly spread over all."""
    if most is not None and len(examples) > most:
        examples = [examples[i * len(examples) // most] for i in range(most)]
    texts = [
        text
        for at in range(0, len(examples), CHUNK)
        for laid in kind_of(task).lay(examples[at : at + CHUNK], tokenizer, UNCUT)
        for text in laid.texts
    ]
    if most is not None and len(texts) > most:
        texts = [texts[i * len(texts) // most] for i in range(most)]
    chunks = (texts[at : at + CHUNK] for at in range(0, len(texts), CHUNK))
    return np.fromiter((len(encoding) for chunk in chunks for encoding in encodings(chunk, tokenizer)), dtype=np.int64)


def fitting_length(datasets: Iterable[Dataset], tokenizer: Any, longest: int | None) -> int:
    """The least of ``LENGTHS`` that leaves 95 % of every task's training sequences whole, at most ``longest``."""
    percentiles = (np.percentile(lengths(d.task, d.train, tokenizer, SAMPLE), SHARE) for d in datasets if d.train)
    wanted = max(percentiles, default=0.0)
    fits = next((n for n in LENGTHS if n >= math.ceil(wanted)), LENGTHS[-1])
    return fits if longest is None else min(fits, longest)


def repeated(dataset: Dataset) -> dict[str, int]:
    """How many texts occur again, but for white space and case: within each split, and in each pair ("train / dev")."""
    texts = {split: Counter(compared(e) for e in dataset[split]) for split in SPLITS}
    repeats = {split: sum(n - 1 for n in counts.values()) for split, counts in texts.items()}
    for i, a in enumerate(SPLITS):
        repeats |= {f"{a} / {b}": len(texts[a].keys() & texts[b].keys()) for b in SPLITS[i + 1 :]}
    return repeats


def overlap(dataset: Dataset, split: str) -> float:
    """The share of a split's examples that hold a run of ``NGRAM`` words which training has too."""
    examples = dataset[split]
    grams = {gram for e in examples for gram in _grams(e)}  # few, where those of the training texts are many
    shared = {gram for e in dataset.train for gram in _grams(e) if gram in grams}
    return sum(any(gram in shared for gram in _grams(e)) for e in examples) / len(examples) if examples else 0.0


def _grams(example: Example) -> Iterator[int]:
    words = WORD.findall(" ".join(part for pair in example.texts for part in pair if part).lower())
    return (hash(tuple(words[i : i + NGRAM])) for i in range(len(words) - NGRAM + 1))


def silent_words(dataset: Dataset, tokenizer: Any, length: int) -> dict[str, dict[str, int]]:
    """Split -> how many words, and how many entities, come to no token; of tagging alone, as ``store`` counts them."""
    out = {}
    for split in SPLITS if kind_of(dataset.task).silent is not no_silence else ():
        silent = [row.silent for row in tokenise(dataset.task, dataset[split], tokenizer, length)]
        counts = (sum(words for words, _ in silent), sum(entities for _, entities in silent))
        out[split] = dict(zip(("words without a token", "entities without a token"), counts, strict=True))
    return out


def _plain(value: Any) -> str:
    """A note without the signs of a dictionary."""
    return ", ".join(f"{n} ({name})" for name, n in value.items()) if isinstance(value, dict) else str(value)


def describe(dataset: Dataset, tokenizer: Any, longest: int | None, terms: Mapping[str, str]) -> Iterator[str]:
    """The survey, line by line."""
    task = dataset.task
    yield f"{task.name}: {task.kind}, level {task.level}, metric {task.metric}, from {dataset.source}"
    yield f"terms     {terms.get(task.name, 'not known here: look at the source')}"
    suggested = fitting_length([dataset], tokenizer, longest)
    for split in SPLITS:
        examples = dataset[split]
        if not examples:
            yield f"{split:<9} none"
            continue
        units = len({e.unit for e in examples})
        gold = f", {len(dataset.gold[split]):,} documents or queries" if dataset.gold else ""
        sizes = lengths(task, examples, tokenizer)
        yield f"{split:<9} {len(examples):,} examples of {units:,} units{gold}"
        shown = "  ".join(f"{p} % {np.percentile(sizes, p):.0f}" for p in (50, 95, 99))
        cut = int((sizes > suggested).sum())
        yield f"  tokens  {sizes.sum():,}; a sequence: {shown}  longest {sizes.max()}; {cut:,} longer than {suggested}"
        values = np.array([e.value for e in examples if e.value is not None])
        if len(values):
            spread = f"mean {values.mean():.3g}  std {values.std():.3g}  least {values.min():g}  most {values.max():g}"
            yield f"  values  {spread}"
        else:
            counts = "  ".join(f"{label} {n:,}" for label, n in label_counts(task, examples).items())
            yield f"  labels  {counts}"
    yield f"length    --max-length {suggested} leaves {SHARE} % of the training sequences whole"
    notes = dict(dataset.notes)
    problems = notes.pop(PROBLEMS, [])
    yield f"reading   {', '.join(f'{name}: {_plain(value)}' for name, value in notes.items()) or 'nothing to report'}"
    for problem in problems:
        yield f"  {problem}"
    for notice in notices.notices(dataset, silent_words(dataset, tokenizer, suggested)):
        yield f"notice    {notice}"
    shared = ", ".join(f"{where} {n:,}" for where, n in repeated(dataset).items())
    yield f"repeated  texts that occur again: {shared}"
    for split in ("dev", "test"):
        if dataset[split]:
            yield f"overlap   {overlap(dataset, split):.1%} of {split} hold {NGRAM} words in a row that training has"
