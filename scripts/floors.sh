#!/bin/sh
# Are the lowest versions in pyproject.toml true? Makes a scratch environment of them and runs tests in it,
# the fast part that touches the libraries; with torch for CUDA it takes 6 GB for a while.
#
#   scripts/floors.sh                   all floors
#   INSTEAD=torch==2.13.0+cpu FIND_LINKS=/folder/of/wheels scripts/floors.sh tests/envs
#                                       another torch than the lowest, from a folder or a page; other tests
#
# PYTHON names the interpreter. Arguments go to pytest, in place of the tests that are run otherwise.
set -eu
cd "$(dirname "$0")/.."
unset PYTHONPATH
export PIP_DISABLE_PIP_VERSION_CHECK=1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
"${PYTHON:-python3}" -m venv "$scratch/uv"
"$scratch/uv/bin/pip" install --quiet --no-cache-dir uv
uv="$scratch/uv/bin/uv"
export UV_CACHE_DIR="$scratch/cache" UV_NO_CONFIG=1

"${PYTHON:-python3}" -m venv "$scratch/venv"
echo "${INSTEAD:-}" >"$scratch/instead"
"$uv" pip compile --quiet --resolution lowest-direct --only-binary :all: pyproject.toml --extra window --extra web \
    --no-header --no-annotate --python "$scratch/venv/bin/python" ${INSTEAD:+--override "$scratch/instead"} \
    ${FIND_LINKS:+--find-links "$FIND_LINKS"} -o "$scratch/lowest"
printf 'pytest\nhypothesis\n' >>"$scratch/lowest"  # the newest: not what fogbound itself runs on
"$uv" pip install --quiet --python "$scratch/venv/bin/python" -r "$scratch/lowest" \
    ${FIND_LINKS:+--find-links "$FIND_LINKS"}
export NUMBA_CACHE_DIR="$scratch/numba" PYTHONPATH="$PWD" PYTHONDONTWRITEBYTECODE=1
[ $# -gt 0 ] || set -- tests/test_layout.py tests/envs/test_match.py tests/envs/adapters \
    tests/envs/test_opponents.py tests/envs/test_window.py tests/envs/test_drawing.py \
    tests/agents/learn/test_worlds.py tests/agents/run/test_config.py tests/agents/gym/test_sb3.py \
    tests/agents/net/test_fused.py tests/agents/net/test_replay.py tests/agents/learn/test_kernels.py \
    tests/scripts/test_console.py
"$scratch/venv/bin/python" -m pytest -p no:cacheprovider "$@"
