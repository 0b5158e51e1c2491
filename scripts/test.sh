#!/usr/bin/env bash
# What CI checks: `bash scripts/test.sh [pytest options]`. Lints first, then runs pytest in the project's root.
# All of them always run; the exit code is pytest's, or that of a linter if only a linter complains.
# `bash scripts/test.sh --slow [pytest options]` runs the slow tier instead: long kills, benchmarks in small, real models.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

if [ "${1:-}" = --slow ]; then
    prepare test gguf methods docs notebook release # and what makes the manual, the notebook and the package
    cd -- "$root"
    exec "$python" -m pytest -m slow "${@:2}"
fi

prepare test gguf methods
cd -- "$root"

linted=0
"$python" -m ruff check . || linted=$?
"$python" -c 'from importlinter.cli import lint_imports_command as check; check()' --no-logo || linted=$?
"$python" -m pyright --project pyproject.toml --pythonpath "$python" || linted=$?

"$python" -m pytest "$@" || exit
[ $linted -eq 0 ] || say "a linter complains, see the top"
exit $linted
