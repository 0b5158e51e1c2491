"""Words and texts that come to no token: counted, told, and predicted in their own place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve

from mtlfn.data import metrics
from mtlfn.data.example import Example
from mtlfn.data.tables.jsonl import join_words
from mtlfn.data.task import Dataset, Task
from mtlfn.data.tokens import store
from mtlfn.data.tokens.collate import collate
from mtlfn.models import backbone, model
from mtlfn.run.one import evaluate
from tests import tiny
from tests.tiny import bert, cache, llama, tiny_folder

__all__ = ["bert", "cache", "llama", "tiny_folder"]

INVISIBLE = "\u200b"


def tagged(name: str, *words: tuple[str, str]) -> Example:
    text, spans = join_words([word for word, _ in words])
    return Example(id=name, unit=name, texts=((text, None),), words=spans, tags=tuple(tag for _, tag in words))


SENTENCES = (
    tagged("plain", ("mild", "O"), ("gout", "B-Disease")),
    tagged("silent word", (INVISIBLE, "O"), ("gout", "B-Disease")),
    tagged("silent entity", ("mild", "O"), (INVISIBLE, "B-Disease")),
    tagged("half an entity", ("acute", "B-Disease"), (INVISIBLE, "I-Disease"), (INVISIBLE, "I-Disease"), ("no", "O")),
    tagged("two", (INVISIBLE, "B-Disease"), (INVISIBLE, "B-Disease"), (INVISIBLE, "I-Disease"), ("no", "O")),
    tagged("cut", *[("gout", "B-Disease")] * 3, (INVISIBLE, "O"), *[("gout", "B-Disease")] * 20),
)
COUNTS = ((0, 0), (1, 0), (1, 1), (2, 1), (3, 2), (1, 0))


@pytest.mark.parametrize(
    ("sentence", "counts"), list(zip(SENTENCES, COUNTS, strict=True)), ids=lambda x: getattr(x, "id", "")
)
def test_words_and_entities_without_a_token_are_counted_and_what_is_cut_off_is_not(bert, tmp_path, sentence, counts):
    """With a tokenizer that gives a token to nothing invisible."""
    task = Task(name="silent", kind="tagging", level=1, labels=("Disease",))
    tokenizer = backbone.load(str(bert)).tokenizer
    corpus = store.load(Dataset(task=task, train=(sentence,)), "train", tokenizer, 10, tmp_path)
    assert (corpus.notes["words without a token"], corpus.notes["entities without a token"]) == counts
    assert corpus.notes["truncated"] == (sentence.id == "cut")
    again = store.load(Dataset(task=task, train=(sentence,)), "train", tokenizer, 10, tmp_path)
    assert again.notes == corpus.notes


# Texts of no token


@pytest.fixture(scope="module")
def bare(llama: Path, tiny_folder: Path) -> Path:
    """A decoder whose tokenizer adds no special token: an empty text comes to nothing."""
    from tokenizers import processors
    from transformers import AutoTokenizer

    folder = tiny_folder / "bare"
    tiny.make_llama(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.save_pretrained(folder)
    return folder


def emptied(example: Example) -> Example:
    """The example without its text; of a ranking without that of its first candidate."""
    texts = (("", None if example.texts[0][1] is None else ""), *example.texts[1:])
    return evolve(example, texts=texts, words=(), tags=(), mentions=())


KINDS = {
    "bc5cdr_disease": [],
    "mentions": [],
    "hoc": [],
    "pubmedqa": "maybe",
    "similarity": None,
    "answers": None,
}


@pytest.mark.parametrize("name", KINDS)
def test_a_text_without_a_token_is_not_trained_on_and_has_a_prediction_in_its_own_place(bare, cache, name):
    built, _ = tiny.build(bare, cache, [name])
    made = tiny.datasets()[name]
    usual = [e for e in made.train if e.labels == ("maybe",)] if name == "pubmedqa" else []
    train = (*made.train[:4], *usual, *usual, emptied(made.train[4]), *made.train[5:8])
    dev = (emptied(made.dev[0]), made.dev[1], emptied(made.dev[2]), emptied(made.dev[3]), *made.dev[4:])
    if name == "answers":  # its queries, too, come to nothing
        dev = tuple(evolve(e, texts=tuple(("", text) for _, text in e.texts)) for e in dev)
        dev = tuple(evolve(e, texts=(("", ""), *e.texts[1:])) if i in (0, 2, 3) else e for i, e in enumerate(dev))
    dataset = evolve(made, train=train, dev=dev)
    tokenizer = built.backbone.tokenizer
    learnt, held = (store.load(dataset, split, tokenizer, 64, cache) for split in ("train", "dev"))
    if name != "answers":
        assert learnt.notes["unusable"] == 1
        assert len(learnt) == len(train) - 1
        assert held.notes["unusable"] == 3
    assert len(held) == len(dev)
    assert all(learnt.length(s) for e in range(len(learnt)) for s in learnt.sequences(e))
    params = tiny.stirred(model.init_params(built, tiny.KEY))
    default = evaluate.usual_class(made.task, train)
    chosen = list(range(len(dev)))
    found = evaluate.predictions(built, params, held, dev, chosen, default)
    metrics.score(made.task, dev, found)
    json.dumps(found, allow_nan=False)
    # What has tokens is predicted as if the others were not there.
    others = [i for i in chosen if i not in (0, 2, 3)]
    alone = evaluate.predictions(built, params, held, dev, others, default)
    if name in ("similarity", "answers"):
        for i, prediction in zip(others, alone, strict=True):
            assert found[i] == pytest.approx(prediction, rel=1e-4, abs=1e-4)
    else:
        assert [found[i] for i in others] == alone
    for i in (0, 2, 3):
        if name == "answers":
            assert found[i][0] == pytest.approx(min(found[i][1:]) - 1)
        else:
            assert found[i] == (made.task.mean if name == "similarity" else KINDS[name])
    # Nothing but such texts.
    assert len(evaluate.predictions(built, params, held, dev, [0, 2], default)) == 2


def test_collate_says_which_sequence_each_row_is(bare, cache):
    made = tiny.datasets()["hoc"]
    dataset = evolve(made, dev=(made.dev[0], emptied(made.dev[1]), made.dev[2]))
    corpus = store.load(dataset, "dev", backbone.load(str(bare)).tokenizer, 64, cache)
    assert collate(corpus, [2, 1, 0]).inputs.sequences.tolist() == [2, 0]
    assert collate(corpus, [1]) is None
