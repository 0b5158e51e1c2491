"""Twenty processes that begin at once on one empty cache: everything in it is made once, and all read the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import JSONL_TASKS

ROOT = Path(__file__).parents[2]
# Reads the tasks and proves the backbone as a run does, and tells how often it made what the cache is to hold.
PROCESS = """
import json, sys, time
from pathlib import Path
from mtlfn.data import sources
from mtlfn.data.embedded import corpus
from mtlfn.data.tokens import store
from mtlfn.models import backbone
from mtlfn.run.machine import proven
folder, data, cache, gate = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
made = []
def counted(module, name):
    original = getattr(module, name)
    def wrapped(*args, **named):
        made.append(name)
        return original(*args, **named)
    setattr(module, name, wrapped)
counted(store, "_tokenised")
counted(proven, "prove")
counted(corpus, "_write")
base = backbone.load(folder)
(gate / sys.argv[5]).touch()
while not (gate / "open").exists():
    time.sleep(0.001)
tasks = sys.argv[6].split(",")
digests = [
    store.load(each, split, base.tokenizer, 64, cache).digest
    for each in sources.resolve(tasks, data, {}) for split in ("train", "dev")
]
digests += [str(len(corpus.load("semeval2017_t3", cache).train)), str(proven.proven(base, 64, 128, cache).difference)]
print(json.dumps([made, digests]))
"""


@pytest.mark.slow
def test_an_empty_cache_is_filled_once_by_twenty_processes(bert, data, tmp_path):
    cache, gate = tmp_path / "cache", tmp_path / "gate"
    gate.mkdir()
    own = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, "-c", PROCESS, str(bert), str(data), str(cache), str(gate)]
    processes = [
        subprocess.Popen([*words, str(i), ",".join(JSONL_TASKS)], env=own, stdout=subprocess.PIPE, text=True)
        for i in range(20)
    ]
    while len(list(gate.iterdir())) < 20:
        assert all(process.poll() in (None, 0) for process in processes)
    (gate / "open").touch()
    ends = [json.loads(process.communicate(timeout=600)[0]) for process in processes]
    assert all(process.returncode == 0 for process in processes)
    made = [name for each, _ in ends for name in each]
    assert made.count("_tokenised") == 2 * len(JSONL_TASKS)
    assert made.count("prove") == 1
    assert made.count("_write") == 1
    assert len({json.dumps(digests) for _, digests in ends}) == 1
    assert not [path for path in cache.rglob("*") if ".tmp-" in path.name]
