#!/bin/sh
# Are the lowest versions in pyproject.toml true? Makes a scratch environment of them and runs the fast part
# of the tests in it. Takes several GB for a while, unless TORCH_INDEX names an index of torch's CPU wheels.
#
#   scripts/floors.sh                   all floors
#   FLOOR_SKIP="torch==2.13.0" scripts/floors.sh tests/envs      another torch than the lowest; some tests
#
# PYTHON names the interpreter. Arguments go to pytest.
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
echo "${FLOOR_SKIP:-}" >"$scratch/override"
# Of the tools, the newest: the floors are those of what fogbound itself runs on.
"$uv" pip compile --quiet --resolution lowest-direct --only-binary :all: pyproject.toml \
    --python "$scratch/venv/bin/python" ${FLOOR_SKIP:+--override "$scratch/override"} \
    ${TORCH_INDEX:+--index "$TORCH_INDEX" --index-strategy unsafe-best-match} \
    --no-header --no-annotate -o "$scratch/lowest"
cat "$scratch/lowest"
printf 'pytest\nhypothesis\n' >>"$scratch/lowest"
"$uv" pip install --quiet --python "$scratch/venv/bin/python" -r "$scratch/lowest" \
    ${FLOOR_FIND_LINKS:+--find-links "$FLOOR_FIND_LINKS"} \
    ${TORCH_INDEX:+--index "$TORCH_INDEX" --index-strategy unsafe-best-match}
export NUMBA_CACHE_DIR="$scratch/numba" PYTHONPATH="$PWD" PYTHONDONTWRITEBYTECODE=1
[ $# -gt 0 ] || set -- tests/envs/test_match.py tests/envs/test_batch.py tests/envs/test_contract.py \
    tests/envs/test_gymnasium.py tests/envs/test_pettingzoo.py tests/envs/test_sb3_vec.py \
    tests/envs/test_drawing.py tests/agents/test_ppo.py tests/agents/test_worlds.py \
    tests/agents/test_checkpoint.py tests/agents/test_sb3.py tests/agents/test_config.py
"$scratch/venv/bin/python" -m pytest -p no:cacheprovider "$@"
