"""What one task holds out is not trained on by another: whole documents of the shared notes, single texts otherwise."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.data import sources
from mtlfn.data.document import Document, Mention
from mtlfn.data.example import DataError, Example
from mtlfn.data.screening.apart import NOTE, kept_apart
from mtlfn.data.semeval.formats import semeval2014_t7, semeval2015_t14
from mtlfn.data.tables.mapping import Columns, Mapping
from mtlfn.data.task import Dataset, Task, fitted
from mtlfn.data.windows import cut, whole_of

TEXTS = st.lists(st.sampled_from("abcdefgh"), max_size=6)


def texts(split: str, held: list[str], value: float | None = None) -> tuple[Example, ...]:
    return tuple(
        Example(id=f"{split}{i}", unit=f"{split}{i}", texts=((text, None),), labels=("x",), value=value)
        for i, text in enumerate(held)
    )


def dataset(name: str, **splits: list[str]) -> Dataset:
    task = Task(name=name, kind="classification", level=2, labels=("x",))
    return Dataset(task=task, **{split: texts(split, held) for split, held in splits.items()})


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=4))
def test_what_is_trained_on_is_what_no_other_task_holds_out(drawn):
    given_ = [dataset(f"t{i}", train=["z", *a], dev=b, test=c) for i, (a, b, c) in enumerate(drawn)]
    found = kept_apart(given_)
    for i, (before, after) in enumerate(zip(given_, found, strict=True)):
        others = {t for j, (_, dev, test) in enumerate(drawn) if j != i for t in (*dev, *test)}
        assert after.train == tuple(e for e in before.train if e.texts[0][0] not in others)
        assert (after.dev, after.test) == (before.dev, before.test)
        assert (after is before) == (after.train == before.train)
        counts = after.notes.get(NOTE, {})
        for j, (_, dev, test) in enumerate(drawn):
            wanted = sum(e.texts[0][0] in {*dev, *test} for e in before.train) if j != i else 0
            assert counts.get(f"t{j}", 0) == wanted


def test_white_space_and_case_do_not_count_and_an_empty_text_is_nobodys():
    one = dataset("one", train=["No acute  distress .", "", "Else"], dev=["x"])
    other = dataset("other", train=["y"], dev=["no acute\ndistress.", "  "])
    assert [e.texts[0][0] for e in kept_apart([one, other])[0].train] == ["", "Else"]


def test_a_task_that_would_have_nothing_left_is_an_error_that_names_both():
    one, other = dataset("one", train=["same"], dev=["x"]), dataset("other", train=["y"], dev=["same"])
    with pytest.raises(DataError, match=r"task one: all of its 1 training examples .* of other; train these tasks in"):
        kept_apart([one, other])


def test_values_are_standardised_by_what_is_left():
    task = Task(name="score", kind="regression", level=2)
    train = [attrs.evolve(e, value=float(i), labels=()) for i, e in enumerate(texts("train", ["a", "b", "c"]))]
    made = Dataset(task=fitted(task, train), train=tuple(train))
    (found, _) = kept_apart([made, dataset("other", train=["y"], dev=["a"])])
    assert (found.task.mean, found.task.std) == (1.5, 0.5)


@pytest.mark.parametrize("tested", [False, True])
def test_tasks_of_the_same_documents_train_on_none_that_one_of_them_evaluates(tmp_path, tested):
    """One reads whole documents, one sentences, one pairs of mentions: no text of one is one of another."""
    for split, numbers in (("train", range(120)), ("test", range(120, 140 if tested else 120))):
        folder = tmp_path / "notes" / split
        folder.mkdir(parents=True)
        for i in numbers:
            text, entities = f"Tea {i} was given.\nIt eased flu {i}; tea helps.", "T1\tDrug 0 3\tTea\n"
            if i % 2:
                flu, tea = text.index("flu"), text.index("tea")
                entities += f"T2\tSign {flu} {flu + 3}\tflu\nT3\tDrug {tea} {tea + 3}\ttea\nR1\tEases Arg1:T3 Arg2:T2\n"
            (folder / f"{i}.txt").write_text(text)
            (folder / f"{i}.ann").write_text(entities)
    shared = {"source": "notes", "format": "brat", "level": 1}
    mappings = {
        "mentions": Mapping(**shared, kind="spans", labels=("Drug", "Sign")),
        "tags": Mapping(**shared, kind="tagging", labels=("Drug", "Sign")),
        "links": Mapping(**shared, kind="relation", labels=("none", "Eases"), negative="none"),
    }
    found = sources.resolve([*mappings], None, mappings, base=tmp_path)
    held_out = {e.unit for each in found for split in ("dev", "test") for e in each[split]}
    for each in found:
        assert each.dev
        assert each.test
        assert {e.unit for e in each.train} == {e.unit for e in found[0].train} - (
            {str(i) for i in range(0, 120, 2)} if each.task.name == "links" else set()
        )
        assert not {e.unit for e in each.train} & held_out
    alone = [sources.resolve([name], None, mappings, base=tmp_path)[0] for name in mappings]
    assert [len(each.train) for each in alone] == [len(each.train) for each in found]  # all hold out the same


@pytest.mark.parametrize("words", [10, 150])
def test_texts_of_several_windows_are_held_out_and_cut_as_whole_ones(tmp_path, words):
    """The same rows with mentions and with a class: no text is trained on that either task evaluates, and the windows
    of what is evaluated do not know where mentions are."""
    rows = []
    for i in range(120):
        text = f"Report {i} of a flu. " + " ".join(f"w{i}x{j}" for j in range(words))
        mentions = [{"label": "Long", "start": 10, "end": len(text) - 3}, {"label": "Sign", "start": 0, "end": 6}]
        rows.append({"text": text, "label": "ab"[i % 2], "mentions": mentions})
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shared = {"source": "train.jsonl", "level": 1}
    mappings = {
        "found": Mapping(
            **shared, kind="spans", labels=("Long", "Sign"), columns=Columns(text="text", mentions="mentions")
        ),
        "sorted": Mapping(
            **shared, kind="classification", labels=("a", "b"), columns=Columns(text="text", label="label")
        ),
    }
    found, whole = sources.resolve([*mappings], None, mappings, base=tmp_path)
    numbers = [
        {split: {numbers_of(each, e) for e in each[split]} for split in ("train", "dev", "test")}
        for each in (found, whole)
    ]
    for mine, other in (numbers, numbers[::-1]):
        assert mine["dev"]
        assert mine["test"]
        assert not mine["train"] & (mine["dev"] | mine["test"] | other["dev"] | other["test"])
        assert len(mine["train"] | mine["dev"] | mine["test"] | other["dev"] | other["test"]) == 120
    for split in ("dev", "test"):
        for e in found[split]:
            text = next(row["text"] for row in rows if row["text"].split()[1] == numbers_of(found, e))
            begins = [begin for begin, _ in cut(text)]
            assert (len(begins) > 1) == (words == 150)
            assert e.offset in begins
    for e in found.train:
        assert all(e.offset <= a < b <= e.offset + len(e.texts[0][0]) for _, pieces in e.mentions for a, b in pieces)


def numbers_of(dataset: Dataset, example: Example) -> str:
    """The number in the text that an example is a window of."""
    parts = [e for split in ("train", "dev", "test") for e in dataset[split] if whole_of(e) == whole_of(example)]
    return " ".join(e.texts[0][0] for e in sorted(parts, key=lambda e: e.offset)).split()[1]


def notes(numbers: range, form: str) -> list[Document]:
    """Discharge notes of several sentences; the same number is the same note, under the name of each release."""
    out = []
    for i in numbers:
        text = f"The patient number {i} has fever. She was given rest.\nNo cough was seen on day {i}."
        start = text.index("fever")
        mention = Mention(id="0", label="Disease_Disorder", pieces=((start, start + 5),))
        out.append(Document(id=form.format(i), text=text, mentions=(mention,)))
    return out


def test_the_notes_that_two_releases_share_are_not_trained_on_where_the_other_evaluates(tmp_path):
    first, second = tmp_path / "semeval2014_t7", tmp_path / "semeval2015_t14"
    old, new = "{:05}-000000-DISCHARGE_SUMMARY", "{:05}-000000"
    semeval2014_t7.write(first, "train", notes(range(60), old))
    semeval2014_t7.write(first, "dev", notes(range(60, 90), old))
    semeval2015_t14.write(second, "train", notes(range(90), new))
    semeval2015_t14.write(second, "dev", notes(range(90, 120), new))
    found = sources.resolve(["semeval2014_t7", "semeval2015_t14"], tmp_path, {})

    def numbers(dataset: Dataset, *splits: str) -> set[str]:
        return {e.unit[:5] for split in splits for e in dataset[split]}

    for one, other in (found, found[::-1]):
        assert numbers(one, "train")
        assert numbers(one, "dev")
        assert numbers(one, "test")
        assert not numbers(one, "train") & numbers(other, "dev", "test")
        assert sum(one.notes[NOTE].values()) > 0
    alone = sources.resolve(["semeval2015_t14"], tmp_path, {})[0]
    assert len(alone.train) > len(found[1].train)
    assert sources.resolve(["semeval2015_t14"], tmp_path, {}, beside=["semeval2014_t7"])[0].train == found[1].train
