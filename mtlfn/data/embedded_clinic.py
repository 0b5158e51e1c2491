"""Clinical notes with disorders: what makes a word a disorder, or a cue, is the sentence around it."""

from __future__ import annotations

from collections.abc import Iterator

from mtlfn.data.embedded_draw import chance, expand, grammar
from mtlfn.data.embedded_lexicon import LEXICON
from mtlfn.data.embedded_text import capitalised, layout, noisy_spans, tagged, with_typos
from mtlfn.data.task import Example, Task

DISORDERS = Task(name="semeval2014_t7", kind="tagging", level=1, labels=("Disorder",))
CUES = Task(
    name="semeval2015_t14", kind="tagging", level=1, labels=("Disorder", "Negation", "Severity", "BodyLocation")
)
SENTENCES = 5  # a note
TYPOS = 0.03

PHRASES = """
course: chronic | acute | recurrent | persistent | bilateral
degree: mild | moderate | severe | slight | marked | minimal | extensive | profound | trace | massive
    | moderately severe
sev: [Severity <degree> ]
seen: new | old | stable | worsening | known | suspected | resolving | unexplained
of: 3* of the | in the | over the
dx: 5* [Disorder <disease> ] | [Disorder <course> <disease> ]
sx: [Disorder <symptom> ]
local: 4* [Disorder [BodyLocation <site> ] <finding> ] | 2* [Disorder <finding> ] <of> [BodyLocation <bodypart> ]
    | [Disorder [BodyLocation <site> ] <finding> ] and [Disorder <finding> ]
    | 2* [Disorder [BodyLocation <site> ] and [BodyLocation <site> ] <finding> ]
found: 3* <local> | 2* <sev> <local> | 2* <seen> <local> | [Disorder <course> [BodyLocation <site> ] <finding> ]
suffered: 3* <sx> | <seen> <sx> | <sx> and <local> | <sev> <sx> | 2* <dx> | 2* <sev> <dx> | 2* <local>
neg: [Negation no ] | 2* [Negation no evidence of ] | [Negation without ] | [Negation negative for ]
    | [Negation no sign of ]
op: repair | drainage | fixation | resection | biopsy | dressing | excision | scan | debridement
list: <symptom> , <symptom> or <site> <finding> | <symptom> or <symptom> | <site> <finding> or <symptom>
    | <symptom> , <disease> and <symptom>
dose: <#2-80> mg | <#1-4> tablets | <#5-90> units
often: daily | twice a day | as needed | at bedtime | every <#4-12> hours
known: known for | with a history of | with | s/p treatment for | with longstanding
told: was told she has | presented with | complained of | was admitted for | developed | reports | came in with
    | woke up with | was found to have | is worried about
denied: [Negation denies ] | [Negation denied ] | has [Negation no ] | had [Negation no ] | is [Negation without ]
"""

WITH = """
hpi: 3* <person> <told> <suffered> <end> | 2* <person> <told> <suffered> and <suffered> <end>
    | <person> is a <#24-91> year old <sex> <known> <dx> , <dx> and <procedure> <end>
    | <person> <denied> <sx> , <sx> or <sx> <end> | <person> <told> <suffered> but <denied> <sx> <end>
    | <relative> died of <dx> at age <#40-90> <end> | <person> , who has <dx> , fell and <told> <local> <end>
    | given the <sx> she was sent for <test> , which was <neg> <dx> <end>
hist: past medical history : <dx> , <dx> , <procedure> in <#1988-2012> <end> | PMH : <dx> , s/p <procedure> , <dx> <end>
    | <person> takes <drug> <dose> for <dx> and <drug> for pain <end> | diagnosis : <dx> with <found> <end>
    | <drug> was stopped because of <suffered> <end> | <dx> : continue <drug> <dose> <often> <end>
imaging: 3* <scan> showed <found> <end> | 2* there is <found> , <neg> <local> <end>
    | <scan> of the <bodypart> <neg> <local> , <normal> is normal <end> | <sev> <local> is seen , unchanged <end>
    | findings consistent with <found> or <dx> <end> | <normal> is preserved and there is <neg> <dx> <end>
    | the <normal> is normal but <found> has developed since <procedure> <end>
    | <neg> <local> ; the <bodypart> is otherwise unremarkable <end> | limited <scan> ; <found> cannot be excluded <end>
    | [Disorder <finding> ] <of> [BodyLocation <bodypart> ] was drained at the time of <procedure> <end>
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
    | <person> caught a [Disorder cold ] in <month> and skipped the <disease> <office> <end>
    | the <disease> <office> found <neg> <dx> <end> | in the cold room she developed <suffered> <end>
    | body mass <#50-99> kg , <sev?> [Disorder <site> mass ] on <scan> <end> | a nerve block relieved the <sx> <end>
    | [Disorder heart block ] on EKG , <drug> held <end> | <person> went into [Disorder shock ] after <procedure> <end>
    | tearful , with [Disorder depression ] since the <procedure> <end>
    | the [Disorder burn ] was dressed on <day> <end>
    | <scan> for the <disease> <paper> showed <found> <end> | seen by the pain service for <suffered> <end>
note14: 4* <hpi> | 3* <hist> | 4* <imaging> | 4* <plain> | 3* <mixed>
"""

ALIKE_CUES = """
plain: 3* <person> underwent <site> <finding> <op> without delay <end> | 3* no <site> <finding> <op> is planned <end>
    | 3* call us in case of <degree> <list> <end> | 2* the <degree> <disease> <office> moved on <day> <end>
    | 2* allergies : <drug> ( <degree> <symptom> ) , no others <end> | 2* there is a <degree> risk of <list> <end>
    | no <disease> <paper> was handed out <end> | no change in diet and no visitors after <#5-9> pm <end>
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
    | 2* <person> denies use of <drug> and <told> <suffered> <end> | 2* <sev> <sx> , call if <degree> <list> <end>
    | 2* without the <site> <finding> <op> there would be <degree> pain , now <neg> <dx> <end>
    | no later than <day> , or sooner with <suffered> <end> | <sev> <sx> without relief from <drug> <end>
    | <person> walks without help despite <found> <end> | no <drug> was given for the <suffered> <end>
    | mild weather , yet <person> <told> <suffered> <end> | no change of the <found> since <month> <end>
    | the <bodypart> was scanned , <neg> <local> but <found> <end> | <person> denies smoking and <told> <sx> <end>
    | moderate wine with dinner , then <sev> <sx> <end> | not only <sx> but also <suffered> <end>
    | <procedure> of the <bodypart> for <sev> <local> <end> | marked with ink next to <found> <end>
    | a slight woman with <sev?> <dx> and <neg> <sx> <end>
    | [Severity <degree> to <degree> ] [Disorder <finding> ] on <scan> <end>
    | <neg> <dx> , no further <test> needed , <sev> <sx> persists <end> | no clinic visit was made for <sx> <end>
note15: 4* <hpi> | 2* <hist> | 5* <imaging> | 4* <plain> | 5* <mixed>
"""

_DISORDER_RULES = grammar(LEXICON, PHRASES, WITH, ALIKE_DISORDERS)
_CUE_RULES = grammar(LEXICON, PHRASES, WITH, ALIKE_CUES)


def disorders(split: str, number: int, draws: Iterator[float]) -> list[Example]:
    """One note of semeval2014_t7: the body site belongs to the mention, severity and negation do not."""
    return _note(split, number, draws, DISORDERS, _DISORDER_RULES, "note14")


def cues(split: str, number: int, draws: Iterator[float]) -> list[Example]:
    """One note of semeval2015_t14: the body site is a mention of its own, cues count only beside a disorder."""
    return _note(split, number, draws, CUES, _CUE_RULES, "note15")


def _note(split: str, number: int, draws: Iterator[float], task: Task, rules: dict, start: str) -> list[Example]:
    unit, examples = f"{split}-{number:04d}", []
    for i in range(SENTENCES):
        tokens = with_typos(expand(rules, start, draws, split != "train"), draws, TYPOS)
        laid = layout(capitalised(tokens) if chance(draws, 0.85) else tokens)
        spans = noisy_spans([s for s in laid.spans if s[0] in task.labels], draws)
        examples.append(tagged(f"{unit}-{i}", unit, laid, spans))
    return examples
