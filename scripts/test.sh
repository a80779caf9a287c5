#!/usr/bin/env bash
# Sets the machine up, builds, and runs all tests: the C++ ones by ctest, those of the program and of the Python side by
# pytest. Both always run; the status is non-zero where any test failed. Ends with the counts on a line.
# Tests on real data look for it in $ALTUP_DATA and are skipped where it is missing.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

started=$SECONDS
scripts/build.sh
ensure_test_packages

results="$root/build/test_results"
rm -rf "$results"
mkdir -p "$results/gtest"
failed=0

say "C++ tests"
GTEST_OUTPUT="xml:$results/gtest/" ctest --preset release --output-junit "$results/ctest.xml" || failed=1
say "Python tests"
"$venv_python" -m pytest tests/python -q -p no:cacheprovider --numprocesses 2 --dist loadfile \
  --junit-xml "$results/pytest.xml" || failed=1

say "all tests in $(minutes $((SECONDS - started))), set-up and build included"
"$venv_python" scripts/count_tests.py "$results" || failed=1
exit "$failed"
