"""Clinical sentences with times and events: a time contains the events of its own clause, cues permitting.

In the rule book a mention is marked ``[T1 ... ]`` (a time or another narrative container) or ``[E1a ... ]`` (an
event): the digit says which container of the same clause holds the event, 0 that none does; the letter tells
events apart. The same mark twice in a clause is one mention in two pieces.
"""

from __future__ import annotations

from collections.abc import Iterator

from mtlfn.data.embedded_draw import chance, expand, grammar, pick, shuffled
from mtlfn.data.embedded_lexicon import LEXICON
from mtlfn.data.embedded_text import Layout, capitalised, is_mark, layout, with_typos
from mtlfn.data.task import Example, Span, Task

CONTAINMENT = Task(name="semeval2016_t12", kind="relation", level=2, labels=("none", "CONTAINS"), negative="none")
PAIRS = 4  # at most, a text
TEXTS = 3  # a note
CLAUSE_COUNTS = (1, 1, 2)
FLIPPED = 0.04  # share of pairs with the other label
TYPOS = 0.015

EVENTS = """
who: 3* she | 3* he | 2* the patient | pt | Ms. <surname> | Mr. <surname>
year: <#1996-2012>
date: 3* <month> <#1-28> | <day> | <#1-12>/<#1-28>/<year> | the <#4-20>th | <month> <#4-20>th , <year> | New Year
period: <year> | <month> | <month> of <year> | early <month> | the fall of <year> | week <#2-8>
ago: yesterday | last week | <#2-9> days ago | this morning | last <month> | two months ago | today | last night
    | the day before yesterday | this past weekend
span: the winter | her second pregnancy | the first cycle | the holidays | the past <#2-6> weeks | the night shift
    | that summer | the third week
stay: admission | hospital stay | surgery | flight | transfer | infusion | rehab stay | dialysis session
ill: 3* <symptom> | 2* <disease> | <site> <finding>
act+: bleeding | relapse | follow-up | consultation | clinic visit | second opinion | chemotherapy | infusion
    | wound check
    | radiation | discharge | counselling | readmission | dose increase | tumor board | staging
step: <act> | <procedure> | <scan>
got: had | developed | suffered | reported | complained of | was treated for
did: underwent | had | was scheduled for | came for
was: was done | was started | was performed | took place | was repeated | was completed
"""

CLAUSES = """
in: on [T1 <date> ] | 2* [T1 <ago> ] | during [T1 <span> ] | 2* in [T1 <period> ] | at noon on [T1 <date> ]
out: before [T1 <date> ] | after [T1 <date> ] | until [T1 <ago> ] | since [T1 <period> ] | prior to [T1 <span> ]
    | more than a year before [T1 <date> ] | well after [T1 <span> ]
did1: 3* <got> [E1a <ill> ] | 2* <did> [E1a <step> ] | <got> [E1a <ill> ] and [E1b <ill> ]
    | <did> [E1a <step> ] for [E1b <ill> ] | <did> [E1a <step> ] without [E1b <ill> ]
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
    | <in> , while [E1b <act> ] was under way , <who> <got> [E1a <ill> ]
loose: 4* <out> <who> <did0> | 4* <who> <did0> <out> | 2* [E0a <ill> ] had resolved by [T1 <date> ]
    | 2* the [E0a <step> ] set for [T1 <date> ] was cancelled because of [E0b <ill> ] | no [E0a <ill> ] <out>
    | the [E0a <ill> ] is the same as it was on [T1 <date> ]
    | 2* the [E0a <step> ] will not take place before [T1 <date> ]
    | <who> was well until [T1 <ago> ] despite [E0a <ill> ]
    | on [T1 <date> ] she recalled [E0a <ill> ] from childhood
bare: 3* <who> still has [E0a <ill> ] | her [E0a <step> ] is pending | [E0a <disease> ] runs in the family
    | we discussed [E0a <step> ] for [E0b <ill> ] | <drug> controls the [E0a <ill> ] | <who> fears [E0a <ill> ]
held: 3* during the [T1 <stay> ] <who> <did1> | 2* <who> <did1> during the [T1 <stay> ]
    | after the [T1 <stay> ] <who> <did0> | [E0a <ill> ] led to the [T1 <stay> ]
    | the [T1 <stay> ] followed [E0a <ill> ]
clause: 6* <dated> | 8* <loose> | 2* <bare> | 2* <held>
joint: 3* , and | 3* , but | . | ; | , whereas
"""

_RULES = grammar(LEXICON, EVENTS, CLAUSES)


def containment(split: str, number: int, draws: Iterator[float]) -> list[Example]:
    """One note of semeval2016_t12: head is the time (or other container), tail the event."""
    unit, examples = f"{split}-{number:04d}", []
    for i in range(TEXTS):
        tokens: list[str] = []
        for clause in range(pick(draws, CLAUSE_COUNTS)):
            tokens += expand(_RULES, "joint", draws, True) if clause else []
            tokens += [
                f"[{clause}{t[1:]}" if is_mark(t) and t != "]" else t
                for t in expand(_RULES, "clause", draws, split != "train")
            ]
        laid = layout(capitalised(with_typos([*tokens, "."], draws, TYPOS)))
        mentions = _mentions(laid)
        pairs = [(t, e) for t in mentions if t[1] == "T" for e in mentions if e[1] == "E"]
        for j, (time, event) in enumerate(shuffled(draws, pairs)[:PAIRS]):
            inside = time[0] == event[0] and time[2] == event[2]  # same clause, same number
            examples.append(
                Example(
                    id=f"{unit}-{i}-{j}",
                    unit=unit,
                    texts=((laid.text, None),),
                    head=mentions[time],
                    tail=mentions[event],
                    labels=(CONTAINMENT.labels[inside != chance(draws, FLIPPED)],),
                )
            )
    return examples


def _mentions(laid: Layout) -> dict[str, tuple[Span, ...]]:
    """Pieces of each mention, in characters, under its mark (clause, kind, number, letter)."""
    pieces: dict[str, tuple[Span, ...]] = {}
    for mark, a, b in laid.spans:
        pieces[mark] = (*pieces.get(mark, ()), (laid.words[a][0], laid.words[b - 1][1]))
    return pieces
