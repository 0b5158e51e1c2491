#!/usr/bin/env bash
# Trains strategy S3b: `bash scripts/s3b.sh [options]`, from any directory; `--help` lists the options.
# The first start makes the environment (scripts/setup.sh); file names in the options are the caller's.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

prepare
# -P: what lies in the caller's directory is data, never a module of ours.
exec "$python" -P -m mtlfn.experiments.s3b "$@"
