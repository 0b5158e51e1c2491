"""Clinical notes with times and events: a time contains the events of its own clause, cues permitting.

In the rule book a mention is marked ``[T1 ... ]`` (a time), ``[S1 ... ]`` (an event that contains others, as a stay
does) or ``[E1a ... ]`` (an event): the digit says which container of the same clause holds the event, 0 that none does;
the letter tells events apart. A word after a colon is a property that is not the usual one (``VALUES``). The same mark
twice in a clause is one mention in two pieces.
"""

from __future__ import annotations

from collections.abc import Iterator

from mtlfn.data.document import Document, Link, Mention
from mtlfn.data.embedded.draw import chance, expand, grammar, pick
from mtlfn.data.embedded.lexicon import LEXICON
from mtlfn.data.embedded.text import GROUP, Fresh, Marked, capitalised, characters, layout, marked, with_typos
from mtlfn.data.semeval.pairs import sentences
from mtlfn.data.task import SPLITS

TEXTS = 3  # a note, each of one or two clauses
CLAUSES = (1, 1, 1, 1, 1, 2)
FLIPPED = 0.04  # share of the pairs of a container and an event of its clause that are annotated the wrong way
TYPOS = 0.015

EVENT = {
    "DocTimeRel": "BEFORE",
    "Type": "N/A",
    "Degree": "N/A",
    "Polarity": "POS",
    "ContextualModality": "ACTUAL",
    "ContextualAspect": "N/A",
    "Permanence": "UNDETERMINED",
}
TIME = {"Class": "DATE"}
VALUES = {
    "AFTER": {"DocTimeRel": "AFTER"},
    "OVERLAP": {"DocTimeRel": "OVERLAP"},
    "NEG": {"Polarity": "NEG"},
    "HYPOTHETICAL": {"ContextualModality": "HYPOTHETICAL", "DocTimeRel": "AFTER"},
    "TIME": {"Class": "TIME"},
    "DURATION": {"Class": "DURATION"},
}

EVENTS = """
who: 3* she | 3* he | 2* the patient | pt | Ms <surname> | Mr <surname>
year: <#1996-2012>
date: 3* <month> <#1-28> | <day> | <#1-12>/<#1-28>/<year> | the <#4-20>th | <month> <#4-20>th , <year> | New Year
period: <year> | <month> | <month> of <year> | early <month> | the fall of <year> | week <#2-8>
ago: yesterday | last week | <#2-9> days ago | last <month> | two months ago | today | the day before yesterday
    | this past weekend
hour: this morning | last night | the night shift
span: the winter | the holidays | that summer | the third week
stay: admission | hospital stay | surgery | flight | transfer | infusion | rehab stay | dialysis session | pregnancy
    | first cycle
ill: 3* <symptom> | 2* <disease> | <site> <finding>
act+: bleeding | relapse | follow-up | consultation | clinic visit | second opinion | chemotherapy | infusion
    | wound check
    | radiation | discharge | counselling | readmission | dose increase | tumor board | staging
step: <act> | <procedure> | <scan>
got: had | developed | suffered | reported | complained of | was treated for
did: underwent | had | was scheduled for | came for
was: was done | was started | was performed | took place | was repeated | was completed
"""

SENTENCES = """
in: on [T1 <date> ] | 2* [T1 <ago> ] | during [T1 <span> ] | 2* in [T1 <period> ] | at noon on [T1 <date> ]
    | during [T1:TIME <hour> ] | over [T1:DURATION the past <#2-6> weeks ]
out: before [T1 <date> ] | after [T1 <date> ] | until [T1 <ago> ] | since [T1 <period> ] | prior to [T1 <span> ]
    | more than a year before [T1 <date> ] | well after [T1 <span> ]
did1: 3* <got> [E1a <ill> ] | 2* <did> [E1a <step> ] | <got> [E1a <ill> ] and [E1b <ill> ]
    | <did> [E1a <step> ] for [E1b <ill> ] | <did> [E1a <step> ] without [E1b:NEG <ill> ]
did0: 2* <got> [E0a <ill> ] | 2* <did> [E0a <step> ] | 2* <got> [E0a <ill> ] and [E0b <ill> ]
late: 2* [E1a <step> ] on [T1 <date> ] and [E2a <step> ] on [T2 <date> ]
    | [E2a <ill> ] [T2 <ago> ] and [E1a <ill> ] back in [T1 <period> ]
    | [E1a <step> ] and [E2a <step> ] on [T1 <month> <#1-14> ] and [T2 <month> <#15-28> ] respectively
    | [E2a <step> ] and [E1a <step> ] on [T2 <day> ] and [T1 <day> ] respectively
dated: 6* <in> <who> <did1> | 5* <who> <did1> <in> | 3* the [E1a <step> ] <was> <in>
    | 2* a second [E1a <step> ] for [E1b <ill> ] <was> <in> | 4* <who> had <late>
    | the drain was [E1a taken ] finally [E1a out ] <in> | <who> was [E1a put ] back [E1a on ] <drug> <in>
    | [E1a <ill> ] began in [T1 <month> ] , she thinks , [T1 of <year> ] | [T1 <date> ] : [E1a <step> ] , uneventful
    | <in> the <scan> showed [E1a <ill> ] that was new compared with [T2 <date> ]
    | <in> , while [E1b <act> ] was under way , <who> <got> [E1a <ill> ] | [T1 <date> ] : long visit . <who> <did1>
loose: 4* <out> <who> <did0> | 4* <who> <did0> <out> | 2* [E0a <ill> ] had resolved by [T1 <date> ]
    | 2* the [E0a:NEG <step> ] set for [T1 <date> ] was cancelled because of [E0b <ill> ] | no [E0a:NEG <ill> ] <out>
    | the [E0a <ill> ] is the same as it was on [T1 <date> ]
    | 2* the [E0a:AFTER <step> ] will not take place before [T1 <date> ]
    | <who> was well until [T1 <ago> ] despite [E0a <ill> ]
    | on [T1 <date> ] she recalled [E0a <ill> ] from childhood
bare: 3* <who> still has [E0a:OVERLAP <ill> ] | her [E0a:AFTER <step> ] is pending | [E0a <disease> ] runs in the family
    | we discussed [E0a:HYPOTHETICAL <step> ] for [E0b <ill> ] | <drug> controls the [E0a:OVERLAP <ill> ]
    | <who> fears [E0a:HYPOTHETICAL <ill> ]
held: 3* during the [S1 <stay> ] <who> <did1> | 2* <who> <did1> during the [S1 <stay> ]
    | after the [S1 <stay> ] <who> <did0> | [E0a <ill> ] led to the [S1 <stay> ]
    | the [S1 <stay> ] followed [E0a <ill> ]
clause: 11* <dated> | 8* <loose> | <bare> | 3* <held>
visit: date of visit : [V <month> <#1-28> , <year> ]
quiet: <normal> normal | vital signs stable | <who> lives with a <relative> | all questions were answered
    | <who> came with a <relative> | no interpreter was needed | the chart was reviewed | <normal> unchanged
    | thank you for sending this <sex> to us | <who> drove here | <who> speaks for the family
joint: 3* , and | 3* , but | . | ; | , whereas
"""

_RULES = grammar(LEXICON, EVENTS, SENTENCES)


def containment(split: str, number: int, draws: Iterator[float], fresh: Fresh) -> Document:
    """One note of semeval2016_t12. Texts stand apart: between two of them is a sentence without event or time."""
    name = f"ID{SPLITS.index(split) + 1}{number:04d}_clinic_{number:04d}"
    visit = layout(capitalised(expand(_RULES, "visit", draws, False)))
    text = f"{visit.text}\n"
    (date,) = marked(visit)
    mentions = [Mention(id=f"1@e@{name}@gold", label="DOCTIME", pieces=characters(visit, date.pieces))]
    links: list[Link] = []
    for _ in range(TEXTS):
        tokens: list[str] = []
        for clause in range(pick(draws, CLAUSES)):
            tokens += expand(_RULES, "joint", draws, True) if clause else []
            tokens += ["[" + GROUP, *expand(_RULES, "clause", draws, split != "train"), "]"]
        laid = layout(capitalised(with_typos([*tokens, "."], draws, TYPOS)))
        quiet = layout(capitalised([*expand(_RULES, "quiet", draws, True), "."])).text
        every = marked(laid)
        inside = [
            (m, e) for m in every for e in every if _contains(m, e) != (_is_pair(m, e) and chance(draws, FLIPPED))
        ]
        if not fresh(*(laid.text[a:b].strip() for a, b in sentences(laid.text))):
            continue
        text += f"{quiet}\n"
        ids = {m: f"{len(mentions) + i}@e@{name}@gold" for i, m in enumerate(every, 1)}
        mentions += [_mention(ids[m], m, characters(laid, m.pieces, len(text))) for m in every]
        for container, event in inside:
            link = f"{len(links) + 1}@r@{name}@gold"
            links.append(Link(id=link, label="TLINK:CONTAINS", source=ids[container], target=ids[event]))
        text += f"{laid.text} "
    return Document(id=name, text=text.rstrip() + "\n", mentions=tuple(mentions), links=tuple(links))


def _is_pair(container: Marked, event: Marked) -> bool:
    """Whether they are a container and an event of one clause."""
    return container.label[0] in "TS" and event.label[0] == "E" and container.group == event.group


def _contains(container: Marked, event: Marked) -> bool:
    return _is_pair(container, event) and container.label[1] == event.label[1]


def _mention(name: str, mark: Marked, pieces: tuple[tuple[int, int], ...]) -> Mention:
    is_time = mark.label[0] == "T"
    values = {**(TIME if is_time else EVENT), **VALUES.get(mark.label.partition(":")[2], {})}
    return Mention(id=name, label="TIMEX3" if is_time else "EVENT", pieces=pieces, attributes=tuple(values.items()))
