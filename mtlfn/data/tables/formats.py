"""The formats of files that become tasks. A new one is a module with a function ``read_FORMAT``, and a line here."""

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
