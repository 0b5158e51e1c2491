"""Clinical notes with disorders: what makes a word a disorder, or a cue, is the sentence around it.

In the rule books ``[D ... ]`` is a disorder, ``[D1 ... ]`` a piece of one; ``[Negation:yes ... ]`` (slot and value) and
``[Body ... ]`` are the cues of slots, for all disorders of their group ``[+ ... ]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mtlfn.data.document import Document, Mention
from mtlfn.data.embedded.draw import Rule, chance, expand, grammar, pick
from mtlfn.data.embedded.lexicon import LEXICON
from mtlfn.data.embedded.text import Fresh, Layout, Marked, capitalised, characters, layout, marked, noisy, with_typos
from mtlfn.data.example import Span
from mtlfn.data.semeval.formats import semeval2014_t7, semeval2015_t14
from mtlfn.data.task import SPLITS

SENTENCES = (3, 4, 4, 5, 5, 6, 6, 7, 7, 10)  # a note; the longest ones do not fit into one window
BROKEN = 0.3  # share of sentences that begin a new line
TYPOS = 0.03

PHRASES = """
course: chronic | acute | recurrent | persistent | bilateral | subacute | progressive | intermittent | relapsing
    | refractory | longstanding | residual | advanced | nocturnal
again: chronic | recurrent | persistent
faint: mild | slight | minimal | trace
strong: severe | marked | extensive | profound | massive | moderately severe
degree: 4* <faint> | moderate | 6* <strong>
sev: 4* [Severity:slight <faint> ] | [Severity:moderate moderate ] | 6* [Severity:severe <strong> ]
seen: new | old | stable | worsening | known | suspected | resolving | unexplained
state: incarcerated | ruptured | infected | perforated | displaced | necrotic | obstructed | inflamed
size: smaller | larger | stable | unchanged | better seen | less clear
of: 3* of the | in the | over the
found: 3* <local> | 2* [+ <sev> <local> ] | 2* <seen> <local> | <lasting>
suffered: 3* <sx> | <seen> <sx> | <sx> and <local> | [+ <sev> <sx> ] | 2* <dx> | 2* [+ <sev> <dx> ] | 2* <local>
no: no | 2* no evidence of | without | 2* negative for | no sign of
neg: [Negation:yes <no> ]
nodx: [+ <neg> <dx> ]
nosx: [+ <neg> <sx> ]
nolocal: [+ <neg> <local> ]
op: repair | drainage | fixation | resection | biopsy | dressing | excision | scan | debridement
list: <symptom> , <symptom> or <site> <finding> | <symptom> or <symptom> | <site> <finding> or <symptom>
    | <symptom> , <disease> and <symptom>
dose: <#2-80> mg | <#1-4> tablets | <#5-90> units
often: daily | twice a day | as needed | at bedtime | every <#4-12> hours
known: known for | with a history of | with | s/p treatment for | with longstanding
told: was told she has | presented with | complained of | was admitted for | developed | reports | came in with
    | woke up with | was found to have | is worried about
denied: [Negation:yes denies ] | [Negation:yes denied ] | has [Negation:yes no ] | had [Negation:yes no ]
    | is [Negation:yes without ]
denial: [+ <denied> <sx> ]
"""

LOCAL_DISORDERS = """
dx: 8* [D <disease> ] | 2* [D <course> <disease> ] | [+ [D1 acute ] and [D2 <again> ] [D1 [D2 <disease> ] ] ]
sx: [D <symptom> ]
local: 8* [D <site> <finding> ] | 4* [D <finding> ] <of> <bodypart>
    | 2* [+ [D1 [D2 <site> ] ] [D1 <finding> ] and [D2 <finding> ] ]
    | 4* [+ [D1 <site> ] and [D2 <site> ] [D1 [D2 <finding> ] ] ]
    | 2* [+ [D1 <finding> ] <of> <bodypart> , now [D1 <state> ] ] | [D <finding> ] <of> <bodypart> , now <size>
lasting: [D <course> <site> <finding> ]
"""

LOCAL_CUES = """
dx: [D <disease> ] | 5* [D <course> <disease> ] | [+ [D1 acute ] and [D2 <again> ] [D1 [D2 <disease> ] ] ]
sx: [D <symptom> ] | 2* [D <course> <symptom> ]
kind+: loculated | complex | hairline | simple | septic | diffuse | focal | superficial | multiple | small | ragged
    | calcified | stage <#2-4> | traumatic | healing | tender | early | postoperative
what: <finding> | 2* <course> <finding> | 3* <kind> <finding>
local: 3* [+ [Body <site> ] [D <finding> ] ] | 8* [+ [D <what> ] <of> [Body <bodypart> ] ]
    | 2* [+ [Body <site> ] [D <finding> ] and [D <what> ] ] | 2* [+ [Body <site> ] and [Body <site> ] [D <finding> ] ]
    | 2* [+ [D1 <finding> ] <of> [Body <bodypart> ] , now [D1 <state> ] ]
    | 2* [+ [D <what> ] <of> [Body <bodypart> ] , now <size> ]
lasting: [+ [D1 <course> ] [Body <site> ] [D1 <finding> ] ]
"""

WITH = """
hpi: 3* <person> <told> <suffered> <end> | 2* <person> <told> <suffered> and <suffered> <end>
    | <person> is a <#24-91> year old <sex> <known> <dx> , <dx> and <procedure> <end>
    | <person> [+ <denied> <sx> , <sx> or <sx> ] <end> | <person> <told> <suffered> but <denial> <end>
    | [+ [Subject:family_member <relative> ] died of <dx> ] at age <#40-90> <end>
    | <person> , who has <dx> , fell and <told> <local> <end>
    | given the <sx> she was sent for <test> , which was <nodx> <end>
hist: past medical history : <dx> , <dx> , <procedure> in <#1988-2012> <end> | PMH : <dx> , s/p <procedure> , <dx> <end>
    | <person> takes <drug> <dose> for <dx> and <drug> for pain <end> | diagnosis : <dx> with <found> <end>
    | <drug> was stopped because of <suffered> <end> | <dx> : continue <drug> <dose> <often> <end>
imaging: 3* <scan> showed <found> <end> | 2* there is <found> , <nolocal> <end>
    | <scan> of the <bodypart> <nolocal> , <normal> is normal <end> | [+ <sev> <local> ] is seen , unchanged <end>
    | findings consistent with <found> or <dx> <end> | <normal> is preserved and there is <nodx> <end>
    | the <normal> is normal but <found> has developed since <procedure> <end>
    | <nolocal> ; the <bodypart> is otherwise unremarkable <end> | limited <scan> ; <found> cannot be excluded <end>
    | [+ [D <finding> ] <of> [Body <bodypart> ] ] was drained at the time of <procedure> <end>
end: .
"""

ALIKE_DISORDERS = """
plain: 4* call us in case of <list> <end> | 3* he was warned about the risk of <list> <end>
    | 3* return at once should there be <list> <end> | 3* allergies : <drug> ( <symptom> ) , <drug> ( <symptom> ) <end>
    | 6* <person> underwent <site> <finding> <op> on <day> <end> | 3* s/p <finding> <op> in <#1988-2012> <end>
    | 5* <person> was referred to the <disease> <office> <end> | 4* the <disease> <office> will call on <day> <end>
    | 2* <person> was seen by the <disease> <office> , <normal> was normal <end>
    | 2* she joined a <disease> <paper> in <month> <end>
    | <person> received the <disease> <paper> together with the <drug> <end>
    | <normal> and <normal> normal , <bodypart> clear <end> | <person> underwent <procedure> without problems <end>
    | 2* <drug> <dose> <often> , <drug> <dose> <often> <end> | discharge instructions : <drug> <dose> <often> <end>
    | <bodypart> was prepped for <procedure> under <drug> <end> | <scan> of the <bodypart> was normal on <day> <end>
    | the room was cold and <person> asked for a blanket <end> | cold compress to the <bodypart> <often> <end>
    | body mass of <#50-99> kg , <normal> normal <end> | body mass index <#20-39> , <test> pending <end>
    | femoral nerve block was placed before <procedure> <end> | no growth on culture after <#2-5> days <end>
    | she fell behind on the payments last fall <end> | Dr. <surname> discussed <procedure> with the family <end>
    | the pacemaker delivered one shock during the check <end> | stroke volume was <#40-90> ml <end>
    | burn unit transferred <person> to the ward on <day> <end>
    | pain medication was changed from <drug> to <drug> <end>
    | pressure dressing over the <bodypart> was changed on <day> <end> | sepsis protocol orders were signed <end>
    | tissue block <#2-9> was sent to the lab , <test> to follow <end> | <normal> was within normal limits <end>
    | failure to attend the clinic on <day> was noted <end> | the <bodypart> was examined , <normal> intact <end>
mixed: 4* <found> before the <site> <finding> <op> <end> | 3* <finding> <op> was put off because of <suffered> <end>
    | 3* he knows the risk of <symptom> and <symptom> but now <told> <sx> <end>
    | 3* <person> takes <drug> ( allergic : <symptom> ) for <dx> <end> | 2* <sx> settled , call if <list> <end>
    | 3* <person> has <dx> and sees the <disease> <office> every <month> <end>
    | <person> caught a [D cold ] in <month> and skipped the <disease> <office> <end>
    | the <disease> <office> found <nodx> <end> | in the cold room she developed <suffered> <end>
    | body mass <#50-99> kg , [+ <sev?> [D <site> mass ] ] on <scan> <end> | a nerve block relieved the <sx> <end>
    | [D heart block ] on EKG , <drug> held <end> | <person> went into [D shock ] after <procedure> <end>
    | tearful , with [D depression ] since the <procedure> <end>
    | the [D burn ] was dressed on <day> <end>
    | <scan> for the <disease> <paper> showed <found> <end> | seen by the pain service for <suffered> <end>
note14: 4* <hpi> | 2* <hist> | 4* <imaging> | 5* <plain> | 4* <mixed>
"""

ALIKE_CUES = """
plain: 4* <person> underwent <site> <finding> <op> without delay <end> | 4* no <site> <finding> <op> is planned <end>
    | 2* call us in case of <degree> <list> <end> | 3* the <degree> <disease> <office> moved on <day> <end>
    | 2* allergies : <drug> ( <degree> <symptom> ) , no others <end> | 2* there is a <degree> risk of <list> <end>
    | 3* no <disease> <paper> was handed out <end> | 4* seen by the <disease> <office> for a <finding> <op> <end>
    | no change in diet and no visitors after <#5-9> pm <end>
    | please return no later than <day> <end>
    | <person> walks without a cane and without help <end> | <person> denies any need for help at home <end>
    | there was no bed on the ward until <day> <end> | the weather was mild and <person> sat outside <end>
    | <person> drinks moderate amounts of wine on <day> <end> | she has a slight accent and speaks clearly <end>
    | moderate exercise and mild soap were advised <end> | severe traffic delayed the ambulance <end>
    | the <bodypart> was marked before <procedure> <end> | dressing on the <bodypart> was changed <often> <end>
    | <scan> of the <bodypart> on <day> was normal <end> | <person> moves the <bodypart> freely , <normal> normal <end>
    | no <drug> until <procedure> , then <dose> <often> <end> | minimal assistance with walking , <normal> normal <end>
    | consent for <procedure> of the <bodypart> was obtained without delay <end>
    | room no <#2-40> , no known address <end>
    | a massive effort by the <disease> <office> on <day> <end> | a slight increase of <drug> to <dose> <end>
    | no <procedure> is planned and the <bodypart> looks normal <end> | the family has severe money worries <end>
mixed: 3* no <finding> <op> despite <found> <end> | 3* <found> before the <site> <finding> <op> <end>
    | 2* <person> denies use of <drug> and <told> <suffered> <end> | 2* [+ <sev> <sx> ] , call if <degree> <list> <end>
    | 2* without the <site> <finding> <op> there would be <degree> pain , now <nodx> <end>
    | no later than <day> , or sooner with <suffered> <end> | [+ <sev> <sx> ] without relief from <drug> <end>
    | <person> walks without help despite <found> <end> | no <drug> was given for the <suffered> <end>
    | mild weather , yet <person> <told> <suffered> <end> | no change of the <found> since <month> <end>
    | the <bodypart> was scanned , <nolocal> but <found> <end> | <person> denies smoking and <told> <sx> <end>
    | moderate wine with dinner , then [+ <sev> <sx> ] <end> | not only <sx> but also <suffered> <end>
    | <procedure> of the <bodypart> for [+ <sev> <local> ] <end> | marked with ink next to <found> <end>
    | a slight woman with [+ <sev?> <dx> ] and <nosx> <end>
    | [+ [Severity:moderate <faint> to moderate ] [D <finding> ] ] on <scan> <end>
    | <nodx> , no further <test> needed , [+ <sev> <sx> ] persists <end> | no clinic visit was made for <sx> <end>
note15: 4* <hpi> | 2* <hist> | 4* <imaging> | 4* <plain> | 5* <mixed>
"""

_DISORDER_RULES = grammar(LEXICON, PHRASES, LOCAL_DISORDERS, WITH, ALIKE_DISORDERS)
_CUE_RULES = grammar(LEXICON, PHRASES, LOCAL_CUES, WITH, ALIKE_CUES)
Slots = Mapping[str, Sequence[tuple[str, tuple[Span, ...]]]]  # slot -> value and cue of each that a disorder has
Finding = tuple[tuple[Span, ...], Slots]  # a disorder: pieces, slots


def disorders(split: str, number: int, draws: Iterator[float], fresh: Fresh) -> Document:
    """One note of semeval2014_t7: the body site before it belongs to the disorder, severity and negation do not."""
    name = f"{SPLITS.index(split) + 1:05d}-{number:06d}-DISCHARGE_SUMMARY"
    text, findings = _note(split, _DISORDER_RULES, "note14", draws, fresh)
    attributes = (("cui", semeval2014_t7.NO_CUI),)
    mentions = (
        Mention(id=str(line), label=semeval2014_t7.LABEL, pieces=pieces, attributes=attributes)
        for line, (pieces, _) in enumerate(findings, 1)
    )
    return Document(id=name, text=text, mentions=tuple(mentions))


def cues(split: str, number: int, draws: Iterator[float], fresh: Fresh) -> Document:
    """One note of semeval2015_t14: the disorder without its site, which is a slot, as severity and negation are."""
    text, findings = _note(split, _CUE_RULES, "note15", draws, fresh)
    mentions: list[Mention] = []
    line = 1
    for pieces, slots in findings:
        mentions.append(
            Mention(id=str(line), label=semeval2015_t14.LABEL, pieces=pieces, attributes=_attributes(slots))
        )
        line += max(1, len(slots.get("Body", ())))  # a line a body location
    return Document(id=f"{SPLITS.index(split) + 1:05d}-{number:06d}", text=text, mentions=tuple(mentions))


def _note(
    split: str, rules: Mapping[str, Rule], start: str, draws: Iterator[float], fresh: Fresh
) -> tuple[str, list[Finding]]:
    """The text and its disorders in their order."""
    text, findings = "", []
    for _ in range(pick(draws, SENTENCES)):
        tokens = with_typos(expand(rules, start, draws, split != "train"), draws, TYPOS)
        laid = layout(capitalised(tokens) if chance(draws, 0.85) else tokens)
        every = marked(laid)
        annotated = noisy([m for m in every if m.label[0] == "D"], draws)
        blank = "\n" if chance(draws, BROKEN) else " "
        if fresh(laid.text):
            text += blank if text else ""
            findings += _moved(laid, annotated, [m for m in every if m.label[0] != "D"], len(text))
            text += laid.text
    return text + "\n", findings


def _moved(laid: Layout, disorders: Sequence[Marked], slots: Sequence[Marked], at: int) -> Iterator[Finding]:
    """The disorders of a sentence that begins at this character of its note."""
    for pieces in dict.fromkeys(m.pieces for m in disorders):  # a clipped one may be what another is already
        values: dict[str, list[tuple[str, tuple[Span, ...]]]] = {}
        for cue in slots:
            if cue.group[0] <= pieces[0][0] and pieces[-1][1] <= cue.group[1]:
                slot, _, value = cue.label.partition(":")
                values.setdefault(slot, []).append((value, characters(laid, cue.pieces, at)))
        yield characters(laid, pieces, at), values


def _attributes(slots: Slots) -> tuple[tuple[str, str], ...]:
    """CUI, value and cue of every slot, and a pair for each body location, as the reader has them."""
    out = [("cui", semeval2015_t14.NO_CUI)]
    for slot, (default, *_) in semeval2015_t14.SLOTS.items():
        value, cue = slots.get(slot.capitalize(), [(default, ())])[0]
        out += [(slot, value), (f"{slot}_cue", _cue(cue))]
    for value, cue in slots.get("Body", [(semeval2015_t14.NULL, ())]):
        out += [(semeval2015_t14.BODY, value or semeval2015_t14.NO_CUI), (semeval2015_t14.BODY_CUE, _cue(cue))]
    return tuple(out)


def _cue(pieces: Sequence[Span]) -> str:
    return ",".join(f"{start}-{end}" for start, end in pieces) or semeval2015_t14.NULL
