#!/usr/bin/env python3
"""Checks that includes between folders go one way, as docs/architecture.md says.

    ops <- modules <- models      util <- everything but ops      data, tasks, checkpoint, optim never see a module
    altup <- trainers <- apps

It also keeps dependencies in their rooms: CLI11 in apps, spdlog (whose fmt clashes with LibTorch's) in one file, and
LibTorch out of the folders that do without it. Prints each violation as file:line: what, and exits with 1.

    scripts/check_includes.py [ROOT]
"""
import re
import sys
from pathlib import Path

# folder: the folders of ours that it may include, itself aside
ALLOWED = {
    "altup/ops": set(),
    "altup/util": set(),
    "altup/data": {"altup/util"},
    "altup/tasks": {"altup/util"},
    "altup/checkpoint": {"altup/util"},
    "altup/optim": {"altup/util"},
    "altup/modules": {"altup/ops", "altup/util"},
    "altup/models": {"altup/modules", "altup/ops", "altup/util", "altup/checkpoint"},
}
LIBRARY = set(ALLOWED)
ALLOWED["trainers"] = LIBRARY
ALLOWED["apps"] = LIBRARY | {"trainers"}

TOP_FOLDERS = ("altup", "trainers", "apps")
SUFFIXES = {".h", ".cpp", ".cu", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')

LOGGING = "altup/util/logging.cpp"
NAMED_TENSORS = "altup/util/named_tensors.h"  # holds at::Tensor, so it counts as a header of LibTorch
LIBTORCH = re.compile(r"^(torch|ATen|c10|caffe2)/")
WITHOUT_LIBTORCH = {"altup/util", "altup/data", "altup/tasks"}


def folder_of(path: str) -> str:
    """The room that a file is in: altup/<room>, trainers or apps; deeper folders belong to their room."""
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] == "altup" else parts[0]


def violation(file: str, quoted: bool, header: str) -> str | None:
    """What is wrong with `file` including `header`, or None. Paths are relative to the root, with slashes."""
    folder = folder_of(file)
    if header.startswith("CLI/") and folder != "apps":
        return f"includes CLI11 ({header}); only apps may"
    if header.startswith(("spdlog/", "fmt/")) and file != LOGGING:
        return f"includes {header}; only {LOGGING} may, others use altup/util/logging.h"
    is_libtorch = LIBTORCH.match(header) or header == NAMED_TENSORS
    if is_libtorch and folder in WITHOUT_LIBTORCH and file != NAMED_TENSORS:
        return f"includes LibTorch ({header}); {folder} does without it"
    if header.split("/")[0] in TOP_FOLDERS and "/" in header:
        target = folder_of(header)
        if target != folder and target not in ALLOWED[folder]:
            allowed = ", ".join(sorted(ALLOWED[folder])) or "nothing else of ours"
            return f"includes {header}; {folder} may include {allowed}"
    elif quoted:
        return f'includes "{header}"; write our headers from the root, as in "altup/util/text.h", others in <>'
    return None


def check(root: Path) -> list[str]:
    problems = []
    files = (path for top in TOP_FOLDERS for path in (root / top).rglob("*"))
    for path in sorted(path for path in files if path.suffix in SUFFIXES):
        file = path.relative_to(root).as_posix()
        if folder_of(file) not in ALLOWED:
            problems.append(f"{file}:1: is in a folder without a rule; add one to scripts/check_includes.py")
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            match = INCLUDE.match(line)
            problem = violation(file, match[1] == '"', match[2]) if match else None
            if problem:
                problems.append(f"{file}:{number}: {problem}")
    return problems


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    problems = check(root)
    print("\n".join(problems) if problems else "includes between folders go one way")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
