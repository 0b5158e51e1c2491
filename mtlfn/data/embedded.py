"""Five corpora that need no download: invented stand-ins for the SemEval tasks, with their names, kinds and levels.

They are for trying the trainer out, for tests and for rehearsing an experiment; a score on them says nothing about
medicine. Every sentence comes from rule books written for this purpose (``embedded_*.py``). What is planted:

semeval2014_t7 (tagging)
    Disorders in notes. A body site, also two joined ones, and words of course ("chronic") belong to the mention;
    severity, negation and "new", "old", "suspected" do not. The same word is no disorder as the name of a service
    ("the asthma clinic"), an operation ("hernia repair"), a risk, an allergy or a reason to call, or in everyday
    use ("the room was cold", "a mass of 70 kg").
semeval2015_t14 (tagging)
    The disorder without its site, the site, and the cues of negation and severity. A site or cue counts only beside
    a disorder: not in "no later than Monday", "mild soap", "dressing on the left knee".
semeval2021_t6 (tagging)
    Memes with spans of six persuasion techniques. Harsh words that report (a film, a play, a lesson), questions
    that only ask, and "if ... win" that only announces look the same from the first words.
semeval2016_t12 (relation)
    Does the time (or admission, flight, ...) contain the event? It does in its own clause, but not beside "before",
    "since", "cancelled", "had resolved by"; "respectively" crosses pairs over. Some mentions are in two pieces. All
    pairs of a text share the text, so its words alone cannot tell them apart.
semeval2017_t3 (ranking)
    A forum question with ten candidates, three to five of them good. The rest: advice on another point of the same
    topic, advice on other topics, chatter and jokes. The chatter repeats the words of the question, the good advice
    mostly does not.

Two kinds of difficulty are drawn for every split alike. Surface noise: typing errors in 1.5 to 3 % of the longer
words (``TYPOS`` of each module), lost capitals, and capitals throughout. Label noise: of the mentions 4 % are missed
and of those of several words 6 % lose their first one (``MISSED``, ``CLIPPED`` in ``embedded_text``), 4 % of the
relation labels and 5 % of the relevance labels are turned over (``FLIPPED``). No model can be expected to score 100 %.
Generalisation is tested too: a third of the words in the open lexicons (disorders, body sites, drugs, insults, ...) and
every third forum topic are kept out of training and drawn for dev and test like any other.

A document is a pure function of corpus version, task, split and number. A text that an earlier document already
has is left out, so that no two documents, and no two splits, share one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen

from mtlfn.data.embedded_clinic import CUES, DISORDERS, cues, disorders
from mtlfn.data.embedded_draw import VERSION, stream
from mtlfn.data.embedded_forum import ANSWERS, answers
from mtlfn.data.embedded_memes import PERSUASION, memes
from mtlfn.data.embedded_timeline import CONTAINMENT, containment
from mtlfn.data.task import SPLITS, Dataset, Example, Task


@frozen
class Corpus:
    """How to make one task.

    Attributes:
        task: what it asks for.
        document: (split, document number, uniform numbers in [0, 1)) to the examples of that document.
        documents: how many, for train, dev and test, before repeated texts are left out.
    """

    task: Task
    document: Callable[[str, int, Iterator[float]], list[Example]]
    documents: tuple[int, int, int]


CORPORA: dict[str, Corpus] = {
    corpus.task.name: corpus
    for corpus in (
        Corpus(DISORDERS, disorders, (500, 66, 78)),
        Corpus(CUES, cues, (500, 66, 80)),
        Corpus(PERSUASION, memes, (1600, 210, 255)),
        Corpus(CONTAINMENT, containment, (270, 36, 40)),
        Corpus(ANSWERS, answers, (140, 18, 22)),
    )
}
NAMES: tuple[str, ...] = tuple(CORPORA)


def load(name: str) -> Dataset:
    """One of the embedded data sets: the same examples in the same order on every machine.

    Args:
        name: one of ``NAMES``.

    Returns:
        All three splits; a tagging task has 1,600 to 2,500 training examples, the relation task 1,700 and the
        ranking task 130 (of ten candidates), which is about 40,000 training tokens each.

    Raises:
        ValueError: there is no embedded task of this name.
    """
    if name not in CORPORA:
        raise ValueError(f"no embedded task is called {name!r}; expected one of {', '.join(NAMES)}")
    corpus = CORPORA[name]
    taken: dict[str, str] = {}  # text: the unit that had it first
    splits = {}
    for split, documents in zip(SPLITS, corpus.documents, strict=True):
        made = (e for i in range(documents) for e in corpus.document(split, i, stream(name, split, i)))
        splits[split] = tuple(e for e in made if taken.setdefault(e.texts[0][0], e.unit) == e.unit)
    return Dataset(task=corpus.task, source=f"embedded corpus, version {VERSION}", **splits)
