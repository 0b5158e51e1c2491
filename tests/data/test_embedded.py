"""The embedded corpus: official files, reproducible, split cleanly, and not to be solved word by word."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from mtlfn.data.document import Log, mention_text
from mtlfn.data.embedded import clinic as embedded_clinic
from mtlfn.data.embedded import corpus as embedded
from mtlfn.data.embedded import memes as embedded_memes
from mtlfn.data.embedded.draw import HELD_OUT_EVERY, VERSION, expand, grammar, stream
from mtlfn.data.embedded.text import CLIPPED, MISSED, Marked, characters, layout, marked, mistype, noisy
from mtlfn.data.example import Example
from mtlfn.data.semeval import evaluation
from mtlfn.data.semeval.formats import semeval2014_t7, semeval2015_t14, semeval2016_t12, semeval2017_t3, semeval2021_t6
from mtlfn.data.task import SPLITS, Dataset, check, label_counts

TASKS = {
    "semeval2014_t7": ("spans", 1),
    "semeval2015_t14": ("spans", 1),
    "semeval2021_t6": ("spans", 1),
    "semeval2016_t12": ("relation", 2),
    "semeval2017_t3": ("ranking", 2),
}
SPANS = [name for name, (kind, _) in TASKS.items() if kind == "spans"]
READERS = {
    "semeval2014_t7": semeval2014_t7.read,
    "semeval2015_t14": semeval2015_t14.read,
    "semeval2016_t12": semeval2016_t12.read,
    "semeval2017_t3": lambda folder, log: semeval2017_t3.read(folder, "A", log),
    "semeval2021_t6": semeval2021_t6.read,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture(scope="module")
def found(cache: Path) -> dict[str, Dataset]:
    return {name: embedded.load(name, cache) for name in TASKS}


def held_out(dataset: Dataset) -> tuple[Example, ...]:
    return dataset.dev + dataset.test


def mentions(dataset: Dataset, *splits: str) -> list[str]:
    """Lower-cased strings of the mentions."""
    return [mention_text(d.text, m).lower() for split in splits for d in dataset.gold[split] for m in d.mentions]


def test_names_kinds_and_levels(found: dict[str, Dataset]) -> None:
    assert tuple(TASKS) == embedded.NAMES
    for name, (kind, level) in TASKS.items():
        task = found[name].task
        assert (task.name, task.kind, task.level, task.official) == (name, kind, level, name)
        assert found[name].source == f"embedded corpus, version {VERSION}"


def test_unknown_name_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'semeval2099_t1'.*semeval2014_t7"):
        embedded.load("semeval2099_t1", tmp_path)


@pytest.mark.parametrize("name", TASKS)
def test_files_are_read_back_as_what_was_generated_and_hold_no_dirt(name: str, cache: Path, found: object) -> None:
    log = Log(strict=True)
    read = READERS[name](cache / f"embedded-{VERSION}" / name, log)
    assert read == embedded.generate(name)
    assert log.problems == []


def test_other_files_have_another_version(cache: Path, found: object) -> None:
    """A cache holds the files of its version for good: with any change of them, count VERSION up."""
    manifests = [(cache / f"embedded-{VERSION}" / name / "manifest.json").read_bytes() for name in sorted(TASKS)]
    assert (VERSION, sha256(b"".join(manifests)).hexdigest()[:16]) == ("2", "f98708a291896de0")


def test_both_subtasks_of_the_memes_come_from_the_same_files(found: dict[str, Dataset], cache: Path) -> None:
    labelled = embedded.load("semeval2021_t6_labels", cache)
    spans = found["semeval2021_t6"]
    assert labelled.task.labels == spans.task.labels
    for split in SPLITS:
        held = {d.id: {m.label for m in d.mentions} for d in spans.gold[split]}
        assert {e.unit: set(e.labels) for e in labelled[split]} == held


@pytest.mark.parametrize("name", TASKS)
def test_every_example_is_well_formed(name: str, found: dict[str, Dataset]) -> None:
    dataset = check(found[name])
    assert all(dataset[split] for split in SPLITS)
    assert len(dataset.train) > 4 * len(dataset.dev)


def test_generation_does_not_depend_on_global_seeds_and_leaves_them_alone() -> None:
    first = embedded.generate("semeval2017_t3")
    random.seed(8)
    np.random.seed(8)
    before = (random.getstate(), repr(np.random.get_state()))
    assert embedded.generate("semeval2017_t3") == first
    assert (random.getstate(), repr(np.random.get_state())) == before


def test_fresh_interpreter_agrees_and_imports_no_framework(cache: Path, found: object, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mtlfn.data.embedded import corpus\n"
        "for name in corpus.NAMES: corpus.load(name, Path(sys.argv[1]))\n"
        "print([m for m in ('torch', 'transformers', 'datasets') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    out = subprocess.run(command, env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)}, capture_output=True)
    assert out.stdout.decode() == "[]\n", out.stderr
    for name in TASKS:
        manifest = f"embedded-{VERSION}/{name}/manifest.json"  # with the SHA-256 of every file
        assert (tmp_path / manifest).read_bytes() == (cache / manifest).read_bytes()


@pytest.mark.parametrize("name", TASKS)
def test_a_document_depends_on_its_number_alone(name: str, found: dict[str, Dataset]) -> None:
    made = embedded.CORPORA[name].document("dev", 3, stream(name, "dev", 3), lambda *_: True)
    kept = next(d for d in found[name].gold["dev"] if d.id == made.id)
    # Sentences that an earlier document has are left out; what is left stays as it is.
    assert set(kept.text.split("\n")) <= set(made.text.replace(". ", ".\n").split("\n")) | set(made.text.split("\n"))


@pytest.mark.parametrize("name", TASKS)
def test_splits_share_no_unit_and_no_text(name: str, found: dict[str, Dataset]) -> None:
    dataset = found[name]
    for what in (lambda e: e.unit, lambda e: e.texts[0][0].strip()):
        sets = [{what(e) for e in dataset[split]} for split in SPLITS]
        assert sum(map(len, sets)) == len(set().union(*sets))
    owners = defaultdict(set)
    for example in (e for split in SPLITS for e in dataset[split]):
        owners[example.texts[0][0].strip()].add(example.unit)
    assert all(len(units) == 1 for units in owners.values())


def test_a_sentence_without_choices_is_in_one_note_alone(found: dict[str, Dataset]) -> None:
    texts = [d.text for documents in found["semeval2014_t7"].gold.values() for d in documents]
    assert sum(text.count("Sepsis protocol orders were signed.") for text in texts) == 1


@pytest.mark.parametrize("name", SPANS)
def test_mentions_are_whole_words_and_nothing_else(name: str, found: dict[str, Dataset]) -> None:
    for document in (d for split in SPLITS for d in found[name].gold[split]):
        for start, end in (piece for m in document.mentions for piece in m.pieces):
            around = document.text[start - 1 : start] + document.text[end : end + 1]
            assert not any(c.isalnum() for c in around)
            assert document.text[start:end].strip(" .,;:?!\n") == document.text[start:end]


@pytest.mark.parametrize("name", TASKS)
def test_every_split_has_every_label_in_a_sane_share(name: str, found: dict[str, Dataset]) -> None:
    dataset = found[name]
    for split in SPLITS:
        counts = label_counts(dataset.task, dataset[split])
        if dataset.task.kind == "spans":
            assert min(counts.values()) >= 10
        elif dataset.task.kind == "relation":
            assert 0.1 < counts["CONTAINS"] / sum(counts.values()) < 0.25
        else:
            labels = Counter(c.label for q in dataset.gold[split] for c in q.candidates)
            assert labels.keys() == {"Good", "PotentiallyUseful", "Bad"}
            assert 0.33 < counts["relevant"] / sum(counts.values()) < 0.5
            assert all(len(e.texts) == 10 == len(set(e.texts)) for e in dataset[split])
            assert all(1 <= e.labels.count("relevant") <= 9 for e in dataset[split])


@pytest.mark.parametrize("name", ["semeval2014_t7", "semeval2015_t14"])
def test_disorders_have_several_pieces_as_often_as_in_clinical_text(name: str, found: dict[str, Dataset]) -> None:
    assert found[name].task.discontiguous
    for split in SPLITS:
        pieces = [len(m.pieces) for d in found[name].gold[split] for m in d.mentions]
        assert 0.05 < sum(n > 1 for n in pieces) / len(pieces) < 0.2


def test_joined_sites_share_a_piece(found: dict[str, Dataset]) -> None:
    """In "knee and ankle effusion", the last piece of one mention is the last word of the other."""
    ends = [Counter(m.pieces[-1][1] for m in d.mentions) for d in found["semeval2014_t7"].gold["train"]]
    assert sum(n > 1 for held in ends for n in held.values()) > 50


def test_slots_have_their_values_and_cues(found: dict[str, Dataset]) -> None:
    values: dict[str, set[str]] = defaultdict(set)
    cues: dict[str, set[str]] = defaultdict(set)
    several = 0
    for document in found["semeval2015_t14"].gold["train"]:
        for mention in document.mentions:
            attributes = dict(mention.attributes)
            several += sum(name == "bodyloc" for name, _ in mention.attributes) > 1
            for slot in ("negation", "subject", "severity", "bodyloc"):
                values[slot].add(attributes[slot])
                if (cue := attributes[f"{slot}_cue"]) != "null":
                    start, end = map(int, cue.split("-"))
                    cues[slot].add(document.text[start:end].lower())
                    if slot == "negation":  # for what it introduces, up to a "but"
                        assert " but " not in document.text[end : mention.pieces[0][0]]
                        assert end < mention.pieces[0][0]
    assert values["negation"] == {"no", "yes"}
    assert values["severity"] == {"unmarked", "slight", "moderate", "severe"}
    assert values["subject"] == {"patient", "family_member"}
    assert values["bodyloc"] == {"null", "CUI-less"}
    assert {"no", "no evidence of"} <= cues["negation"]
    assert "moderate" in cues["severity"]
    assert "left knee" in cues["bodyloc"]
    assert several > 5


def test_memes_have_techniques_inside_others(found: dict[str, Dataset]) -> None:
    held = [[m.pieces[0] for m in d.mentions] for d in found["semeval2021_t6"].gold["train"]]
    assert sum(any(a < d and c < b for i, (a, b) in enumerate(p) for c, d in p[:i]) for p in held) > 10


@pytest.mark.parametrize("name", SPANS)
def test_part_of_the_held_out_mentions_is_new(name: str, found: dict[str, Dataset]) -> None:
    seen, new = set(mentions(found[name], "train")), mentions(found[name], "dev", "test")
    assert 0.1 < sum(m not in seen for m in new) / len(new) < 0.7


@pytest.mark.parametrize("name", TASKS)
def test_trivial_predictions_do_not_solve_a_task(name: str, found: dict[str, Dataset]) -> None:
    assert all(score < 0.62 for score in evaluation.baselines(found[name]).values())


def test_a_bag_of_words_does_not_solve_the_relations(found: dict[str, Dataset]) -> None:
    dataset = found["semeval2016_t12"]

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


def test_relation_texts_hold_several_pairs_of_both_classes_and_some_broken_mentions(found: dict[str, Dataset]) -> None:
    dataset = found["semeval2016_t12"]
    by_text: dict[str, set[str]] = defaultdict(set)
    for example in dataset.train:
        by_text[example.texts[0][0]].add(example.labels[0])
    assert sum(len(labels) == 2 for labels in by_text.values()) > len(by_text) / 4
    assert sum(len(e.head) > 1 for e in dataset.train) >= 5
    assert sum(len(e.tail) > 1 for e in dataset.train) >= 5


def test_planted_contrasts_keep_their_labels(found: dict[str, Dataset]) -> None:
    """The word in front of a time decides, up to the label noise; so does "respectively"."""
    linked: dict[str, list[bool]] = defaultdict(list)
    crossed = []
    for document in found["semeval2016_t12"].gold["train"]:
        sources = {link.source for link in document.links}
        for mention in document.mentions:
            if mention.label == "TIMEX3":
                before = document.text[: mention.pieces[0][0]].split()[-1].lower()
                linked[before].append(mention.id in sources)
        if "respectively" in document.text:
            crossed.append(len(document.links))
    assert 0 < np.mean(linked["before"] + linked["since"] + linked["until"]) < 0.2
    assert 0.8 < np.mean(linked["during"] + linked["in"]) < 1
    assert crossed


def test_texts_of_events_and_times_are_new_sentence_by_sentence() -> None:
    """One sentence alone may be what another document has beside a second one."""
    asked: list[str] = []
    for number in range(40):
        draws = stream("semeval2016_t12", "dev", number)
        embedded.CORPORA["semeval2016_t12"].document("dev", number, draws, lambda *texts: not asked.extend(texts))
    assert len(asked) > 100
    assert not any(". " in text for text in asked)


def test_events_and_times_have_their_properties_and_every_link_a_candidate(found: dict[str, Dataset]) -> None:
    dataset = found["semeval2016_t12"]
    assert set(dataset.notes["links that are no candidates"].values()) == {0}
    held = defaultdict(set)
    for mention in (m for d in dataset.gold["train"] for m in d.mentions):
        for key, value in mention.attributes:
            held[mention.label, key].add(value)
    assert held["EVENT", "DocTimeRel"] == {"BEFORE", "OVERLAP", "AFTER"}
    assert held["EVENT", "Polarity"] == {"POS", "NEG"}
    assert held["EVENT", "ContextualModality"] == {"ACTUAL", "HYPOTHETICAL"}
    assert held["TIMEX3", "Class"] == {"DATE", "TIME", "DURATION"}


def test_shared_words_do_not_rank_the_answers(found: dict[str, Dataset]) -> None:
    def precision(example: Example) -> float:
        scores = [len(set(q.lower().split()) & set(c.lower().split())) / len(c.split()) for q, c in example.texts]
        order = sorted(range(len(scores)), key=lambda i: -scores[i])
        good = [example.labels[i] == "relevant" for i in order]
        return sum(sum(good[: i + 1]) / (i + 1) for i in range(len(good)) if good[i]) / sum(good)

    assert np.mean([precision(e) for e in found["semeval2017_t3"].train]) < 0.6


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


def test_mentions_of_a_layout_with_groups_and_pieces() -> None:
    tokens = "[+ no [D1 left ] and [D2 right ] [D1 [D2 pain ] ] ] ( or [B knee ] [D1 so ] ) , sir ."
    laid = layout(tokens.split(" "))
    assert laid.text == "no left and right pain (or knee so), sir."
    made = [(m.label, m.group, [laid.text[a:b] for a, b in characters(laid, m.pieces)]) for m in marked(laid)]
    assert made == [
        ("D1", (0, 5), ["left", "pain"]),
        ("D2", (0, 5), ["right pain"]),  # no word between: one piece
        ("B", (0, 13), ["knee"]),
        ("D1", (0, 13), ["so"]),  # another group, another mention
    ]
    assert characters(laid, ((0, 1),), 7) == ((7, 9),)
    broken = layout(["a", "\n", "[X", "b", "]"])
    assert broken.text == "a\nb"
    assert characters(broken, marked(broken)[0].pieces) == ((2, 3),)


def test_label_noise_is_as_documented() -> None:
    spans = [Marked(label="D", group=(0, 9), pieces=((i, i + 2),)) for i in range(0, 40000, 2)]
    left = noisy(spans, stream("noise"))
    assert abs(1 - len(left) / len(spans) - MISSED) < 0.006
    assert abs(sum(b - a == 1 for m in left for a, b in m.pieces) / len(left) - CLIPPED) < 0.008
    assert all(b - a in (1, 2) and b % 2 == 0 for m in left for a, b in m.pieces)
    broken = [Marked(label="D", group=(0, 9), pieces=((0, 1), (3, 5)))] * 1000
    assert {m.pieces for m in noisy(broken, stream("noise"))} == {((0, 1), (3, 5)), ((3, 5),)}
    single = [Marked(label="D", group=(0, 9), pieces=((0, 1),))] * 1000
    assert {m.pieces for m in noisy(single, stream("noise"))} == {((0, 1),)}


@pytest.mark.parametrize(("module", "name"), [(embedded_clinic, "semeval2014_t7"), (embedded_memes, "semeval2021_t6")])
def test_label_noise_is_in_the_documents(module: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = [], []

    def recorded(mentions: list[Marked], draws: Iterator[float]) -> list[Marked]:
        before.extend(mentions)
        after.extend(kept := noisy(mentions, draws))
        return kept

    monkeypatch.setattr(module, "noisy", recorded)
    held = sum(len(d.mentions) for documents in embedded.generate(name).values() for d in documents)
    # Sentences that an earlier document has are left out with their mentions.
    assert 0.9 * len(after) < held <= len(after)
    assert 0.93 < len(after) / len(before) < 0.99


def test_some_comments_have_the_wrong_label(found: dict[str, Dataset]) -> None:
    good = Counter(e.labels.count("relevant") for e in found["semeval2017_t3"].train)
    assert 0.02 < 1 - sum(good[n] for n in (3, 4, 5)) / good.total() < 0.4


@pytest.mark.parametrize("name", TASKS)
def test_typing_errors_are_in_the_documents(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word of training that the documents without them do not have is a mistyped one."""
    module = sys.modules[embedded.CORPORA[name].document.__module__]
    share = module.TYPOS

    def words() -> Counter[str]:
        documents = embedded.generate(name)["train"]
        return Counter(w for d in documents for w in re.findall("[a-z]{5,}", d.text.lower()))

    with_errors = words()
    monkeypatch.setattr(module, "TYPOS", 0.0)
    known = words()
    new = sum(n for word, n in with_errors.items() if word not in known)
    assert 0.3 * share < new / with_errors.total() < 1.5 * share


def test_typing_errors_keep_a_word_a_word() -> None:
    draws = stream("typos")
    made = {mistype("fever", draws) for _ in range(300)}
    assert "fever" not in made
    assert len(made) > 8
    assert all(word.isalpha() and 4 <= len(word) <= 6 and word[0] == "f" for word in made)
