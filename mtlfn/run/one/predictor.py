"""A trained model to use: what an export holds, on the backbone that it was made on.

The tensors are those of the run, and micro-batches are made as its evaluation makes them: so on the same machine, with
as many threads, predictions on the same examples are the run's own, to the bit.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import cattrs
import torch
from attrs import frozen
from safetensors import SafetensorError
from safetensors.torch import load_file

from mtlfn.core.state import Tree
from mtlfn.data import windows
from mtlfn.data.example import DataError, Example, short
from mtlfn.data.task import Task, kind_of, problems
from mtlfn.data.tokens import store
from mtlfn.models import backbone as backbones
from mtlfn.models import cross_attention, lora, model
from mtlfn.models.families import BackboneError
from mtlfn.models.strategy import STRATEGIES
from mtlfn.run import documents
from mtlfn.run.config import default_cache
from mtlfn.run.errors import UsageError
from mtlfn.run.machine.proven import proven
from mtlfn.run.one import directory, evaluate
from mtlfn.run.one.export import HEAD, OWN_ADAPTER, PEFT_ADAPTER, TENSORS, USE
from mtlfn.run.one.prepare import resolve_device
from mtlfn.run.storage import seal

LOG = logging.getLogger("mtlfn.predict")
CUT = "%d of %d texts are longer than the model's %d tokens, and were read in part%s"
ADAPTERS = (PEFT_ADAPTER, OWN_ADAPTER)
BACKBONE = ("backbone_digest", "backbone_hub_id", "backbone_revision")
DAMAGED = (  # what files of an export raise whose content is not what was written
    *(ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError),
    *(SafetensorError, cattrs.errors.BaseValidationError),
)
NEEDED = {
    HEAD: ("task", "strategy", "fusion", "peft", "read_out_layer", *BACKBONE),
    USE: ("hierarchical", "linears", "lora_alpha_ratio", "precision", "max_length", "usual_class", "tokenizer_digest"),
}


@frozen(eq=False)
class Predictor:
    """A model of one task; call it with rows.

    Attributes:
        task: what it predicts.
        model, params: the backbone with the task's adapter and head, and their tensors.
        max_length: tokens of a sequence; what is longer is cut, or shown in part (relations), as in training, and a
            warning is logged.
        usual: the class of a text without a token.
        paired: whether it was trained on pairs of texts, so that a row has to have ``text_pair``.
        batch_tokens: padded tokens of a micro-batch; more take more memory, and another number may give other last
            bits than the run's.
    """

    task: Task
    model: model.Model
    params: Tree
    max_length: int
    usual: str | None
    paired: bool = False
    batch_tokens: int = evaluate.SLOTS

    @property
    def needed(self) -> list[str]:
        """The columns that a row has to have: those of the kind but the answer, and of pairs both texts."""
        kind = kind_of(self.task)
        return [*(role for role in kind.roles if role != kind.gold), *(["text_pair"] if self.paired else [])]

    def __call__(self, rows: Iterable[str | Mapping[str, Any]]) -> list[Any]:
        """A prediction a row, in order.

        Args:
            rows: each a text, or a mapping with the columns of the task's kind: ``text`` (and ``text_pair``) for
                classes, labels and numbers, ``text`` or ``tokens`` for tagging, ``text`` for spans, ``text``,
                ``head`` and ``tail`` for relations, ``query`` and ``candidates`` for rankings.

        Returns:
            classification, relation: a class; multilabel: a list of labels; regression: a number; ranking: a score a
            candidate; tagging: an IOB2 tag a word; spans: ``[label, [[start, end], ...]]`` of each mention, characters
            of the text, end exclusive.

        Raises:
            DataError: a row that lacks something, with its number from 0; or one row where a list is expected.
        """
        if isinstance(rows, str | Mapping):
            raise DataError(f"found {short(rows)}, expected a list of rows; for one row, give [row]")
        wholes = []
        for number, row in enumerate(rows):
            try:
                wholes.append(self.example(row, str(number)))
            except DataError as error:
                raise DataError(f"row {number}: {error}") from None
        return self.predict(wholes)

    def example(self, row: str | Mapping[str, Any], name: str) -> Example:
        """A row as an example that holds no answer; DataError says what it lacks."""
        kind = kind_of(self.task)
        if not isinstance(row, str | Mapping):
            raise DataError(f"found {short(row)}, expected a text, or a mapping with {', '.join(self.needed)}")
        roles: dict[str, Any] = (
            {"text": row} if isinstance(row, str) else {k: v for k, v in row.items() if k not in ("id", "unit")}
        )
        if kind.tags and "tokens" not in roles and isinstance(text := roles.get("text"), str):
            roles["tokens"] = [text[a:b] for a, b in windows.words(text)]
            if not roles["tokens"]:
                raise DataError(
                    f"found {short(text)}, a text without a word, and {self.task.name} tags words; leave it out"
                )
        if missing := [role for role in self.needed if role not in roles]:
            found = "a text alone" if isinstance(row, str) else ", ".join(map(str, row)) or "nothing"
            raise DataError(
                f"lacks {', '.join(missing)}; {self.task.name} needs {', '.join(self.needed)}, found {found}"
            )
        if self.paired and roles["text_pair"] is None:
            raise DataError(
                f"text_pair is null, and {self.task.name} was trained on pairs; expected a string, an empty second "
                'text is ""'
            )
        example = kind.example({**roles, kind.gold: kind.unanswered(self.task, roles)}, (), name, name)
        if problem := problems(self.task, example):
            raise DataError(problem)
        return example

    def predict(self, wholes: Sequence[Example]) -> list[Any]:
        """A prediction an example, in order; long texts are read in windows."""
        kind = kind_of(self.task)
        parts = [kind.parts(whole, False) for whole in wholes]
        predictions = iter(self.predict_parts([part for each in parts for part in each]))
        return [kind.united([next(predictions) for _ in each]) for each in parts]

    def predict_parts(self, examples: Sequence[Example]) -> list[Any]:
        """A prediction an example, in order; each is read as it is, as official data sets are cut already.

        How many were too long for that is said to the logger ``mtlfn.predict``, as a warning.
        """
        model, chosen = self.model, range(len(examples))
        corpus = store.in_memory(self.task, examples, model.backbone.tokenizer, self.max_length)
        cut, beyond = corpus.notes["truncated"], "; words beyond have the tag O" if kind_of(self.task).tags else ""
        LOG.log(logging.WARNING if cut else logging.DEBUG, CUT, cut, len(examples), self.max_length, beyond)
        return evaluate.predictions(model, self.params, corpus, examples, chosen, self.usual, slots=self.batch_tokens)


@contextmanager
def added_up(say: Callable[[str], None]) -> Iterator[None]:
    """Of what predictions say of texts that were too long, one line at the end of the block."""
    said: list[Any] = []

    def take(record: logging.LogRecord) -> bool:
        said.append(record.args)
        return False

    level = LOG.level
    LOG.setLevel(logging.DEBUG)
    LOG.addFilter(take)
    try:
        yield
    finally:
        LOG.removeFilter(take)
        LOG.setLevel(level)
    cuts, counts, *about = zip(*said, strict=True) if said else ((), ())
    if sum(cuts):
        say(CUT % (sum(cuts), sum(counts), *(each[0] for each in about)))


def load(
    path: str | Path,
    task: str | None = None,
    *,
    backbone: str | None = None,
    device: str = "auto",
    batch_tokens: int = evaluate.SLOTS,
) -> Predictor:
    """A trained model to predict with.

    Args:
        path: directory of a finished run, or an export: the folder of one task.
        task: which task of the run; may be left out where it has one.
        backbone: where the backbone is, if not where it was: "minilm", "planted", a folder, a GGUF file or a Hub id.
        device: "auto", "cpu" or "cuda".
        batch_tokens: padded tokens of a micro-batch.

    Raises:
        UsageError: no such folder or task, an export that is damaged or not as its run sealed it, or a backbone of
            other weights than its own.
    """
    folder, recorded = export_of(Path(os.path.expanduser(path)), task)
    about, on = described(folder), resolve_device(device)
    name, revision = (backbone, None) if backbone is not None else recorded or _place(about)
    try:
        base = backbones.load(name, revision)
        if base.digest != about["backbone_digest"]:
            raise UsageError(
                f"--backbone {name}: its weights have the digest {base.digest[:16]}…, and {folder} "
                f"belongs to {about['backbone_digest'][:16]}…; name the backbone that it was trained on"
            )
        if store.tokenizer_digest(base.tokenizer) != about["tokenizer_digest"]:
            raise UsageError(
                f"--backbone {name}: its weights are those of {folder}, its tokenizer is another; "
                "take it from where the run had it"
            )
        predictor = _assemble(folder, about, base, on, batch_tokens)
    except BackboneError as error:
        raise UsageError(str(error)) from None
    except (UsageError, torch.OutOfMemoryError):
        raise
    except DAMAGED as error:
        said = str(error).splitlines() or [""]
        raise UsageError(
            f"{folder}: the export is damaged ({type(error).__name__}: {said[0]}); give the run's command again"
        ) from None
    _check_seal(folder)
    return predictor


def _check_seal(folder: Path) -> None:
    """UsageError where a file that decides predictions is another than the run sealed: such a model answers, too."""
    if (run := run_of(folder)) is None:
        return
    inside = folder.resolve().relative_to(run).as_posix()
    try:
        problems = seal.unlike(run, [f"{inside}/{name}" for name in (HEAD, USE, TENSORS, *ADAPTERS)])
    except OSError as error:
        problems = (f"{documents.RESULT}: cannot be read ({error.strerror})",)
    if problems:
        raise UsageError(f"{run}: {problems[0]}; give the run's command again, which makes it again")


def run_of(folder: Path) -> Path | None:
    """The finished run that an export lies in; None where it stands alone."""
    exports = folder.resolve().parent
    finished = exports.name == seal.EXPORT and (exports.parent / documents.RESULT).is_file()
    return exports.parent if finished else None


def export_of(path: Path, task: str | None) -> tuple[Path, tuple[str, str | None] | None]:
    """The folder of the task's export, and name and revision of the backbone, where a run says them."""
    if (path / HEAD).is_file():
        return path, None
    if not (path / documents.CONFIG).is_file():
        raise UsageError(f"{path}: is neither a run (with config.json) nor an export (with {HEAD})")
    if not (path / documents.RESULT).is_file():
        raise UsageError(f"{path}: the run is not finished; give its command again")
    names = sorted(each.parent.name for each in path.glob(f"{seal.EXPORT}/*/{HEAD}"))
    if task is None and len(names) == 1:
        task = names[0]
    if task not in names:
        known = f"one of {', '.join(names)}" if names else "a run with exports: its command makes them again"
        why = "holds several models" if task is None and names else "holds no such model"
        raise UsageError(f"--task{'' if task is None else f' {task}'}: {path / seal.EXPORT} {why}, expected {known}")
    settings = directory.recorded(path).settings
    return path / seal.EXPORT / task, (settings["backbone"], settings["revision"])


def described(folder: Path) -> dict[str, Any]:
    """What the export says of itself; UsageError where it does not say enough."""
    about: dict[str, Any] = {}
    for file, names in NEEDED.items():
        try:
            document = json.loads((folder / file).read_text())
            about |= {name: document[name] for name in names}
            if file == USE:
                # Of older exports it is not known.
                about |= {name: document.get(name) is True for name in ("paired", "unpad")}
        except FileNotFoundError:
            raise UsageError(
                f"{folder / file}: is missing; exports of older versions lack it: take the run's result.json away and "
                "give its command again, which makes both"
            ) from None
        except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
            raise UsageError(
                f"{folder / file}: cannot be used ({type(error).__name__}: {error}); give the run's command again"
            ) from None
    return about


def _place(about: Mapping[str, Any]) -> tuple[str, str | None]:
    """Name and revision of the backbone of an export that stands alone."""
    if about["backbone_hub_id"] == backbones.MINILM_ID and about["backbone_revision"] is None:
        return "minilm", None  # as it is installed with mtlfn; what came from the Hub has a revision
    if about["backbone_hub_id"]:
        return about["backbone_hub_id"], about["backbone_revision"]
    raise UsageError("--backbone: expected the folder or file of the backbone, which the export does not know")


def _assemble(
    folder: Path, about: Mapping[str, Any], base: backbones.Backbone, device: torch.device, batch_tokens: int
) -> Predictor:
    task = cattrs.structure(about["task"], Task)
    strategy = attrs.evolve(STRATEGIES[about["strategy"]], fusion=about["fusion"], hierarchical=about["hierarchical"])
    precision, most = getattr(torch, about["precision"]), backbones.longest(base)
    if most is not None and about["max_length"] > most:
        raise ValueError(f"max_length is {about['max_length']}, and the backbone takes {most} positions")
    longest = max(about["max_length"], batch_tokens)
    proven(base, about["max_length"], longest, default_cache())
    built = model.build(
        base,
        strategy,
        [task],
        lora.LoraSettings(alpha_ratio=about["lora_alpha_ratio"], targets=",".join(about["linears"])),
        label_counts={task.name: {**dict.fromkeys(kind_of(task).counted(task), 1), "": 1}},
        read_out=about["read_out_layer"],
        device=device,
        precision=precision,
        unpad=about["unpad"],
    )
    try:
        weights = load_file(next(path for name in ADAPTERS if (path := folder / name).is_file()))
        if about["peft"]:
            ending, whole = ".weight", f".{lora.ADAPTER}.weight"
            weights = {name.removesuffix(ending) + whole: value for name, value in weights.items()}
        params = lora.from_export(built.linears, strategy, task, built.read_out, weights)
        for name, value in load_file(folder / TENSORS).items():
            slot, _, inner = name.partition(".")
            if slot == cross_attention.SLOT:
                params.setdefault(slot, {})[inner] = value
            else:
                params.setdefault(f"head/{task.name}", {})[name] = value
        # Copies: what safetensors hands out need not be aligned, and a product then adds up in another order.
        params = {s: {name: v.to(device, copy=True) for name, v in names.items()} for s, names in params.items()}
        model.check_params(built, params)
    except StopIteration:
        raise ValueError(f"none of {', '.join(ADAPTERS)} is there") from None
    if odd := [name for tensors in params.values() for name, value in tensors.items() if value.dtype != torch.float32]:
        raise ValueError(f"{odd[0]} is not of float32")
    return Predictor(task, built, params, about["max_length"], about["usual_class"], about["paired"], batch_tokens)
