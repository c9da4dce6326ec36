#!/bin/sh
# Checks and measures everything that needs a GPU, in 8 minutes (12 with --long); see --help and docs/speed.md.
# PYTHON names the interpreter; else the repository's .venv, else python3.
cd "$(dirname "$0")/.." || exit 1
if [ -z "$PYTHON" ]; then
    PYTHON=python3
    [ -x .venv/bin/python ] && PYTHON=.venv/bin/python
fi
exec "$PYTHON" -m benchmarks.gpu_check "$@"
