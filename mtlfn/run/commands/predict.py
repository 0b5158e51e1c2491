"""``python -m mtlfn.predict``: rows of a file in, predictions out, a JSON line each."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from attrs import evolve

from mtlfn.data import files
from mtlfn.data.example import DataError, Example
from mtlfn.data.tables.lines import row_of
from mtlfn.data.task import kind_of
from mtlfn.run.disk import TEMPORARY, make_folder
from mtlfn.run.errors import OK, UsageError
from mtlfn.run.one.predictor import Predictor, load

if TYPE_CHECKING:
    from mtlfn.run.commands.command import Predict

TOGETHER = 2**15  # rows that are predicted together; more of them take more memory


def predict(asked: Predict) -> int:
    """Reads, predicts and writes; UsageError or DataError where something cannot be used, and nothing is written."""
    import torch

    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    if not asked.input.is_file():
        raise UsageError(f"--input {asked.input}: is no file")
    predictor = load(asked.model, asked.task, backbone=asked.backbone, device=asked.device)
    if asked.output is None:
        for line in _lines(predictor, asked.input):
            print(line, end="")
        return OK
    beside = asked.output.with_name(f"{asked.output.name}{TEMPORARY}{os.getpid()}")
    try:
        make_folder(beside.parent)
        with beside.open("w", encoding="utf-8") as file:
            count = _written(file, predictor, asked.input)
        beside.replace(asked.output)
    except OSError as error:
        raise UsageError(f"--output {asked.output}: cannot be written ({error.strerror}); name another file") from None
    finally:
        beside.unlink(missing_ok=True)
    print(f"{count:,} predictions of {predictor.task.name} are in {asked.output}", file=sys.stderr)
    return OK


def _written(file: IO[str], predictor: Predictor, source: Path) -> int:
    lines = 0
    for line in _lines(predictor, source):
        lines += bool(file.write(line))
    return lines


def _lines(predictor: Predictor, source: Path) -> Iterator[str]:
    rows = _examples(predictor, source)
    while together := list(islice(rows, TOGETHER)):
        for whole, prediction in zip(together, predictor.predict(together), strict=True):
            line: dict[str, Any] = {"id": whole.id, "prediction": prediction}
            if kind_of(predictor.task).tags:
                line["tokens"] = [whole.texts[0][0][a:b] for a, b in whole.words]
            yield json.dumps(line, ensure_ascii=False) + "\n"


def _examples(predictor: Predictor, source: Path) -> Iterator[Example]:
    """The rows of JSON Lines, or of a text file, in which each line is a text; the id is that of the row or its number.

    A file is one of JSON Lines where its name says so (.jsonl, .json, with or without .gz).
    """
    plain = not {".jsonl", ".json"} & set(source.suffixes)
    for number, line in files.lines(source):
        try:
            row = {"text": files.decoded(line).rstrip("\r")} if plain else row_of(line)
            name = row.get("id", str(number))
            if isinstance(name, bool) or not isinstance(name, (str, int)):
                raise DataError(f"the id is {name!r}, expected a string or whole number")
            example = predictor.example(row, str(number))
        except DataError as error:
            raise DataError(f"{source}, line {number}: {error}") from None
        yield evolve(example, id=str(name), unit=str(name))
