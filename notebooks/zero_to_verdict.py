# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From nothing to a verdict
#
# Fine-tune one small model on several tasks at once and the scores often rise. Did the tasks teach each other
# something, or did the model only see more text? This notebook installs `mtlfn`, looks at the machine, trains on data
# that it writes itself, runs a small study with its controls, shows the report, and predicts. It needs no GPU, and
# runs on Kaggle, on Colab and anywhere else.
#
# `jupytext --to ipynb notebooks/zero_to_verdict.py` makes the file that notebooks open.

# %% [markdown]
# ## Install
#
# `pip wheel --no-deps .` in a checkout makes a wheel. Kaggle: add it as an input (a data set), and switch "Internet" on
# for what it needs. Colab: upload it. In a checkout nothing is to be done.

# %%
import importlib.util
import subprocess
import sys
from pathlib import Path

if importlib.util.find_spec("mtlfn") is None:
    wheels = [*Path("/kaggle/input").glob("**/mtlfn-*.whl"), *Path().glob("mtlfn-*.whl")]
    checkouts = [folder for folder in (Path(), Path("..")) if (folder / "mtlfn/core").is_dir()]
    if not (wheels or checkouts):
        raise SystemExit("mtlfn is not installed: put its wheel beside this notebook, or add it as an input")
    place = [*checkouts, *sorted(wheels)][-1].resolve()
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", str(place)], check=True)

# %% [markdown]
# What can be changed. An empty `study` takes the demonstration: made-up tasks of which it is known which help each
# other.

# %% tags=["parameters"]
study = ""  # a TOML file, or preset:NAME
backbone = "minilm"
budget_tokens = 8000  # of the run on own data; the study has its own
threads = 0  # 0: torch's choice

# %%
import html
import json
import shutil

import torch
from IPython.display import HTML, display

import mtlfn
from mtlfn.run.preset import presets


def run(*words: object) -> None:
    """A command of mtlfn, with its output in the notebook; what fails ends the notebook."""
    command = [sys.executable, "-m", "mtlfn", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            print(line, end="")
    if process.returncode:
        raise SystemExit(f"mtlfn {' '.join(map(str, words))}: exit code {process.returncode}")


kaggle, colab = Path("/kaggle/working").is_dir(), Path("/content").is_dir()
work = Path("/kaggle/working" if kaggle else "/content" if colab else ".").resolve()
machine = ["--threads", threads] if threads else []
study = study or ("preset:study-demo" if "study-demo" in presets() else "preset:study-cpu")
print(f"mtlfn {mtlfn.__version__}; everything is written to {work}; the study is {study}")

# %% [markdown]
# **Colab**: what lies on the machine goes with it. To keep it, mount a drive and work there:
#
# ```python
# from google.colab import drive
# drive.mount("/content/drive")
# work = Path("/content/drive/MyDrive/mtlfn")
# ```
#
# **Kaggle**: a container is taken away after 9 to 12 hours, and runs end in time by themselves. Save the version, add
# its output as an input to the next one ("Add input", "Notebook output"), and run it again: the next cell takes up
# the study where it was.

# %%
earlier = sorted(Path("/kaggle/input").glob("*/study/study.json")) if kaggle else []
if earlier and not (work / "study").exists():
    shutil.copytree(earlier[-1].parent, work / "study")
    print(f"going on with {earlier[-1].parent}")

# %% [markdown]
# ## The machine
#
# Device, memory, disk, a timed checkpoint and a step of each task, before anything long is started.

# %%
run("doctor", "--backbone", backbone, "--output-dir", work / "doctor", *machine)

# %% [markdown]
# ## Your own data
#
# Two tasks as files lie: sentences and their class in a CSV file, and words with tags in CoNLL columns. Which columns
# hold what is all that has to be said.

# %%
DRUGS, SIGNS = ("zorin", "palvex", "quintol", "medrane"), ("fever", "cough", "rash", "nausea")
data = work / "data"
for split, rows in (("train", 160), ("dev", 32), ("test", 32)):
    (data / "effect").mkdir(parents=True, exist_ok=True)
    (data / "mentions").mkdir(parents=True, exist_ok=True)
    sentences, tagged = ["text,label"], []
    for i in range(rows):
        drug, sign, works = DRUGS[i % 4], SIGNS[(i // 4) % 4], i % 3 != 0
        words = ["patient", str(i), "took", drug, "and", "the", sign, "eased" if works else "stayed", split]
        sentences.append(f"{' '.join(words)},{'yes' if works else 'no'}")
        tagged += [f"{word}\t{'B-Drug' if word == drug else 'O'}" for word in words] + [""]
    (data / f"effect/{split}.csv").write_text("\n".join(sentences) + "\n")
    (data / f"mentions/{split}.conll").write_text("\n".join(tagged) + "\n")

(work / "my.toml").write_text("""
tasks = "mentions,effect"

[task.mentions]
source = "data/mentions"
kind = "tagging"
level = 1
labels = ["Drug"]

[task.effect]
source = "data/effect"
kind = "classification"
level = 2
labels = ["no", "yes"]
columns = { text = "text", label = "label" }
""")
run("data", "check", "--config", work / "my.toml", "--backbone", backbone)

# %% [markdown]
# A run on both: every input token is counted, and the budget is met to the token. Interrupt it and run the cell
# again: it goes on, and ends in the same digest.

# %%
own = ["--config", work / "my.toml", "--backbone", backbone, "--budget-tokens", budget_tokens]
run("s3b", *own, "--output-dir", work / "own-run", "--skip-smoke-test", *machine)

# %% [markdown]
# ## The study
#
# For every seed: the multi-task run, and for every task a single-task run on as many tokens as it gave this task, and
# one on as many tokens as it had in all. It goes on where it was stopped. On two GPUs two runs are trained side by
# side, for which Snakemake is installed in an environment of its own.

# %%
gpus = torch.cuda.device_count()
side_by_side = []
if gpus > 1:
    place = Path("/tmp/snakemake")
    if not (place / "bin/snakemake").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
        install = ["install", "--quiet", "snakemake>=9,<10"]
        subprocess.run([sys.executable, "-m", "pip", "--python", str(place / "bin/python"), *install], check=True)
    side_by_side = ["--jobs", gpus, "--gpus", gpus, "--snakemake", place / "bin/snakemake"]
run("study", study, "--output-dir", work / "study", *side_by_side, *machine)

# %% [markdown]
# ## The report
#
# The verdict, the differences with their intervals, learning curves against tokens, which tokens were equal, conflicts,
# costs: one page, which is also in `study/report/report.html`.

# %%
page = (work / "study/report/report.html").read_text(encoding="utf-8")
display(HTML(f'<iframe srcdoc="{html.escape(page)}" width="100%" height="900" style="border: 0"></iframe>'))

# %%
verdict = json.loads((work / "study/report/verdict.json").read_text(encoding="utf-8"))
for each in verdict["studies"]:
    for task, row in each["tasks"].items():
        print(f"{task}: {row['verdict']}" + (f"; {row['advice']}" if row["advice"] else ""))

# %% [markdown]
# ## Predict
#
# A finished run predicts, on the command line or in Python; so does each folder of its `export/`, wherever it is taken.

# %%
new = work / "new.txt"
new.write_text("patient 7 took palvex and the cough eased\npatient 8 took zorin and the rash stayed\n")
run("predict", work / "own-run", "--task", "effect", "--input", new)

# %%
predictor = mtlfn.load(work / "own-run", "mentions")
texts = ["took quintol at night", "no fever today"]
dict(zip(texts, predictor(texts), strict=True))
