"""Five corpora that need no download: invented stand-ins for the SemEval tasks, as files in their official layouts.

They are for trying the trainer out, for tests and for rehearsing an experiment; a score on them says nothing about
medicine. Every sentence comes from rule books written for this purpose (the other modules here). The files are written
once into the cache and then read as the organisers' files are, by the same readers. What is planted:

semeval2014_t7 (disorder mentions)
    A body site before the finding and words of course ("chronic") belong to the mention; severity, negation and "new",
    "old", "suspected" do not. The same word is no disorder as the name of a service ("the asthma clinic"), an operation
    ("hernia repair"), a risk, an allergy or a reason to call, or in everyday use ("the room was cold", "a mass of
    70 kg"). Every eighth mention is discontiguous: "knee and ankle effusion", "lung nodule and opacity" and "acute and
    chronic gout" are two mentions that share a piece; "hernia of the groin, now incarcerated" is one of two.
semeval2015_t14 (disorder mentions)
    The disorder with words of course and of kind ("hairline fracture") but without its site: site, negation, severity
    and who has it are slots with their cues, which are in the files but are not predicted. A word of course before the
    site makes a mention of two pieces.
semeval2021_t6 (technique spans)
    Memes with spans of six persuasion techniques, some of them inside others. Harsh words that report (a film, a play,
    a lesson), questions that only ask, and "if ... win" that only announces look the same from the first words.
semeval2016_t12 (containment between events and times)
    A time (or admission, flight, ...) contains the events of its own clause, but not beside "before", "since",
    "cancelled", "had resolved by"; "respectively" crosses pairs over. Some mentions are in two pieces, some links lead
    into the next sentence. The candidates are all pairs of events and times near each other, in both directions, of
    which every seventh is one of containment: they share the text, so its words alone cannot tell them apart.
semeval2017_t3 (ranking of comments, subtask A)
    A forum question with ten comments, three to five of them good. The rest: advice on another point of the same topic
    ("PotentiallyUseful"), advice on other topics, chatter and jokes. The chatter repeats the words of the question, the
    good advice mostly does not.

Two kinds of difficulty are drawn for every split alike, and are in the files. Surface noise: typing errors in 1.5 to
3 % of the longer words (``TYPOS`` of each module), lost capitals, and capitals throughout. Label noise: of the mentions
4 % are missed and of those of several words 6 % lose their first one (``MISSED``, ``CLIPPED`` in ``text``), of
the pairs of a container and an event of its clause 4 % are annotated the wrong way, of the comments 5 % are
(``FLIPPED``). No model can be expected to score 100 %. Generalisation is tested too: a third of the words in the open
lexicons (disorders, body sites, drugs, insults, ...) and every third forum topic are kept out of training and drawn for
dev and test like any other.

A document is a pure function of corpus version, task, split and number. A sentence, meme or question that an earlier
document already has is left out, so that no two documents, and no two splits, share one. (Sentences that hold neither
event nor time stand between those of semeval2016_t12, repeat, and are in no example.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from mtlfn.data import cache as embedded_cache
from mtlfn.data.embedded.clinic import cues, disorders
from mtlfn.data.embedded.draw import VERSION, stream
from mtlfn.data.embedded.forum import answers
from mtlfn.data.embedded.memes import TECHNIQUES, memes
from mtlfn.data.embedded.text import Fresh
from mtlfn.data.embedded.timeline import containment
from mtlfn.data.official import OFFICIAL
from mtlfn.data.semeval import loading
from mtlfn.data.semeval.formats import semeval2014_t7, semeval2015_t14, semeval2016_t12, semeval2017_t3, semeval2021_t6
from mtlfn.data.task import SPLITS, Dataset

Splits = dict[str, tuple[Any, ...]]  # split -> documents or queries


@frozen
class Corpus:
    """How to make the files of one task.

    Attributes:
        document: (split, document number, uniform numbers in [0, 1), which texts are new) to a document or query;
            None where nothing of it is new.
        documents: how many, for train, dev and test, before repeated texts are left out.
        write: (folder, split, documents) writes them as the organisers do.
    """

    document: Callable[[str, int, Iterator[float], Fresh], Any]
    documents: tuple[int, int, int]
    write: Callable[[Path, str, tuple[Any, ...]], Any]


def _write_memes(folder: Path, split: str, documents: tuple[Any, ...]) -> None:
    """Both subtasks and the list of techniques."""
    (folder / semeval2021_t6.LIST).write_bytes("".join(f"{name}\n" for name in TECHNIQUES).encode())
    semeval2021_t6.write(folder, split, documents)
    rows = ((d.id, d.text, tuple(dict.fromkeys(m.label for m in d.mentions))) for d in documents)
    semeval2021_t6.write_labels(folder, split, rows)


def _write_threads(folder: Path, split: str, queries: tuple[Any, ...]) -> None:
    semeval2017_t3.write(folder, split, "A", queries)


CORPORA: dict[str, Corpus] = {
    "semeval2014_t7": Corpus(disorders, (460, 60, 72), semeval2014_t7.write),
    "semeval2015_t14": Corpus(cues, (450, 60, 70), semeval2015_t14.write),
    "semeval2021_t6": Corpus(memes, (1750, 230, 270), _write_memes),
    "semeval2016_t12": Corpus(containment, (90, 16, 18), semeval2016_t12.write),
    "semeval2017_t3": Corpus(answers, (130, 18, 22), _write_threads),
}
NAMES: tuple[str, ...] = tuple(CORPORA)
SERVED: tuple[str, ...] = (*NAMES, "semeval2021_t6_labels")  # with those that the same files serve


def load(name: str, cache: Path) -> Dataset:
    """One of the embedded data sets, read from its files, which are made where the cache does not have them.

    Args:
        name: one of ``SERVED``.
        cache: the files lie in ``embedded-<VERSION>/<folder of the task>`` of this folder.

    Returns:
        The same examples in the same order on every machine, in three splits: about 40,000 training tokens a task.

    Raises:
        ValueError: there is no embedded task of this name.
        CacheError: the cache cannot be read or written.
    """
    if name not in SERVED:
        raise ValueError(f"no embedded task is called {name!r}; expected one of {', '.join(SERVED)}")
    folder = OFFICIAL[name].folder
    files = embedded_cache.kept(cache / f"embedded-{VERSION}" / folder, partial(_write, folder))
    return attrs.evolve(loading.load(name, files, strict=True), source=f"embedded corpus, version {VERSION}")


def generate(name: str) -> Splits:
    """The documents or queries of one of ``NAMES``, as reading their files gives them back."""
    corpus = CORPORA[name]
    used: set[str] = set()

    def fresh(*texts: str) -> bool:
        if not used.isdisjoint(texts):
            return False
        used.update(texts)
        return True

    return {
        split: tuple(filter(None, (corpus.document(split, i, stream(name, split, i), fresh) for i in range(count))))
        for split, count in zip(SPLITS, corpus.documents, strict=True)
    }


def _write(name: str, folder: Path) -> None:
    for split, documents in generate(name).items():
        CORPORA[name].write(folder, split, documents)
