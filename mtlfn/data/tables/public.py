"""Public biomedical data sets by name: where they are on the Hugging Face Hub and which of their columns holds what.

The Hub copies are not ours: they may move, change or disappear. Copy a mapping with a commit hash as ``revision`` to
make a run repeatable, or with a ``source`` folder written by ``save_to_disk`` to run without a network.

"seen" below: the data set's card or file list says so. "not seen": inferred, for the reason given.
"""

from __future__ import annotations

from mtlfn.data.tables.jsonl import SCHEMAS
from mtlfn.data.tables.mapping import Columns, Mapping, Splits

# Parquet files that the Hub makes itself from a repository with a loading script (which `datasets` 4 no longer runs).
# `subset` does not choose among the configurations there; where there are several, the folder named by `data_dir` does.
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
    # write a mapping of one's own with skip_unusable = true.
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
    # Sentences of the split of BLURB, gene and disease replaced by placeholders; "1": the sentence says that they are
    # associated. The labels were made semi-automatically. Seen: the folder with its three splits (4,261, 535 and 534
    # rows in BLURB's own count), and in the loader its columns: a list that holds one label. The folders of the source
    # schema have no validation split.
    "gad": Mapping(
        source="bigbio/gad",
        revision=CONVERTED,
        data_dir="gad_blurb_bigbio_text",
        kind="classification",
        level=2,
        labels=("0", "1"),
        columns=Columns(text="text", label="labels"),
        splits=SPLITS,
    ),
    # Sentences with the hallmarks that they speak of, split by BLURB. Seen: the folder with its three splits (about
    # 12,100, 1,800 and 3,550 rows), and in the loader columns and class names: sentences without a hallmark are
    # labelled "none". document_id is a sentence's: the document's and a number. Not seen: that the converted files kept
    # the class names; without them the reader refuses the first label and asks for names.
    "hoc_hub": Mapping(
        source="bigbio/hallmarks_of_cancer",
        revision=CONVERTED,
        data_dir="hallmarks_of_cancer_source",
        kind="multilabel",
        level=2,
        labels=SCHEMAS["hoc"].labels,
        negative="none",
        columns=Columns(text="text", labels="label", unit="document_id"),
        splits=SPLITS,
    ),
    # Pairs of drugs with the sentence around them, which does not mark them: they are read as its second text. Seen, on
    # the card: columns, classes, splits of 5,744 and 1,398 rows. Most pairs that do not interact are missing (30 % are
    # left), so scores do not compare with those on the whole corpus. Not seen: types; the file names of the test split.
    # There is no validation split: dev is the test split here. The copy at bigbio/ddi_corpus has whole documents,
    # which a mapping with format = "bigbio" reads.
    "ddi2013_hub": Mapping(
        source="OpenMed/DDI-Corpus-Processed",
        kind="classification",
        level=2,
        labels=("NONE", "MECHANISM", "EFFECT", "ADVISE", "INT"),
        columns=Columns(text="sentence", text_pair="drug1 + drug2", label="relation", unit="source_file"),
        splits=Splits(train="train", dev="test"),
    ),
    # 100 pairs of sentences, marked from 0 (unrelated) to 4 (equivalent) by five annotators; the value is their mean.
    # Seen: the folder with its three splits, and in the loader the columns. Not seen: rows a split (BLURB has 64, 16
    # and 20); the Hub's loader, which is newer than the one read (that has a single split). In the other folder,
    # biosses_bigbio_pairs, the mean is a string.
    "biosses": Mapping(
        source="bigbio/biosses",
        revision=CONVERTED,
        data_dir="biosses_source",
        kind="regression",
        level=2,
        columns=Columns(
            text="text_1",
            text_pair="text_2",
            label="annotator_a + annotator_b + annotator_c + annotator_d + annotator_e",
        ),
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
    "gad": "card: CC BY 4.0. Bravo et al. 2015, BMC Bioinformatics",
    "hoc_hub": "card: GPL 3.0. Baker et al. 2016, Bioinformatics",
    "ddi2013_hub": "card: CC BY-NC 4.0. Herrero-Zazo et al. 2013, Journal of Biomedical Informatics",
    "biosses": "card: GPL 3.0. Soğancıoğlu et al. 2017, Bioinformatics",
}
