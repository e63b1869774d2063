#!/bin/bash
# Make a virtual environment for each tool of tests/test_other_tools.py, on top of the one in PYTHON (default: python),
# whose torch and peft they use.
#
#   tests/support/other_tools.sh FOLDER && OTHER_TOOLS=FOLDER python -m pytest tests/test_other_tools.py
set -euo pipefail
folder=$1
base=$(${PYTHON:-python} -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

make_environment() {
    local target=$folder/$1
    shift
    ${PYTHON:-python} -m venv --without-pip "$target"
    # packages that are installed here come before those of the base
    echo "$base" > "$("$target/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/base.pth"
    "$target/bin/python" -m pip install --quiet "$@"
}

make_environment transformers-oldest transformers==4.44.2
make_environment trl trl
make_environment lm-eval lm_eval
make_environment sentence-transformers sentence-transformers
