"""Memes with persuasion techniques: the same strong words argue in one line and merely report in the next."""

from __future__ import annotations

from collections.abc import Iterator

from mtlfn.data.document import Document, Mention
from mtlfn.data.embedded.draw import chance, expand, grammar
from mtlfn.data.embedded.text import Fresh, capitalised, characters, layout, marked, noisy, with_typos
from mtlfn.data.task import SPLITS

TECHNIQUES = (
    "Appeal to fear/prejudice",
    "Doubt",
    "Exaggeration/Minimisation",
    "Loaded Language",
    "Name calling/Labeling",
    "Slogans",
)
TYPOS = 0.02
SHOUTED = 0.25  # share of memes in capital letters throughout

WORDS = """
surname+: Doyle | Hartwick | Penrose | Vance-Moll | Okoro | Lindqvist | Castellan | Brandt | Marlow | Teague | Novak
    | Ferro | Ashby | Quillon | Dravic | Sutter
office: senator | mayor | governor | minister | councillor | president | congresswoman | chancellor
who: <office> <surname> | <surname> | 2* the <office> | <surname>
group: the unions | the banks | the lobbyists | big pharma | the press | the old parties | the tech giants | the greens
    | the landlords | the bureaucrats | the opposition
thing: the budget | the border | our schools | the water bill | the hospital plan | the harbour | the pension fund
    | the new tax | the vaccine rollout | the police | the railways | the farm law | the housing plan
harsh+: disgusting | vicious | shameful | heartless | rotten | toxic | monstrous | sickening | brutal | cowardly
    | evil | filthy | ruthless | appalling | savage | despicable
deed+: betrayal | lie | massacre | swindle | attack | cover-up | disaster | nightmare | robbery | horror
    | war | plague | fraud | bloodbath | circus | sellout
insult+: crooked | spineless | lying | brainless | corrupt | sleazy | lazy | sleepy | clueless | two-faced
    | arrogant | senile
creature+: clown | puppet | parasite | snake | tyrant | crook | traitor | rat | coward | fraud | loser | witch | sheep
    | vulture | hypocrite | weasel
extreme: greatest | worst | biggest | most generous | dumbest | most honest | fastest | most dangerous
extent: in the history of the planet | the world has ever seen | of all time | in a thousand years | anyone can imagine
    | in living memory
harm: take your house | open every prison | shut down our hospitals | come for your children | ration your food
    | burn our towns | sell your data | replace us all | empty your savings | let criminals roam your street
cry: take it back | never give in | people first | enough is enough | build it here | truth over power | vote them out
    | our land our rules | stronger side by side | no more excuses
motto: yes to tomorrow | work not words | stand up and be counted | bread and dignity | freedom begins at home
    | one town one heart | hope wins
place: the harbour museum | channel four | the town hall | the library | hall B | the old cinema | the market square
when: on Monday | next week | at noon | this spring | on the 4th | last night
trust: protect <thing> | run <thing> | fix <thing> | keep a promise | tell the truth about <thing> | pay for <thing>
"""

LINES = """
loaded: [Loaded_Language <harsh> <deed> ]
name: [Name_calling/Labeling <insult> <creature> ] | [Name_calling/Labeling [Loaded_Language <harsh> ] <creature> ]
    | [Name_calling/Labeling <insult> <creature> <surname> ]
    | [Name_calling/Labeling <insult> <surname> ] | [Name_calling/Labeling <creature> <surname> ]
    | [Name_calling/Labeling <insult> <group> crowd ]
slogan: 2* [Slogans <cry> ] | [Slogans <motto> ] | [Slogans <cry> , <cry> ]
over: [Exaggeration/Minimisation the <extreme> <plan> <extent> ] | [Exaggeration/Minimisation not one single voter ]
    | [Exaggeration/Minimisation just a tiny little <slip> ]
plan: plan | speech | idea | government | crowd | reform | leader | tax cut
slip: slip | scratch | misunderstanding | rounding error | accident
fear: 3* [Appeal_to_fear/prejudice if <group> win they will <harm> ]
    | 2* [Appeal_to_fear/prejudice soon <group> will <harm> ]
    | [Appeal_to_fear/prejudice do nothing and <who> will <harm> ]
    | [Appeal_to_fear/prejudice tomorrow they <harm> and then they <harm> ]
doubt: 2* [Doubt can we really trust <who> to <trust> ] ? | [Doubt does anyone still believe <who> can <trust> ] ?
    | [Doubt has <who> ever managed to <trust> ] ? | [Doubt why should <group> know how to <trust> ] ?
fair: 2* can we really fit <#20-90> chairs into <place> ? | does anyone still have tickets for <place> <when> ?
    | has <who> arrived at <place> yet ? | why does <place> open at <#6-11> ? | will <who> speak <when> ?
    | if it rains the debate moves to <place> | if <group> win they will meet <when> in <place>
    | soon <group> will publish a report on <thing> | tomorrow they vote and then they count the ballots
    | the biggest hall in <place> seats <#200-900> people | the fastest train to <place> leaves <when>
    | just a short walk from <place> | not one seat was free <when> at <place>
    | a documentary about the <harsh> <deed> of <#1914-1979> , <when> at <place>
    | <who> called the film a <harsh> <deed> movie with a happy end | the disaster relief fund meets <when>
    | the play “ <insult> <creature> ” opens <when> at <place> | the snake show at <place> starts <when>
    | circus clown and puppet theatre at <place> <when> | please stand up and take it back to the counter
    | please vote them in or out by letter <when> | no more excuses were accepted after <#2-9> pm
    | the lesson on “ <harsh> ” and “ <insult> ” is <when> at <place>
frame: 3* <who> said this about <thing> | when <who> explains <thing> <when> | <group> after reading <thing>
    | me listening to <who> talk about <thing> | nobody : absolutely nobody : <who> : | <who> <when> vs <who> today
    | <thing> was on the agenda <when> | remember what <who> did to <thing>
line: 3* <who> and this <loaded> against <thing> | 2* what a <loaded> , <who> | it was a <loaded> and <group> knew it
    | 3* <name> wants <thing> now | <who> is a <name> | that <name> again , talking about <thing>
    | do not let the <name> near <thing> | 3* <slogan> ! | <who> <#2024-2032> : <slogan> | <thing> : <slogan>
    | 2* <over> , says <who> | they call it <over> | <who> promised us <over> | 4* <fear> . | 4* <doubt>
    | after the <loaded> only a <name> would touch <thing>
meme: 3* <frame> / <line> | 3* <line> / <line> | 3* <fair> / <line> | 2* <line> / <fair> | 3* <fair> / <fair>
    | <frame> / <fair> | <frame> / <line> / <line>
"""

_RULES = grammar(WORDS, LINES)


def memes(split: str, number: int, draws: Iterator[float], fresh: Fresh) -> Document | None:
    """One meme of semeval2021_t6: two or three lines, often in capitals. None where an earlier one is the same."""
    tokens = with_typos(expand(_RULES, "meme", draws, split != "train"), draws, TYPOS)
    if chance(draws, SHOUTED):
        tokens = [t if t.startswith("[") else t.upper() for t in tokens]
    else:
        tokens = capitalised(tokens)
    laid = layout(["\n" if t == "/" else t for t in tokens])
    mentions = tuple(
        Mention(id=str(i), label=m.label.replace("_", " "), pieces=characters(laid, m.pieces))
        for i, m in enumerate(noisy(marked(laid), draws))
    )
    if not fresh(laid.text):
        return None
    return Document(id=f"{SPLITS.index(split) + 1}{number:05d}", text=laid.text, mentions=mentions)
