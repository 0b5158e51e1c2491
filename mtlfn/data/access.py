"""Where the data of the tasks in JSON Lines come from, and on what terms; as their sources state them, no legal advice.

Those of an official task stand in its value (``semeval``).
"""

from __future__ import annotations

TERMS: dict[str, str] = {
    "bc5cdr_disease": "BioCreative V CDR corpus: public domain; its IOB form CC BY 4.0",
    "ddi": "DDI corpus 2013: CC BY-NC 4.0, no commercial use",
    "hoc": "Hallmarks of Cancer corpus: GNU GPL v3",
    "pubmedqa": "PubMedQA: MIT",
}
