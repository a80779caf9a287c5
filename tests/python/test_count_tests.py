"""scripts/count_tests.py: the closing line of scripts/test.sh counts what the runners' files hold."""
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "count_tests.py"
PASSED = '<testcase name="a" status="run"/>'
FAILED = '<testcase name="b" status="run"><failure message="1 != 2"/></testcase>'
SKIPPED = '<testcase name="c" status="run"><skipped message="no data"/></testcase>'
DISABLED = '<testcase name="d" status="notrun"/>'
PROGRAM_PASSED = '<testcase name="data" status="run"/>'
PROGRAM_FAILED = '<testcase name="data" status="fail"><failure message=""/></testcase>'


def count(directory: Path, ctest: str, gtest: str | None, pytest_cases: str = "") -> tuple[str, int]:
    def write(name: str, cases: str):
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")

    write("ctest.xml", ctest)
    write("pytest.xml", pytest_cases)
    if gtest is not None:
        write("gtest/test_data.xml", gtest)
    done = subprocess.run([sys.executable, SCRIPT, directory], capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.strip(), done.returncode


@pytest.mark.parametrize(
    "ctest, gtest, pytest_cases, line, status",
    [
        (PROGRAM_PASSED, PASSED * 3 + SKIPPED, PASSED * 2, "5 passed, 0 failed, 1 skipped", 0),
        (PROGRAM_FAILED, PASSED + FAILED, PASSED, "2 passed, 1 failed, 0 skipped", 1),
        (PROGRAM_PASSED, PASSED + DISABLED, FAILED, "1 passed, 1 failed, 1 skipped", 1),
        # died before it wrote its file, or after its tests
        (PROGRAM_FAILED, None, PASSED, "1 passed, 1 failed, 0 skipped", 1),
        (PROGRAM_FAILED, PASSED, "", "1 passed, 1 failed, 0 skipped", 1),
        # a test that is no GoogleTest program counts as one
        (PROGRAM_PASSED, None, "", "1 passed, 0 failed, 0 skipped", 0),
        (PROGRAM_PASSED, "", "", "0 passed, 0 failed, 0 skipped", 1),
        ("", None, "", "0 passed, 0 failed, 0 skipped", 1),
    ],
)
def test_counts(tmp_path, ctest, gtest, pytest_cases, line, status):
    assert count(tmp_path, ctest, gtest, pytest_cases) == (line, status)
