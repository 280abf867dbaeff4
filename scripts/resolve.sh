#!/bin/sh
# Can fogbound be installed elsewhere? Resolves it against the package index alone, as a machine with no
# settings of its own would, for each Python and each way to install; only metadata is downloaded.
#
#   scripts/resolve.sh                  Python 3.11 to 3.14: plain, [dev], [cuda]; Linux, then every system
#   scripts/resolve.sh --pip            then with pip itself, for this Python, which downloads 2.5 GB and
#                                       deletes them again
#
# pip can resolve for its own Python only (it reads `python_version` there), hence uv, in a scratch
# environment. PYTHON names the interpreter that makes it, PIP_INDEX_URL another index.
set -eu
cd "$(dirname "$0")/.."

unset PIP_FIND_LINKS PIP_EXTRA_INDEX_URL PIP_CONSTRAINT PIP_NO_INDEX UV_FIND_LINKS UV_INDEX UV_CONSTRAINT
unset PYTHONPATH
export PIP_CONFIG_FILE=/dev/null PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CONFIG=1
if [ -n "${PIP_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="$PIP_INDEX_URL"; fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --no-cache-dir uv
export UV_CACHE_DIR="$scratch/cache"

failed=0
resolve() { # a name, then uv's options
    name=$1
    shift
    if "$scratch/venv/bin/uv" pip compile --quiet --only-binary :all: -c constraints.txt pyproject.toml \
        --no-header --no-annotate "$@" -o "$scratch/list" 2>"$scratch/why"; then
        echo "resolved   $name: $(grep -c == "$scratch/list") packages," \
            "$(grep -o '^torch==[^ ]*' "$scratch/list" | sort -u | tr '\n' ' ')"
    else
        failed=1
        echo "NO WAY     $name"
        cat "$scratch/why"
    fi
    rm -f "$scratch/list"
}

for python in 3.11 3.12 3.13 3.14; do
    for extra in "" dev cuda; do
        resolve "Python $python, Linux, fogbound${extra:+[$extra]}" ${extra:+--extra "$extra"} \
            --python-version "$python" --python-platform x86_64-manylinux_2_28
    done
done
resolve "Python 3.11 and newer, every system, fogbound" --universal --python-version 3.11

if [ "${1:-}" = --pip ]; then
    for extra in "" "[dev]" "[cuda]"; do
        if TMPDIR="$scratch" "$scratch/venv/bin/pip" install --dry-run --ignore-installed --no-cache-dir --quiet \
            -c constraints.txt ".$extra" >"$scratch/why" 2>&1; then
            echo "resolved   by pip, this Python, fogbound$extra"
        else
            failed=1
            echo "NO WAY     by pip, this Python, fogbound$extra"
            tail -20 "$scratch/why"
        fi
    done
fi
exit $failed
