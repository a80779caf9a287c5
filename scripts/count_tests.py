#!/usr/bin/env python3
"""Sums what the test runners wrote and prints it as one line: "N passed, N failed, N skipped".

Reads DIR/ctest.xml (a case for each test program), DIR/gtest/*.xml (the tests inside a program) and DIR/pytest.xml, all
JUnit-like. A program that died before it could write its own file counts as one failed test. Exits with 1 where a test
failed or none passed.
"""
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path


def outcome(case: ElementTree.Element) -> str:
    """Of one <testcase>, in the dialects of ctest, GoogleTest and pytest."""
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
        return "skipped"
    return "passed"


def cases(path: Path) -> list[ElementTree.Element]:
    return list(ElementTree.parse(path).iter("testcase")) if path.exists() else []


def count(directory: Path) -> Counter:
    counts = Counter()
    for program in cases(directory / "ctest.xml"):
        written = directory / "gtest" / f"test_{program.get('name')}.xml"
        inside = Counter(outcome(case) for case in cases(written))
        if not written.exists() or (outcome(program) == "failed" and not inside["failed"]):
            inside[outcome(program)] += 1
        counts += inside
    counts.update(outcome(case) for case in cases(directory / "pytest.xml"))
    return counts


def main() -> int:
    counts = count(Path(sys.argv[1]))
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
