#!/usr/bin/env bash
# The environment of Snakemake, which schedules a study's runs (`--jobs`, `--slurm`): `bash scripts/setup_cluster.sh`.
# It is not the one that trains: Snakemake wants older versions of some libraries, and is only called as a program.
#
#   MTLFN_CLUSTER_VENV  where the environment lies (default: .venv-cluster in the project's root)
#   PYTHON              the interpreter to make it with
set -euo pipefail
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
MTLFN_VENV=${MTLFN_CLUSTER_VENV:-$(dirname -- "$here")/.venv-cluster}
# shellcheck source-path=SCRIPTDIR
source "$here/setup.sh"

needed_mb=500 # what setup.sh asks the disk for

fingerprint() { # of all that this environment depends on
    {
        "$python" --version 2>&1
        cat "$root"/{constraints-cluster.txt,scripts/setup_cluster.sh}
    } | cksum
}

install() { # the exact versions, all of them named
    local began=$SECONDS
    rm -f "$stamp"
    say "installing Snakemake into $venv…"
    run env PIP_USER=0 "$python" -m pip install --disable-pip-version-check --no-input --progress-bar off \
        -r constraints-cluster.txt
    { fingerprint && printf 'cluster\n'; } >"$stamp.new"
    mv "$stamp.new" "$stamp"
    say "installed in $((SECONDS - began)) s"
}

prepare cluster
say "ready: $venv/bin/snakemake $("$venv/bin/snakemake" --version)"
