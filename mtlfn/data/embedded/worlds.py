"""Planted worlds: pairs of small tasks of which it is known, by construction, what multi-task training does to one.

They calibrate the verdict: if it cannot find what was planted, it has no business on real data. A text is two made-up
words ("stems") among two fillers, in any order, and a task asks which of two classes the stems have. Nothing in a
stem's letters tells its class, so a model knows it of the stems that it was shown with a label, and of no others. The
verdict on the *target* is planted; the *source* is the other task, several times its size:

    world      target                                  source                         planted verdict on the target
    genuine    trains on a few stems, is tested on     trains on all stems, in the    genuine transfer: no repetition
               all the others                          same classes                   of its texts tells of the others
    exposure   trains and is tested on the same stems  the target's own texts, their  data exposure only: there is
                                                       words in another order         nothing in it but more passes
    negative   asks for the class of a cue. A few      trains on all stems, beside    negative transfer: what it
               stems agree with it in training; in     cues that mean nothing         teaches of the stems is the
               the test, other stems contradict it                                    opposite of what is asked
    unrelated  few stems, which it learns in its own   tags words of another          no effect: nothing to share,
               share of the tokens                     lexicon among other fillers    and nothing left to learn
    dilution   a cue, right in most texts, and stems   tags words of another          dilution: its own share teaches
               in all. Stems take longer to learn      lexicon among other fillers    the cue, as many tokens stems
    part       the same, with a worse cue              trains on a third of these     helps, less than as much own
                                                       stems, in the same classes     text, which teaches all stems
    overdone   asks for the class of a cue, right in   tags words of another          control over-trained: late, it
               most training texts; stems are in all,  lexicon among other fillers    learns the stems, which its own
               and contradict it in the test                                          share leaves alone
    again      the same                                the target's own texts, their  worse than its own share: both
                                                       words in another order         learn the stems

    together   all of it in one run: three small tasks (genuine, exposure, negative) beside a source that trains on all
               stems in the same classes. The source itself has no effect planted: it learns in its own share

Where the planted verdict says that two runs do alike, a tenth of the test texts have a stem of each class and a label
that nothing tells: every model is right in half of them, each in another half, so that there is noise in what is
compared and the true difference is none.

``world_genuine_target.3`` is sample 3 of the same task (0 is the one without a number): the same stems in other texts.
A text is a pure function of corpus version, task, sample, split and number. One that stands earlier in the world, in
either task and any split, is left out, so that no two splits share one. (The sources of ``exposure`` and ``again``
are there to be trained on; their dev and test texts have the words of training texts, and their own score says
nothing.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

from attrs import frozen

from mtlfn.data.embedded.draw import VERSION, chance, pick, shuffled, stream
from mtlfn.data.example import Example
from mtlfn.data.task import SPLITS, Dataset, Task

WORLDS = ("genuine", "exposure", "negative", "unrelated", "dilution", "part", "overdone", "again")
LABELS = ("left", "right")
TAGGED = "Thing"
UNDECIDED, RARE = 0.1, 0.03  # shares of test texts that nothing tells the label of
HINT, WORSE_HINT = 0.75, 0.6  # shares of texts in which a cue is right that stems outdo
LURE, WORSE_LURE = 0.9, 0.75  # shares of training texts in which a cue is right that is right in all of the test

Classes = tuple[tuple[str, ...], tuple[str, ...]]  # the words of each of the two classes


def _lexicon(*sizes: int) -> Iterator[tuple[str, ...]]:
    """Disjoint sets of made-up words of five letters, dealt in an order that tells nothing."""
    words = [""]
    for letters in ("bdfgklmnprstvz", "aeiou", "lmnr", "aou", "lmnrst"):
        words = [word + letter for word in words for letter in letters]
    dealt = iter(shuffled(stream("worlds", "words"), words))
    return (tuple(next(dealt) for _ in range(size)) for size in sizes)


FILLERS, OTHER_FILLERS, *_CLASSES = _lexicon(12, 12, 48, 48, 2, 2, 20, 20)
STEMS, CUES, OTHER_STEMS = zip(_CLASSES[::2], _CLASSES[1::2], strict=True)
FEW: Classes = (STEMS[0][:8], STEMS[1][:8])
REST: Classes = (STEMS[0][8:], STEMS[1][8:])
SOME: Classes = (STEMS[0][:24], STEMS[1][:24])
LATTER: Classes = (STEMS[0][24:], STEMS[1][24:])
BAIT: Classes = (STEMS[0][:10], STEMS[1][:10])
CUE: Classes = (CUES[0][:1], CUES[1][:1])
VOCABULARY = (*FILLERS, *OTHER_FILLERS, *(word for words in _CLASSES for word in words))


@frozen
class Text:
    """Which text is to be made: of which sample and split, its number, and its class, 0 or 1."""

    sample: int
    split: str
    number: int
    kind: int


Draw = Callable[[Text, Iterator[float]], list[str]]  # to its words


def _among(draws: Iterator[float], fillers: tuple[str, ...], *words: str) -> list[str]:
    return shuffled(draws, [*words, pick(draws, fillers), pick(draws, fillers)])


def _two_stems(train: Classes, test: Classes, undecided: float, text: Text, draws: Iterator[float]) -> list[str]:
    """Two stems of the class; in some test texts, the second one is of the other. Dev is as test, but all decided."""
    second = text.kind
    if text.split == "test" and chance(draws, undecided):
        second = 1 - second
    stems = train if text.split == "train" else test
    return _among(draws, FILLERS, pick(draws, stems[text.kind]), pick(draws, stems[second]))


def _same_again(target: str, text: Text, draws: Iterator[float]) -> list[str]:
    """A training text of another task, every one in its turn, in another order."""
    number = text.number % SKETCHES[target].texts[0]
    return shuffled(draws, _words(target, Text(text.sample, "train", number, text.kind)))


def _cue(text: Text, draws: Iterator[float]) -> list[str]:
    """A cue of the class beside stems that have it too; but in dev and test, other stems of the other class."""
    stems = FEW[text.kind] if text.split == "train" else REST[1 - text.kind]
    return _among(draws, FILLERS, pick(draws, CUES[text.kind]), pick(draws, stems), pick(draws, stems))


def _outvoted_cue(text: Text, draws: Iterator[float]) -> list[str]:
    """As ``_cue``, with more stems to train on, four of them in a text."""
    stems = SOME[text.kind] if text.split == "train" else LATTER[1 - text.kind]
    return shuffled(draws, [pick(draws, CUES[text.kind]), *(pick(draws, stems) for _ in range(4))])


def _idle_cue(text: Text, draws: Iterator[float]) -> list[str]:
    """Two stems of the class beside a cue of any."""
    stems = STEMS[text.kind]
    return _among(draws, FILLERS, pick(draws, CUES[0] + CUES[1]), pick(draws, stems), pick(draws, stems))


def _hint(right: float, text: Text, draws: Iterator[float]) -> list[str]:
    """A cue that is right in most texts, and stems that are in all."""
    cue = text.kind if chance(draws, right) else 1 - text.kind
    stems = SOME[text.kind]
    return shuffled(draws, [pick(draws, CUES[cue]), pick(draws, stems), pick(draws, stems), pick(draws, FILLERS)])


def _lure(right: float, text: Text, draws: Iterator[float]) -> list[str]:
    """A cue of the class beside a stem of the other one; but in training, the stem is right and the cue mostly.

    In a tenth of the test texts there is one of each class.
    """
    cue, stem = text.kind, 1 - text.kind
    if text.split == "train":
        cue, stem = text.kind if chance(draws, right) else 1 - text.kind, text.kind
    elif text.split == "test" and chance(draws, UNDECIDED):
        return shuffled(draws, [pick(draws, half[kind]) for half in (CUE, BAIT) for kind in (0, 1)])
    return _among(draws, FILLERS, pick(draws, CUE[cue]), pick(draws, BAIT[stem]))


def _elsewhere(text: Text, draws: Iterator[float]) -> list[str]:
    """A word to tag and one to leave, of a lexicon of their own."""
    return _among(draws, OTHER_FILLERS, pick(draws, OTHER_STEMS[0]), pick(draws, OTHER_STEMS[1]))


@frozen
class Sketch:
    """How to make a task.

    Attributes:
        draw: the words of a text.
        texts: how many for train, dev and test, before repeated ones are left out.
        tags: whether it tags the words of ``OTHER_STEMS[0]`` instead of asking for the class of the text.
    """

    draw: Draw
    texts: tuple[int, int, int]
    tags: bool = False


SKETCHES: dict[str, Sketch] = {
    "world_genuine_target": Sketch(partial(_two_stems, FEW, REST, 0.0), (200, 40, 300)),
    "world_genuine_source": Sketch(partial(_two_stems, STEMS, STEMS, 0.0), (1400, 40, 40)),
    "world_exposure_target": Sketch(partial(_two_stems, SOME, SOME, UNDECIDED), (300, 40, 300)),
    "world_exposure_source": Sketch(partial(_same_again, "world_exposure_target"), (4000, 100, 100)),
    "world_negative_target": Sketch(_cue, (200, 40, 300)),
    "world_negative_source": Sketch(_idle_cue, (1400, 40, 40)),
    "world_unrelated_target": Sketch(partial(_two_stems, FEW, FEW, UNDECIDED), (400, 40, 300)),
    "world_unrelated_source": Sketch(_elsewhere, (800, 40, 40), tags=True),
    "world_dilution_target": Sketch(partial(_hint, HINT), (300, 40, 300)),
    "world_dilution_source": Sketch(_elsewhere, (1200, 40, 40), tags=True),
    "world_part_target": Sketch(partial(_hint, WORSE_HINT), (300, 40, 300)),
    "world_part_source": Sketch(partial(_two_stems, FEW, FEW, 0.0), (1700, 40, 40)),
    "world_overdone_target": Sketch(partial(_lure, LURE), (300, 40, 300)),
    "world_overdone_source": Sketch(_elsewhere, (1000, 40, 40), tags=True),
    "world_again_target": Sketch(partial(_lure, WORSE_LURE), (300, 40, 300)),
    "world_again_source": Sketch(partial(_same_again, "world_again_target"), (1700, 40, 40)),
    "world_together_genuine": Sketch(partial(_two_stems, FEW, REST, 0.0), (400, 40, 600)),
    "world_together_exposure": Sketch(partial(_two_stems, SOME, SOME, RARE), (200, 40, 600)),
    "world_together_negative": Sketch(_outvoted_cue, (700, 40, 600)),
    "world_together_source": Sketch(partial(_two_stems, STEMS, STEMS, RARE), (6000, 40, 600)),
}
NAMES: tuple[str, ...] = tuple(SKETCHES)
_NAME = re.compile(rf"({'|'.join(NAMES)})(?:\.([1-9]\d*))?")


def serves(name: str) -> bool:
    """Whether this is the name of a planted task, of any sample."""
    return _NAME.fullmatch(name) is not None


def load(name: str) -> Dataset:
    """One of the data sets, the same on every machine: its examples are texts, each of them a unit.

    Args:
        name: one of ``NAMES``, or with a dot and a number another sample of it.

    Raises:
        ValueError: there is no planted task of this name.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"no planted task is called {name!r}; expected one of {', '.join(NAMES)}, or one with '.N'")
    key, sample = match[1], int(match[2] or 0)
    splits = _world(key.rsplit("_", 1)[0], sample)[key]
    tags = SKETCHES[key].tags
    task = Task(
        name=name,
        kind="tagging" if tags else "classification",
        level=1 if tags else 2,
        labels=(TAGGED,) if tags else LABELS,
    )
    train, dev, test = (splits[split] for split in SPLITS)
    return Dataset(task=task, train=train, dev=dev, test=test, source=f"planted worlds, version {VERSION}")


@lru_cache(maxsize=4)
def _world(world: str, sample: int) -> dict[str, dict[str, tuple[Example, ...]]]:
    """The splits of all tasks of a world: they leave out each other's texts. A study reads them for every run."""
    used: set[str] = set()
    return {key: _splits(key, sample, used) for key in NAMES if key.startswith(f"{world}_")}


def _splits(key: str, sample: int, used: set[str]) -> dict[str, tuple[Example, ...]]:
    """The examples of a task; ``used``: texts that are in use, to which its own are added."""
    out = {}
    for split, count in zip(SPLITS, SKETCHES[key].texts, strict=True):
        examples = []
        for number in range(count):
            text = Text(sample, split, number, number % 2)
            words = _words(key, text)
            if (written := " ".join(words)) not in used:
                used.add(written)
                examples.append(_example(f"{split}-{number}", words, text.kind, SKETCHES[key].tags))
        out[split] = tuple(examples)
    return out


def _words(key: str, text: Text) -> list[str]:
    return SKETCHES[key].draw(text, stream(key, text.sample, text.split, text.number))


def _example(name: str, words: list[str], kind: int, tags: bool) -> Example:
    text = " ".join(words)
    if not tags:
        return Example(id=name, unit=name, texts=((text, None),), labels=(LABELS[kind],))
    ends = [len(" ".join(words[: i + 1])) for i in range(len(words))]
    spans = tuple((end - len(word), end) for word, end in zip(words, ends, strict=True))
    marks = tuple(f"B-{TAGGED}" if word in OTHER_STEMS[0] else "O" for word in words)
    return Example(id=name, unit=name, texts=((text, None),), words=spans, tags=marks)
