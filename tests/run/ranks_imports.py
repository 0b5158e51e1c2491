"""What a run imports, so that a process that is forked has it already (tests/run/ranks.py)."""

import importlib
import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

MODULES = (
    "accelerate.utils",
    "datasets",
    "peft",
    "torch.distributed",
    "transformers.models.auto",
    "transformers.models.bert.modeling_bert",
    "mtlfn.run.commands.command",
    "mtlfn.run.one.follow",
)
for module in MODULES:
    importlib.import_module(module)
