"""The embedded corpus: well formed, reproducible, split cleanly, and not to be solved word by word."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter, defaultdict
from functools import cache
from hashlib import sha256

import numpy as np
import pytest
from seqeval.metrics import f1_score
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from mtlfn.data import embedded
from mtlfn.data.embedded_draw import HELD_OUT_EVERY, VERSION, expand, grammar, stream
from mtlfn.data.embedded_text import CLIPPED, MISSED, layout, mistype, noisy_spans, tagged
from mtlfn.data.task import SPLITS, Dataset, Example, check, label_counts

TASKS = {
    "semeval2014_t7": ("tagging", 1),
    "semeval2015_t14": ("tagging", 1),
    "semeval2021_t6": ("tagging", 1),
    "semeval2016_t12": ("relation", 2),
    "semeval2017_t3": ("ranking", 2),
}
ABBREVIATIONS = ("Dr.", "Mr.", "Ms.")
TAGGING = [name for name, (kind, _) in TASKS.items() if kind == "tagging"]


@cache
def corpus(name: str) -> Dataset:
    return embedded.load(name)


def digest(dataset: Dataset) -> str:
    return sha256(repr(dataset).encode()).hexdigest()


def held_out(dataset: Dataset) -> tuple[Example, ...]:
    return dataset.dev + dataset.test


def words(example: Example) -> list[str]:
    return [example.texts[0][0][a:b] for a, b in example.words]


def mentions(example: Example) -> list[str]:
    """Lower-cased strings of the tagged spans."""
    found: list[list[str]] = []
    for word, tag in zip(words(example), example.tags, strict=True):
        if tag.startswith("B-"):
            found.append([])
        if tag != "O":
            found[-1].append(word.lower())
    return [" ".join(mention) for mention in found]


def test_names_kinds_and_levels() -> None:
    assert tuple(TASKS) == embedded.NAMES
    for name, (kind, level) in TASKS.items():
        task = corpus(name).task
        assert (task.name, task.kind, task.level) == (name, kind, level)
    assert corpus("semeval2016_t12").task.negative == "none"
    assert VERSION in corpus("semeval2016_t12").source


def test_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"'semeval2099_t1'.*semeval2014_t7"):
        embedded.load("semeval2099_t1")


@pytest.mark.parametrize("name", TASKS)
def test_every_example_is_well_formed(name: str) -> None:
    dataset = check(corpus(name))
    assert all(dataset[split] for split in SPLITS)
    assert len(dataset.train) > 4 * len(dataset.dev)


@pytest.mark.parametrize("name", TASKS)
def test_digest_does_not_depend_on_global_seeds_and_leaves_them_alone(name: str) -> None:
    first = digest(corpus(name))
    random.seed(8)
    np.random.seed(8)
    before = (random.getstate(), repr(np.random.get_state()))
    assert digest(embedded.load(name)) == first
    assert (random.getstate(), repr(np.random.get_state())) == before


def test_fresh_interpreter_agrees_and_imports_no_framework() -> None:
    code = (
        "import sys; from hashlib import sha256; from mtlfn.data import embedded\n"
        "for name in embedded.NAMES[2:]: print(sha256(repr(embedded.load(name)).encode()).hexdigest())\n"
        "print([m for m in ('torch', 'transformers', 'datasets') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)}, capture_output=True)
    assert out.stdout.decode().split("\n") == [*(digest(corpus(n)) for n in embedded.NAMES[2:]), "[]", ""], out.stderr


@pytest.mark.parametrize("name", TASKS)
def test_a_document_depends_on_its_number_alone(name: str) -> None:
    made = embedded.CORPORA[name].document("dev", 3, stream(name, "dev", 3))
    kept = [e for e in corpus(name).dev if e.unit == made[0].unit]
    assert kept
    assert set(kept) <= set(made)


@pytest.mark.parametrize("name", TASKS)
def test_splits_share_no_unit_and_no_text(name: str) -> None:
    dataset = corpus(name)
    for what in (lambda e: e.unit, lambda e: e.texts[0][0]):
        sets = [{what(e) for e in dataset[split]} for split in SPLITS]
        assert sum(map(len, sets)) == len(set().union(*sets))
    owners = defaultdict(set)
    for example in (e for split in SPLITS for e in dataset[split]):
        owners[example.texts[0][0]].add(example.unit)
    assert all(len(units) == 1 for units in owners.values())


@pytest.mark.parametrize("name", TAGGING)
def test_words_are_the_text_without_its_blanks(name: str) -> None:
    for example in (e for split in SPLITS for e in corpus(name)[split]):
        assert all(word and " " not in word for word in words(example))
        assert "".join(words(example)) == example.texts[0][0].replace(" ", "")
        assert not any(len(word) > 1 and word[-1] in ",.;:?!" for word in words(example) if word not in ABBREVIATIONS)


@pytest.mark.parametrize("name", TASKS)
def test_labels_are_balanced_sanely(name: str) -> None:
    dataset = corpus(name)
    for split in SPLITS:
        counts = label_counts(dataset.task, dataset[split])
        total = sum(counts.values())
        if dataset.task.kind == "tagging":
            assert 0.5 < counts["O"] / total < 0.9
            assert 0.1 < sum(not mentions(e) for e in dataset[split]) / len(dataset[split]) < 0.5
            assert min(counts[f"B-{label}"] for label in dataset.task.labels) >= 10
        elif dataset.task.kind == "relation":
            assert 0.6 < counts["none"] / total < 0.82
        else:
            assert 0.33 < counts["relevant"] / total < 0.5
            assert all(len(e.texts) == 10 == len(set(e.texts)) for e in dataset[split])
            assert all(1 <= e.labels.count("relevant") <= 9 for e in dataset[split])


@pytest.mark.parametrize("name", TAGGING)
def test_part_of_the_held_out_mentions_is_new(name: str) -> None:
    dataset = corpus(name)
    seen = {m for e in dataset.train for m in mentions(e)}
    found = [m for e in held_out(dataset) for m in mentions(e)]
    assert 0.1 < sum(m not in seen for m in found) / len(found) < 0.7


@pytest.mark.parametrize("name", TAGGING)
def test_the_most_frequent_tag_of_each_word_does_not_solve_tagging(name: str) -> None:
    dataset = corpus(name)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in dataset.train:
        for word, tag in zip(words(example), example.tags, strict=True):
            counts[word.lower()][tag] += 1
    best = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
    gold = [list(e.tags) for e in held_out(dataset)]
    score = f1_score(gold, [[best.get(w.lower(), "O") for w in words(e)] for e in held_out(dataset)])
    assert 0.02 < score < 0.72


def test_a_bag_of_words_does_not_solve_the_relations() -> None:
    dataset = corpus("semeval2016_t12")

    def bag(e: Example) -> str:
        text = e.texts[0][0]
        marked = [f"{role}_{text[a:b]}" for role, span in (("h", e.head), ("t", e.tail)) for a, b in span]
        return " ".join([text, *marked])

    vectors, labels = CountVectorizer(token_pattern=r"\S+"), [e.labels[0] for e in dataset.train]
    model = LogisticRegression(max_iter=200, class_weight="balanced")
    model.fit(vectors.fit_transform(map(bag, dataset.train)), labels)
    gold = [e.labels[0] == "CONTAINS" for e in held_out(dataset)]
    guess = [p == "CONTAINS" for p in model.predict(vectors.transform(map(bag, held_out(dataset))))]
    assert 2 * sum(g and p for g, p in zip(gold, guess, strict=True)) / (sum(gold) + sum(guess)) < 0.75


def test_relation_texts_hold_several_pairs_of_both_classes_and_some_broken_mentions() -> None:
    dataset = corpus("semeval2016_t12")
    by_text: dict[str, set[str]] = defaultdict(set)
    for example in dataset.train:
        by_text[example.texts[0][0]].add(example.labels[0])
    assert sum(len(labels) == 2 for labels in by_text.values()) > len(by_text) / 4
    assert sum(len(e.head) > 1 for e in dataset.train) >= 5
    assert sum(len(e.tail) > 1 for e in dataset.train) >= 5


def test_shared_words_do_not_rank_the_answers() -> None:
    def precision(example: Example) -> float:
        scores = [len(set(q.lower().split()) & set(c.lower().split())) / len(c.split()) for q, c in example.texts]
        order = sorted(range(len(scores)), key=lambda i: -scores[i])
        good = [example.labels[i] == "relevant" for i in order]
        return sum(sum(good[: i + 1]) / (i + 1) for i in range(len(good)) if good[i]) / sum(good)

    dataset = corpus("semeval2017_t3")
    assert np.mean([precision(e) for e in dataset.train]) < 0.6


def test_held_out_entries_are_never_drawn_for_training() -> None:
    rules = grammar("word+: a | b | c | d | e | f | g | h")
    draws = stream("held out")
    known = {expand(rules, "word", draws, unseen=False)[0] for _ in range(500)}
    every = {expand(rules, "word", draws, unseen=True)[0] for _ in range(500)}
    assert (known, every) == (set("abdegh"), set("abcdefgh"))
    assert len(every - known) == 8 // HELD_OUT_EVERY


def test_weights_optional_slots_and_numbers() -> None:
    rules = grammar("top: 3* x | y", "part: <top?> n<#3-5>")
    draws = stream("weights")
    tops = Counter(expand(rules, "top", draws, True)[0] for _ in range(4000))
    parts = [expand(rules, "part", draws, True) for _ in range(4000)]
    assert 0.7 < tops["x"] / 4000 < 0.8
    assert 0.45 < sum(len(p) == 2 for p in parts) / 4000 < 0.55
    assert {p[-1] for p in parts} == {"n3", "n4", "n5"}


@pytest.mark.parametrize(("book", "message"), [("a: <b>", "uses <b>"), ("a: x\na: y", "defined twice")])
def test_broken_rule_books_are_refused(book: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grammar(book)


def test_the_inner_of_nested_spans_gives_the_tag() -> None:
    laid = layout(["no", "[D", "[B", "left", "knee", "]", "pain", "]", "(", "or", "so", ")", ",", "sir", "."])
    assert laid.text == "no left knee pain (or so), sir."
    outer_alone = tagged("i", "u", laid, [s for s in laid.spans if s[0] == "D"])
    assert outer_alone.tags == ("O", "B-D", "I-D", "I-D", *["O"] * 7)
    assert tagged("i", "u", laid, laid.spans).tags == ("O", "B-B", "I-B", "B-D", *["O"] * 7)


def test_label_noise_is_as_documented() -> None:
    spans = [("D", i, i + 2) for i in range(0, 40000, 2)]
    left = noisy_spans(spans, stream("noise"))
    assert abs(1 - len(left) / len(spans) - MISSED) < 0.006
    assert abs(sum(b - a == 1 for _, a, b in left) / len(left) - CLIPPED) < 0.008
    assert all(b - a in (1, 2) and b % 2 == 0 for _, a, b in left)


def test_typing_errors_keep_a_word_a_word() -> None:
    draws = stream("typos")
    made = {mistype("fever", draws) for _ in range(300)}
    assert "fever" not in made
    assert len(made) > 8
    assert all(word.isalpha() and 4 <= len(word) <= 6 and word[0] == "f" for word in made)
