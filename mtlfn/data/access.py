"""Where the data of each task come from, and on what terms; as their sources state them, no legal advice."""

from __future__ import annotations

MIMIC = (
    "clinical notes of MIMIC-II: credentialed access through PhysioNet, training in human-subject research required, "
    "no redistribution"
)
THYME = (
    "THYME colon cancer notes: data use agreement with the Mayo Clinic; the annotations alone are public "
    "(stylerw/thymedata)"
)
QATAR = "public, free for general research use (SemEval-2017 Task 3, Qatar Living forum)"
MEMES = "public, free for general research use (SemEval-2021 Task 6 corpus)"

TERMS: dict[str, str] = {
    "semeval2014_t7": f"ShARe corpus, {MIMIC}",
    "semeval2015_t14": f"ShARe corpus, {MIMIC}",
    "semeval2016_t12": THYME,
    "semeval2016_t12_spans": THYME,
    "semeval2017_t3": QATAR,
    "semeval2017_t3_b": QATAR,
    "semeval2017_t3_c": QATAR,
    "semeval2021_t6": MEMES,
    "semeval2021_t6_labels": MEMES,
    "bc5cdr_disease": "BioCreative V CDR corpus: public domain; its IOB form CC BY 4.0",
    "ddi": "DDI corpus 2013: CC BY-NC 4.0, no commercial use",
    "hoc": "Hallmarks of Cancer corpus: GNU GPL v3",
    "pubmedqa": "PubMedQA: MIT",
}
