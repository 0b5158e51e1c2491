"""Splits made of the training part: by unit, disjoint, the same whatever else the corpus holds."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from mtlfn.data import splits
from mtlfn.data.example import Example
from mtlfn.data.task import Dataset, Task

UNITS = st.lists(st.text("abcdef0123", min_size=1, max_size=4), min_size=1, max_size=120)


@given(UNITS, st.sampled_from([(), ("kept",)]))
def test_every_item_stays_and_no_unit_is_in_two_splits(units, dev):
    items = [(unit, i) for i, unit in enumerate(units)]
    found = {"train": items, "dev": [(d, -1) for d in dev], "test": []}
    made = splits.completed("name", found, lambda item: item[0])
    if dev:
        assert made["dev"] == tuple(found["dev"])
    own = [made[s] for s in ("train", "test", *([] if dev else ["dev"]))]
    if len(set(units)) < splits.LEAST:
        assert not made["test"]
    assert sorted(sum(own, ())) == sorted(items)
    held = [{unit for unit, _ in part} for part in own]
    assert sum(map(len, held)) == len(set(units))
    assert made["train"]
    for part in own:
        assert list(part) == sorted(part, key=lambda item: item[1])  # in the order of the corpus


def test_about_a_tenth_is_held_out_for_each_and_another_name_holds_out_others():
    units = [f"unit{i}" for i in range(4000)]
    made, other = (splits.completed(name, {"train": units, "dev": (), "test": ()}, str) for name in ("first", "second"))
    for split in ("dev", "test"):
        assert 320 < len(made[split]) < 480
        assert set(made[split]) != set(other[split])


def test_what_is_test_does_not_depend_on_whether_there_is_a_dev_split():
    units = [f"unit{i}" for i in range(300)]
    alone = splits.completed("name", {"train": units, "dev": (), "test": ()}, str)
    beside = splits.completed("name", {"train": units, "dev": ("d",), "test": ()}, str)
    assert alone["test"] == beside["test"]


def test_a_data_set_keeps_its_own_test_split_and_gets_one_by_unit_otherwise():
    task = Task(name="t", kind="classification", level=2, labels=("a",))
    train = tuple(
        Example(id=f"{u}-{i}", unit=f"u{u}", texts=(("x", None),), labels=("a",)) for u in range(50) for i in range(3)
    )
    made = splits.with_test(Dataset(task=task, train=train, dev=train[:1]))
    assert made.test
    assert made.notes == {"test split": "a tenth of the training units, by a hash of their names"}
    assert not {e.unit for e in made.test} & {e.unit for e in made.train}
    own = attrs.evolve(made, test=train[:2])
    assert splits.with_test(own) is own
