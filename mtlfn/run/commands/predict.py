"""``mtlfn predict``: files in, predictions out, in the form of the files or as JSON lines."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from mtlfn.data.document import Log, by_kind
from mtlfn.data.official import OFFICIAL
from mtlfn.data.tables.formats import READERS
from mtlfn.data.task import SPLITS, kind_of
from mtlfn.run.disk import TEMPORARY, make_folder
from mtlfn.run.draft.look import is_conll
from mtlfn.run.errors import OK, UsageError
from mtlfn.run.one.forms import DOCUMENTS, FORMS, Item
from mtlfn.run.one.predictor import Predictor, load

if TYPE_CHECKING:
    from mtlfn.run.commands.command import Predict

TOGETHER = 2**15  # examples that are predicted together; more of them take more memory
TABLES = ("csv", "tsv", "parquet", "bioc")  # formats to train on; their lines are no texts to predict on
SHEETS = (".xls", ".xlsx", ".ods", ".arrow")
TELL = 5.0  # seconds between two lines of progress


def predict(asked: Predict) -> int:
    """Reads, predicts and writes; UsageError or DataError where something cannot be used, and nothing is written."""
    import torch

    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    if not asked.input.exists():
        raise UsageError(f"--input {asked.input}: does not exist")
    predictor = load(
        asked.model, asked.task, backbone=asked.backbone, device=asked.device, batch_tokens=asked.batch_tokens
    )
    form = asked.format or _form(asked.input, predictor)
    if form == "official":
        return _official(predictor, asked.input, asked.output)
    if asked.format in ("jsonl", "text", "conll") and not asked.input.is_file():
        raise UsageError(f"--input {asked.input}: is no file, which --format {asked.format} needs")
    items = FORMS[form](predictor, asked.input, _pairs(asked.pairs))
    if form == "brat" and not asked.pairs and DOCUMENTS.get(predictor.task.kind, (None,))[0] == ".ann":
        print(
            "relations are looked for between all mentions of a sentence; --pairs HEAD:TAIL,... keeps to types that "
            "the training data join",
            file=sys.stderr,
        )
    lines = asked.output is None or asked.output.name.endswith(".jsonl") or form in ("jsonl", "text", "texts")
    if asked.output is None:
        for _, text in _texts(predictor, items, form != "conll"):
            print(text, end="")
        return OK
    if form == "brat" and not lines:
        return _replaced(
            asked.output,
            lambda folder: _annotated(folder, predictor, items),
            f"files of annotation by {predictor.task.name}",
            folder=True,
        )
    return _replaced(
        asked.output,
        lambda file: _written(file, predictor, items, lines),
        f"predictions of {predictor.task.name}",
    )


def _form(source: Path, predictor: Predictor) -> str:
    """The form that the ending says."""
    if source.is_dir():
        return "brat" if predictor.task.kind in DOCUMENTS else "texts"
    if source.suffix == ".ann":
        return "brat"
    if source.name.endswith(READERS["conll"][1]):
        return "conll"
    if {".jsonl", ".json"} & set(source.suffixes):
        return "jsonl"
    if source.name.lower().endswith((*SHEETS, *(ending for form in TABLES for ending in READERS[form][1]))):
        raise UsageError(
            f"--input {source}: is no form to predict on; write its rows as JSON Lines (.jsonl) with "
            f"{', '.join(predictor.needed)}, or say --format text (a text a line) or conll (a word a line)"
        )
    if kind_of(predictor.task).tags and is_conll(source):
        raise UsageError(
            f"--input {source}: its lines are columns of words and tags; say --format conll, or --format text if each "
            "line is a text"
        )
    return "text"


def _pairs(given: str) -> set[tuple[str, str]]:
    pairs = [tuple(pair.strip().split(":")) for pair in given.split(",") if pair.strip()]
    if wrong := [pair for pair in pairs if len(pair) != 2 or not all(pair)]:
        raise UsageError(f"--pairs {given}: found {':'.join(wrong[0])!r}, expected HEAD:TAIL, as in Drug:Disease")
    return {(head, tail) for head, tail in pairs}


def _texts(predictor: Predictor, items: Iterator[Item], lines: bool) -> Iterator[tuple[Item, str]]:
    """The items with what is written of each; progress is told on standard error."""
    done, began, last = 0, time.monotonic(), time.monotonic()
    for together in _together(items):
        predictions = iter(predictor.predict([e for item in together for e in item.examples]))
        for item in together:
            own = [next(predictions) for _ in item.examples]
            yield item, (item.lines if lines else item.own)(own)
        done += sum(len(item.examples) for item in together)
        if time.monotonic() - last > TELL:
            last = time.monotonic()
            print(f"{done:,} predicted, {done / (last - began):,.0f} a second", file=sys.stderr, flush=True)


def _together(items: Iterator[Item]) -> Iterator[list[Item]]:
    """Items of about as many examples as are predicted together."""
    group: list[Item] = []
    count = 0
    for item in items:
        group.append(item)
        count += max(len(item.examples), 1)
        if count >= TOGETHER:
            yield group
            group, count = [], 0
    if group:
        yield group


def _written(path: Path, predictor: Predictor, items: Iterator[Item], lines: bool) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for item, text in _texts(predictor, items, lines):
            count += len(item.examples)
            file.write(text)
    return count


def _annotated(folder: Path, predictor: Predictor, items: Iterator[Item]) -> int:
    """A file of annotation an item, and its text as it is."""
    count = 0
    for item, text in _texts(predictor, items, False):
        target = folder / item.file
        make_folder(target.parent)
        with target.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
        if item.beside is not None:
            shutil.copyfile(item.beside, target.with_suffix(".txt"))
        count += 1
    return count


def _official(predictor: Predictor, source: Path, output: Path | None) -> int:
    """The organisers' prediction files of every split that the folder has, with annotation or without."""
    task = predictor.task
    if not task.official:
        raise UsageError(f"--format official: {task.name} is no official task, expected one of {', '.join(OFFICIAL)}")
    if output is None or not source.is_dir():
        raise UsageError(
            "--format official: expected a folder of the organisers' files for --input, and --output FOLDER"
        )
    official, log = OFFICIAL[task.official], Log(unlabelled=True)
    dataset = evolve(official.dataset(task.name, official.read(source, log), source, log), task=task)
    if not any(dataset[split] for split in SPLITS):
        why = "".join(f"; {line}" for line in by_kind(log.problems)[:3])
        raise UsageError(f"--input {source}: holds nothing to predict on for {task.name}{why}")
    for line in by_kind(log.problems):
        print(f"--input: {line}", file=sys.stderr)
    if dataset.concepts and not dataset.gold["train"]:
        print(
            "CUIs are looked up in cui.tsv alone: the names of the training mentions come first where the training "
            "files are in the folder, as they were for the run",
            file=sys.stderr,
        )

    def write(folder: Path) -> int:
        count = 0
        for split in SPLITS:
            if dataset[split]:
                official.write(dataset, split, folder, predictor.predict_parts(dataset[split]))
                count += len(dataset[split])
        return count

    return _replaced(output, write, f"predictions of {task.name}", folder=True)


def _replaced(output: Path, write: Callable[[Path], int], what: str, *, folder: bool = False) -> int:
    """Writes beside the output and puts it in its place; a folder that holds something is not written over."""
    if folder and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"--output {output}: exists, and is not written over; name another folder")
    if not folder and (not output.name or (output.exists() and not output.is_file())):
        raise UsageError(f"--output {output}: is no file that can be written; name another, or leave it out to print")
    beside = output.with_name(f"{output.name}{TEMPORARY}{os.getpid()}")
    try:
        make_folder(beside if folder else beside.parent)
        count = write(beside)
        if folder and output.exists():
            output.rmdir()
        beside.replace(output)
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written ({error.strerror}); name another file") from None
    finally:
        if folder:
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)
    print(f"{count:,} {what} are in {output}", file=sys.stderr)
    return OK
