"""Backbones and data small enough that a whole run takes a second: random weights, made-up sentences.

The weights are drawn wide (standard deviation 0.3), so that attention, positions and masks all show in the output: a
test that overlooks one of them fails. Nothing here draws from a global generator.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from mtlfn.core import keys
from mtlfn.core.batch import Batch, Cursor
from mtlfn.data.example import Example
from mtlfn.data.task import Dataset, Task, fitted, label_counts
from mtlfn.data.tokens import store
from mtlfn.data.tokens.collate import collate
from mtlfn.models import backbone, lora, model
from mtlfn.models.layout import Rectangle
from mtlfn.models.strategy import S3B, Strategy
from mtlfn.run.one import export as exports
from mtlfn.run.one.evaluate import usual_class

LAYERS, WIDTH, POSITIONS = 4, 32, 256
KEY = keys.root(11)

DISEASES = ("asthma", "fever", "gout")
DRUGS = ("aspirin", "warfarin", "heparin", "codeine")
VERBS = {"slows": "mechanism", "worsens": "effect", "excludes": "advise", "meets": "int", "ignores": "none"}
HALLMARKS = {"spread": 0, "energy": 2, "vessels": 6, "death": 7}
ANSWERS = {"clearly": "yes", "never": "no", "perhaps": "maybe"}
FILLERS = ("the", "patient", "had", "a", "mild", "on", "day", "two", "and", "with", "of", "acute", "no", "dose")
WORDS = (*DISEASES, *DRUGS, *VERBS, *HALLMARKS, *ANSWERS, *FILLERS, "does", "it", "help")


# Backbones


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def make_bert(folder: Path, **changes: object) -> Path:
    """A BERT of 4 layers; WordPiece of the words above and of single characters. ``changes`` go to its config."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{c}" for c in letters), *WORDS]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)
    settings = {
        "vocab_size": len(vocabulary),
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": POSITIONS,
        "initializer_range": 0.3,
    }
    with _seeded(1):
        BertModel(BertConfig(**{**settings, **changes}), add_pooling_layer=False).save_pretrained(folder)
    return folder


def make_llama(folder: Path, *, headless: bool = False) -> Path:
    """A Llama decoder of 4 layers with grouped-query attention; a byte-level tokenizer without merges or padding token.

    ``headless``: saved as the base model, without its language-model head.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: i for i, piece in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A </s> $B", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", model_input_names=["input_ids", "attention_mask"]
    ).save_pretrained(folder)
    settings = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=1,
    )
    with _seeded(2):
        (LlamaModel if headless else LlamaForCausalLM)(settings).save_pretrained(folder)
    return folder


# Data


def sentence(rng: random.Random, *words: str, length: int = 4) -> list[str]:
    """Filler words with the given words among them, in their order."""
    out = [rng.choice(FILLERS) for _ in range(rng.randint(1, length))]
    for word in words:
        out += [word, *(rng.choice(FILLERS) for _ in range(rng.randint(1, length)))]
    return out


def _disease_row(rng: random.Random, name: str) -> dict:
    tokens = sentence(rng, *rng.sample(DISEASES, rng.randint(0, 2)))
    tags = []
    for i, token in enumerate(tokens):
        inside = token in DISEASES
        longer = inside and i > 0 and tokens[i - 1] == "acute"  # "acute asthma": the word of course belongs to it
        tags.append(("I-Disease" if longer else "B-Disease") if inside else "O")
        if longer:
            tags[i - 1] = "B-Disease"
    return {"id": name, "tokens": tokens, "tags": tags}


def _relation_row(rng: random.Random, name: str) -> dict:
    (head, tail), verb = rng.sample(DRUGS, 2), rng.choice(list(VERBS))
    text = " ".join(sentence(rng, head, verb, tail, length=2))
    span = {word: [text.index(word), text.index(word) + len(word)] for word in (head, tail)}
    return {
        "id": name,
        "doc_id": name,
        "text": text,
        "head": {"spans": [span[head]]},
        "tail": {"spans": [span[tail]]},
        "label": VERBS[verb],
    }


def _hallmark_row(rng: random.Random, name: str) -> dict:
    from mtlfn.data.tables.jsonl import SCHEMAS

    chosen = rng.sample(list(HALLMARKS), rng.randint(0, 2))
    labels = [SCHEMAS["hoc"].labels[HALLMARKS[word]] for word in chosen]
    return {"id": name, "doc_id": name, "text": " ".join(sentence(rng, *chosen)), "labels": labels}


def _question_row(rng: random.Random, name: str) -> dict:
    word = rng.choice(list(ANSWERS))
    contexts = [{"text": " ".join(sentence(rng, word, length=2))}]
    return {"id": name, "question": f"does {rng.choice(DRUGS)} help", "contexts": contexts, "label": ANSWERS[word]}


ROWS = {"bc5cdr_disease": _disease_row, "ddi": _relation_row, "hoc": _hallmark_row, "pubmedqa": _question_row}
JSONL_TASKS = tuple(ROWS)


def rows(task: str, split: str, count: int) -> list[dict]:
    """Made-up lines of a data set, the same at every call."""
    rng = random.Random(f"{task} {split}")
    return [ROWS[task](rng, f"{split}{i}") for i in range(count)]


def make_data(folder: Path, train: int = 24, dev: int = 8, test: int = 0) -> Path:
    """``<task>/{train,dev}.jsonl`` of all four schemas, and ``test.jsonl`` where it is to have examples."""
    for task in JSONL_TASKS:
        for split, count in (("train", train), ("dev", dev), *([("test", test)] if test else [])):
            path = folder / task / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows(task, split, count)))
    return folder


def _ranking(split: str, count: int) -> tuple[Example, ...]:
    rng, out = random.Random(f"ranking {split}"), []
    for i in range(count):
        query = f"does {rng.choice(DRUGS)} help"
        words = [rng.choice(("clearly", "never")) for _ in range(2)] + ["clearly", "never"]
        texts = tuple((query, " ".join(sentence(rng, word, length=2))) for word in words)
        labels = tuple("relevant" if word == "clearly" else "irrelevant" for word in words)
        out.append(Example(id=f"{split}{i}", unit=f"{split}{i}", texts=texts, labels=labels))
    return tuple(out)


def _mentions(train: int, dev: int) -> Dataset:
    """Drugs, and drugs with what they do: mentions that overlap, and, where a word stands between, have two pieces."""
    from mtlfn.data.windows import words

    def example(name: str, rng: random.Random) -> Example:
        drugs, verb = rng.sample(DRUGS, 2), rng.choice(("slows", "worsens"))
        text = " ".join(sentence(rng, *drugs, *rng.choice(((), (verb,))), length=2))
        at = {word: (text.index(word), text.index(word) + len(word)) for word in (*drugs, verb) if word in text}
        held = [("Drug", (at[drug],)) for drug in drugs]
        held += [("Effect", (at[drug], at[verb])) for drug in drugs if verb in at]
        return Example(id=name, unit=name, texts=((text, None),), words=words(text), mentions=tuple(held))

    task = Task(name="mentions", kind="spans", level=1, labels=("Drug", "Effect"), max_width=4, discontiguous=True)
    rng = random.Random("mentions")
    made = {s: tuple(example(f"{s}{i}", rng) for i in range(n)) for s, n in (("train", train), ("dev", dev))}
    return Dataset(task=task, **made)


def _similarity(train: int, dev: int) -> Dataset:
    """A question and an answer with a value far from zero: what the answer's word says, and how many words it has."""
    rng, made = random.Random("similarity"), {}
    for split, count in (("train", train), ("dev", dev)):
        examples = []
        for i in range(count):
            word = rng.choice(list(ANSWERS))
            answer = sentence(rng, word, length=3)
            value = 40 + 10 * list(ANSWERS).index(word) + 0.5 * len(answer)
            texts = ((f"does {rng.choice(DRUGS)} help", " ".join(answer)),)
            examples.append(Example(id=f"{split}{i}", unit=f"{split}{i}", texts=texts, value=value))
        made[split] = tuple(examples)
    task = fitted(Task(name="similarity", kind="regression", level=2), made["train"])
    return Dataset(task=task, **made)


def datasets(train: int = 24, dev: int = 8) -> dict[str, Dataset]:
    """One data set of every kind: the four schemas read from rows, a ranking, a span and a regression task."""
    from mtlfn.data.tables.jsonl import SCHEMAS

    made = {}
    for name in JSONL_TASKS:
        schema = SCHEMAS[name]
        task = Task(name=name, kind=schema.kind, level=schema.level, labels=schema.labels, negative=schema.negative)
        parts = {s: tuple(map(schema.example, rows(name, s, n))) for s, n in (("train", train), ("dev", dev))}
        made[name] = Dataset(task=task, **parts)
    ranked = Task(name="answers", kind="ranking", level=2)
    made["answers"] = Dataset(task=ranked, train=_ranking("train", max(train // 3, 1)), dev=_ranking("dev", dev))
    made["mentions"] = _mentions(train, dev)
    made["similarity"] = _similarity(train, dev)
    # A second level-1 task, so that several tasks share the level-1 slot.
    tagging = made["bc5cdr_disease"]
    second = Task(name="spans", kind="tagging", level=1, labels=("Disease",))
    examples = tuple(map(SCHEMAS["bc5cdr_disease"].example, rows("bc5cdr_disease", "other", train)))
    made["spans"] = Dataset(task=second, train=examples, dev=tagging.dev)
    return made


# Models


def build(
    folder: Path, cache: Path, tasks: Sequence[str], *, strategy: Strategy = S3B, settings: Mapping | None = None, **kw
) -> tuple[model.Model, dict[str, store.Corpus]]:
    """The model of a strategy on a backbone, and the tokenised training split of each task in canonical order."""
    base, made = backbone.load(str(folder)), datasets()
    built = model.build(
        base,
        strategy,
        [made[t].task for t in tasks],
        lora.LoraSettings(**(settings or {})),
        label_counts={t: {**label_counts(made[t].task, made[t].train), "": len(made[t].train)} for t in tasks},
        **kw,
    )
    names = [t.name for t in built.tasks]
    return built, {t: store.load(made[t], "train", base.tokenizer, 64, cache) for t in names}


def export(built: model.Model, params: Mapping[str, Mapping[str, torch.Tensor]], folder: Path) -> None:
    """Exports of all tasks, as the end of a run makes them."""
    made = datasets()
    usual = {t.name: usual_class(t, made[t.name].train) for t in built.tasks}
    exports.export(built, params, folder, 64, usual, store.tokenizer_digest(built.backbone.tokenizer))


def batch(corpora: Mapping[str, store.Corpus], *sizes: tuple[str, int], start: int = 0) -> Batch:
    """A batch with a micro-batch for each (task, number of examples), taken one after the other."""
    at, out = dict.fromkeys(corpora, start), []
    for task, size in sizes:
        out.append(collate(corpora[task], range(at[task], at[task] + size)))
        at[task] += size
    return Batch(tuple(out), {task: Cursor() for task in corpora})


def stirred(params: Mapping[str, Mapping[str, torch.Tensor]], scale: float = 0.1) -> dict[str, dict[str, torch.Tensor]]:
    """The parameters moved off their start, where B and the gate are zero: a place where every path carries signal."""
    return {
        slot: {
            name: value + keys.normal(keys.fold(KEY, slot, name), tuple(value.shape), scale)
            if value.ndim
            else value + 0.5
            for name, value in tensors.items()
        }
        for slot, tensors in params.items()
    }


def clones(tree: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, dict[str, torch.Tensor]]:
    """A deep copy."""
    return {slot: {name: value.clone() for name, value in tensors.items()} for slot, tensors in tree.items()}


def generators() -> tuple:
    """What the global generators stand at, in a form that compares."""
    name, state, *rest = np.random.get_state()
    return random.getstate(), (name, state.tolist(), *rest), torch.get_rng_state().tolist()


def slots_of(r: Rectangle, hidden: torch.Tensor) -> torch.Tensor:
    """A rectangle's slots of [1, N, ...] as [rows, width, ...]."""
    return hidden[0, r.start : r.stop].unflatten(0, (r.rows, r.width))


def loss_of(built: model.Model) -> partial:
    """The loss function that the core calls."""
    return partial(model.losses, built)


# Fixtures: made once a process


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that everything tiny lies in."""
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="session")
def bert(tiny_folder: Path) -> Path:
    return make_bert(tiny_folder / "tiny-bert")


@pytest.fixture(scope="session")
def llama(tiny_folder: Path) -> Path:
    return make_llama(tiny_folder / "tiny-llama")


@pytest.fixture(scope="session")
def data(tiny_folder: Path) -> Path:
    return make_data(tiny_folder / "data")


@pytest.fixture(scope="session")
def cache(tiny_folder: Path) -> Path:
    return tiny_folder / "cache"
