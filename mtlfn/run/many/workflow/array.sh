
if [ $# -eq 0 ]; then # no job: queue them
    set -e
    mkdir -p "$logs"
    after=()
    for ((level = 0; level < level_count; level++)); do
        declare -n nodes="level_$level" time="minutes_$level"
        ids=()
        for ((at = 0; at < ${#nodes[@]}; at += largest)); do
            last=$((${#nodes[@]} - at - 1))
            [ $last -lt "$largest" ] || last=$((largest - 1))
            id=$(sbatch --parsable --requeue --array="0-$last" --job-name="mtlfn-$level" --open-mode=append \
                --output="$logs/%x-%A-%a.log" --ntasks=1 --cpus-per-task="$threads" --time="$time" --mem="$memory" \
                "${options[@]}" "${after[@]}" "$0" "$level" "$at")
            echo "queued ${id%%;*}: $((last + 1)) runs, up to $time minutes each"
            ids+=("${id%%;*}")
        done
        after=("--dependency=afterany:$(IFS=:; echo "${ids[*]}")")
    done
    id=$(sbatch --parsable --job-name=mtlfn-verdict --output="$logs/%x-%A.log" --ntasks=1 --cpus-per-task="$threads" \
        --time=60 --mem="$memory" "${options[@]}" "${after[@]}" "$0" conclude)
    echo "queued ${id%%;*}: the verdict"
    exit
fi

cd "$working" || exit 2
export OMP_NUM_THREADS="$threads"
[ "$1" != conclude ] || exec "${conclude[@]}"

# A job. A run leaves with 75 before its time is over, and is queued again: as long as it comes further, or twice.
declare -n nodes="level_$1" minutes="minutes_$1"
node=${nodes[$2 + SLURM_ARRAY_TASK_ID]}
reached() { cat "$folder/$node/ledger.jsonl" 2>/dev/null | wc -l; }
before=$(reached)
hours=$(printf '%d.%04d' $(((minutes - margin) / 60)) $(((minutes - margin) % 60 * 10000 / 60)))
code=0
"${runs[@]}" --only "$node" --max-hours "$hours" || code=$?
if [ $code -eq 75 ] && { [ "$(reached)" -gt "$before" ] || [ "${SLURM_RESTART_COUNT:-0}" -lt 2 ]; }; then
    echo "$node goes on in another job"
    scontrol requeue "$SLURM_JOB_ID" && exit 0
fi
echo "$node ended with $code"
exit $code
