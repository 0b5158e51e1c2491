"""A way to run the command in this process, and the tiny backbones and data, made once a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import pytest

from mtlfn.data import sources
from mtlfn.data.tokens import store
from mtlfn.models import backbone
from mtlfn.run.commands.command import main
from tests import tiny
from tests.tiny import bert, cache, data, llama, tiny_folder

__all__ = ["bert", "cache", "data", "llama", "tiny_folder"]


@attrs.frozen
class Ended:
    """How a command ended: exit code, what it printed, and what it complained of."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The complaint on one line, without the frame that the flag parser draws."""
        return " ".join(self.err.translate(dict.fromkeys(map(ord, "│╭╮╰╯─"), " ")).split())


Go = Callable[..., Ended]


@pytest.fixture(scope="session")
def warm(bert: Path, data: Path, cache: Path) -> Path:
    """The cache with everything that the runs here tokenise, each split by a tokenizer that was never used before."""
    for dataset in sources.resolve(tiny.JSONL_TASKS, data, {}):
        for split in ("train", "dev"):
            store.load(dataset, split, backbone.load(str(bert)).tokenizer, 256, cache)
    return cache


@pytest.fixture
def usual(bert: Path, data: Path, warm: Path) -> dict[str, object]:
    """The settings of the runs here, where nothing else is said."""
    return {
        "backbone": bert,
        "tasks": "bc5cdr_disease,ddi",
        "data_dir": data,
        "cache_dir": warm,
        "budget_tokens": 500,
        "micro_batch_tokens": 64,
        "quick_eval_examples": 0,
    }


def words(settings: Mapping[str, object]) -> list[str]:
    """The flags that give these settings; one that is ``None`` is not given."""
    given = ((name, value) for name, value in settings.items() if value is not None)
    return [word for name, value in given for word in ("--" + name.replace("_", "-"), str(value))]


@pytest.fixture
def go(usual: dict[str, object], capfd: pytest.CaptureFixture) -> Go:
    """Runs S3b on two tasks with a budget of 500 tokens; flags come on top, ``None`` takes a default flag away.

    Without the smoke test, unless ``smoke`` asks for it.
    """

    def run(*flags: object, smoke: bool = False, **named: object) -> Ended:
        if not smoke:
            flags = ("--skip-smoke-test", *flags)
        capfd.readouterr()
        code = main("s3b", "A test.", [*words({**usual, **named}), *map(str, flags)])
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def flags(usual, request) -> Callable[..., list[str]]:
    """The flags of a run in a folder, as the fixture ``go`` has them with ``NAMED`` of the module."""

    def of(folder: Path, **named: object) -> list[str]:
        return ["--skip-smoke-test", *words({**usual, **request.module.NAMED, "output_dir": folder, **named})]

    return of


@pytest.fixture(scope="module")
def alone_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("alone") / "run"


@pytest.fixture
def alone(go, alone_folder, request) -> Path:
    """The run with ``NAMED`` of the module on one process, which is never stopped; made once."""
    if not alone_folder.exists():
        ended = go(**request.module.NAMED, output_dir=alone_folder)
        assert ended.code == 0, ended.err
    return alone_folder
