"""Public biomedical data sets by name: where they are on the Hugging Face Hub and which of their columns holds what.

The Hub copies are not ours: they may move, change or disappear. Copy a mapping with a commit hash as ``revision`` to
make a run repeatable, or with a ``source`` folder written by ``save_to_disk`` to run without a network.

"seen" below: the data set's card or file list says so. "not seen": inferred, for the reason given.
"""

from __future__ import annotations

from mtlfn.data.hub import Columns, Mapping, Splits

# Parquet files that the Hub makes itself from a repository with a loading script (which `datasets` 4 no longer runs).
# They can be named in this way only where the repository has one configuration: `subset` does not choose among them.
CONVERTED = "refs/convert/parquet"

SPLITS = Splits(train="train", dev="validation", test="test")
NER = Columns(tokens="tokens", tags="ner_tags")
TNER = Columns(tokens="tokens", tags="tags")  # plain integers: the order of the names is on the cards alone

PUBLIC: dict[str, Mapping] = {
    # Seen: columns, names, splits of 5,228, 5,330 and 5,865 sentences. Not seen: the converted branch, which its
    # sister tner/bionlp2004 has.
    "bc5cdr": Mapping(
        source="tner/bc5cdr",
        revision=CONVERTED,
        kind="tagging",
        level=1,
        labels=("Chemical", "Disease"),
        names=("O", "B-Chemical", "B-Disease", "I-Disease", "I-Chemical"),
        columns=TNER,
        splits=SPLITS,
    ),
    # Seen: all; 12,500, 2,500 and 5,000 sentences.
    "bc2gm": Mapping(
        source="spyysalo/bc2gm_corpus",
        subset="bc2gm_corpus",
        kind="tagging",
        level=1,
        labels=("GENE",),
        names=("O", "B-GENE", "I-GENE"),
        columns=NER,
        splits=SPLITS,
    ),
    # Seen: columns, names, splits of 5,433, 924 and 941 rows. Not seen: the converted branch. As in older versions of
    # bc2gm, the last row of each split is likely to have no words; the reader refuses such a row and names it: then
    # save a copy without it with save_to_disk.
    "ncbi_disease": Mapping(
        source="ncbi/ncbi_disease",
        revision=CONVERTED,
        kind="tagging",
        level=1,
        labels=("Disease",),
        names=("O", "B-Disease", "I-Disease"),
        columns=NER,
        splits=SPLITS,
    ),
    # The data of JNLPBA under the workshop's name. Seen: all; 16,619, 1,927 and 3,856 sentences, the second drawn at
    # random from the training set by the copy's authors.
    "jnlpba": Mapping(
        source="tner/bionlp2004",
        revision=CONVERTED,
        kind="tagging",
        level=1,
        labels=("DNA", "RNA", "cell_line", "cell_type", "protein"),
        names=(
            *("O", "B-DNA", "I-DNA", "B-protein", "I-protein", "B-cell_type", "I-cell_type"),
            *("B-cell_line", "I-cell_line", "B-RNA", "I-RNA"),
        ),
        columns=TNER,
        splits=SPLITS,
    ),
    # A sentence with its two mentions marked in the text, to be given one of 13 relations: there are no offsets and no
    # pairs without a relation, hence a classification. JSON Lines files. Seen: splits. Not seen on the card: columns
    # and names, which are those of code that reads the same three files.
    "chemprot": Mapping(
        source="AdaptLLM/ChemProt",
        subset="ChemProt",
        kind="classification",
        level=2,
        labels=(
            "ACTIVATOR",
            "AGONIST",
            "AGONIST-ACTIVATOR",
            "AGONIST-INHIBITOR",
            "ANTAGONIST",
            "DOWNREGULATOR",
            "INDIRECT-DOWNREGULATOR",
            "INDIRECT-UPREGULATOR",
            "INHIBITOR",
            "PRODUCT-OF",
            "SUBSTRATE",
            "SUBSTRATE_PRODUCT-OF",
            "UPREGULATOR",
        ),
        columns=Columns(text="text", label="label"),
        splits=SPLITS,
    ),
    # Fold 0 of the labelled part: 450, 50 and 500 questions. LONG_ANSWER gives the answer away and is not read. Seen:
    # columns and splits, in the commits that convert the repository to parquet. Not seen: that its script is gone by
    # now. The better known qiaojin/PubMedQA has a single split.
    "pubmedqa_hub": Mapping(
        source="bigbio/pubmed_qa",
        subset="pubmed_qa_labeled_fold0_source",
        kind="classification",
        level=2,
        labels=("yes", "no", "maybe"),
        columns=Columns(text="QUESTION", text_pair="CONTEXTS", label="final_decision"),
        splits=SPLITS,
    ),
}

# Licence and access as stated by the named place, and what to cite. Not legal advice. None was seen to ask for a login.
NOTES: dict[str, str] = {
    "bc5cdr": "card: other; BigBIO: Public Domain Mark 1.0. BioCreative V CDR, Li et al. 2016, Database",
    "bc2gm": "card: unknown. BioCreative II gene mention, Smith et al. 2008, Genome Biology",
    "ncbi_disease": "card: unknown. Doğan et al. 2014, Journal of Biomedical Informatics",
    "jnlpba": "card: other; BigBIO: CC BY 3.0. Collier and Kim 2004, JNLPBA",
    "chemprot": "card: none. BioCreative VI ChemProt, Krallinger et al. 2017",
    "pubmedqa_hub": "card: MIT. Jin et al. 2019, EMNLP",
}
