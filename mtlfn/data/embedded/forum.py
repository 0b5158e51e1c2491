"""A forum thread: ten answers, good only if they meet both the topic and the point of the question.

Ranking them takes two things: telling advice from chatter, which sounds the same everywhere, and telling advice
for this question from advice for another one, which only the question can settle.
"""

from __future__ import annotations

from collections.abc import Iterator

from mtlfn.data.document import Candidate, Query
from mtlfn.data.embedded.draw import HELD_OUT_EVERY, chance, expand, grammar, pick, shuffled
from mtlfn.data.embedded.text import Fresh, capitalised, layout, with_typos
from mtlfn.data.embedded.topics import TOPICS
from mtlfn.data.task import SPLITS

CANDIDATES = 10
GOOD = (3, 4, 4, 5)
FLIPPED = 0.05  # share of candidates with the other label
TYPOS = 0.03
LOWER = 0.6  # share of posts without capital letters

FRAME = """
hello: hi all , | hey guys , | hello , | dear members , | salam , | good evening everyone ,
since: i moved here <#2-11> months ago . | we arrive in <month> . | new in town . | i am here with <kin> .
    | asking for <kin> . | been here <#2-9> years and still lost .
kin: my wife | my husband | two kids | my mother | a friend | my flatmate | a colleague | my brother
thanks: thanks in advance | thx | any help is welcome | cheers | please advise | tia | urgent !
month: January | March | May | June | August | September | October | December
i: i think | imo | as far as i know , | been there : | same with <kin> last year , | well , | @<name> |
    from experience , | | |
bye: good luck | hope it helps | all the best | that worked for us | not sure if it changed | ask for <name> | | | |
name: Sami | Dana | Priya | Marco | Jun | Fatima | Oleg | Grace | Tariq | Lena | Bongani | Aiko | Hugo | Mina
place: Harbour hospital | Palm street clinic | the Marsa mall | the old souq | City centre | the Rayan road branch
    | the Cedar building | Gate 4 | the west bay office | the ring road
price: <#2-9>0 | around <#1-9>00 | about <#11-49>0
chatter: following , same NOUN question here | did you find out about the NOUN ? | i also want to know about NOUN
    | why do you ask <name> ? | this NOUN thing was posted last week , use the search | any news ? i need NOUN too
    | NOUN again ? third thread today | pls share if you hear anything about NOUN | welcome to the forum <name>
    | let us hope somebody replies | sent you a pm <name> | bump , NOUN anybody ? | thank you <name> for asking that
    | good question , waiting for replies on NOUN | i wonder the same since <month>
joke: NOUN ? just win the lottery lol | my cat could answer that about NOUN haha | <name> and his NOUN , get a room
    | ask google , it is free you know | you must be joking , who needs NOUN in this heat
    | what a stupid thing to ask , go back home | people like you are why this forum is dead <name>
    | take two camels and call me in the morning :) | lol NOUN , good one | are you really that clueless about NOUN
    | the only NOUN here is a fairy tale haha | buy a tent and forget the NOUN hehe
"""

_RULES = grammar(FRAME, TOPICS)
_POINTS = tuple(name[: -len(".ask")] for name in _RULES if name.endswith(".ask"))  # "topic.point"
_TOPICS = tuple(dict.fromkeys(point.split(".")[0] for point in _POINTS))
_HELD_OUT = frozenset(_TOPICS[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
_KNOWN = tuple(point for point in _POINTS if point.split(".")[0] not in _HELD_OUT)


def answers(split: str, number: int, draws: Iterator[float], fresh: Fresh) -> Query | None:
    """One thread of semeval2017_t3: a question with its ten comments. None where an earlier one asks the same."""
    unseen = split != "train"
    points = _POINTS if unseen else _KNOWN
    point = pick(draws, points)
    topic = point.split(".")[0]
    question = [*_optional(draws, "hello", 0.4), *_optional(draws, "since", 0.35), *_words(draws, f"{point}.ask"), "?"]
    query = _post([*question, *_optional(draws, "thanks", 0.35)], draws)
    near = [p for p in points if p != point and p.startswith(f"{topic}.")]
    far = [p for p in points if not p.startswith(f"{topic}.")]
    good = pick(draws, GOOD)
    labels: dict[str, str] = {}  # comment: label; asked for again when it repeats an earlier one
    while len(labels) < CANDIDATES:
        text, label = _other(draws, topic, near, far)
        if len(labels) < good:
            text, label = _advice(draws, point), "Good"
        if text not in labels:
            other = "Bad" if label == "Good" else "Good"
            labels[text] = other if 0 < len(labels) < CANDIDATES - 1 and chance(draws, FLIPPED) else label
    ranked = shuffled(draws, tuple(labels.items()))
    if not fresh(query):
        return None
    name = f"Q{SPLITS.index(split) + 1}{number:04d}_R1"
    candidates = (
        Candidate(id=f"{name}_C{rank}", text=text, label=label, rank=rank)
        for rank, (text, label) in enumerate(ranked, 1)
    )
    return Query(id=name, text=query, candidates=tuple(candidates))


def _other(draws: Iterator[float], topic: str, near: list[str], far: list[str]) -> tuple[str, str]:
    """Another answer of this topic, an answer to something else, chatter or a joke; with its label."""
    kind = next(draws)
    if kind < 0.1 and near:
        return _advice(draws, pick(draws, near)), "PotentiallyUseful"
    if kind < 0.38:
        return _advice(draws, pick(draws, far)), "Bad"
    chat = _words(draws, "chatter" if kind < 0.72 else "joke")
    noun = _words(draws, f"{topic}.noun")
    return _post([w for token in chat for w in (noun if token == "NOUN" else [token])], draws), "Bad"


def _advice(draws: Iterator[float], point: str) -> str:
    body = _words(draws, f"{point}.answer")
    return _post([*_words(draws, "i"), *body, *_optional(draws, "bye", 0.35)], draws)


def _words(draws: Iterator[float], symbol: str) -> list[str]:
    return expand(_RULES, symbol, draws, True)


def _optional(draws: Iterator[float], symbol: str, share: float) -> list[str]:
    words = _words(draws, symbol) if chance(draws, share) else []
    return [*words, "."] if words and words[-1] not in (".", ",", "!") else words


def _post(tokens: list[str], draws: Iterator[float]) -> str:
    """A post as typed: lower case mostly, typing errors, a lost full stop."""
    typed = with_typos([t for t in tokens if t], draws, TYPOS)
    if chance(draws, LOWER):
        typed = [t.lower() for t in typed]
    else:
        typed = capitalised(typed)
    return layout(typed[:-1] if typed[-1] == "." and chance(draws, 0.6) else typed).text
