"""The formats of files that become tasks. A new one is a module with a function ``read_FORMAT``, a line here, and its
name in ``BY_ROLE`` where no columns are to be named."""

from __future__ import annotations

# format -> the module with its reader, and the endings of its files
READERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "hub": ("library", ()),
    "disk": ("library", ()),
    "jsonl": ("lines", (".jsonl", ".jsonl.gz", ".json")),
    "csv": ("lines", (".csv", ".csv.gz")),
    "tsv": ("lines", (".tsv", ".tsv.gz")),
    "parquet": ("library", (".parquet",)),
    "conll": ("conll", (".conll", ".iob", ".iob2", ".bio", ".conllu")),
    "brat": ("brat", (".ann",)),
    "bioc": ("bioc", (".xml",)),
    "bigbio": ("library", ()),
}
NAMED: dict[str, tuple[str, ...]] = {"bioc": (".json",)}  # endings where the mapping names it: most JSON is rows
BY_ROLE = ("conll", "brat", "bioc", "bigbio")  # formats that say themselves what is text and what annotation
