"""scripts/check_includes.py, on trees made for it: what is allowed passes, and each kind of wrong include is named."""
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_includes.py"


def check(root: Path, files: dict[str, str]) -> subprocess.CompletedProcess:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return subprocess.run([sys.executable, SCRIPT, root], capture_output=True, text=True)


def test_allowed_includes_pass(tmp_path):
    done = check(
        tmp_path,
        {
            "altup/ops/ops.cpp": '#include <torch/torch.h>\n#include "altup/ops/ops.h"\n',
            "altup/ops/cuda/kernel.cu": '#include "altup/ops/ops.h"\n',
            "altup/util/logging.cpp": "#include <spdlog/spdlog.h>\n",
            "altup/util/named_tensors.h": "#include <ATen/core/Tensor.h>\n",
            "altup/data/reader.cpp": '#include <string>\n#include "altup/util/text.h"\n',
            "altup/optim/adamw.cpp": '#include "altup/util/named_tensors.h"\n',
            "altup/modules/a.h": '#include "altup/ops/ops.h"\n#include "altup/util/text.h"\n',
            "altup/models/t5.h": '#include "altup/modules/a.h"\n#include "altup/checkpoint/c.h"\n',
            "trainers/loop.cpp": '#include "altup/tasks/task.h"\n#include "trainers/loop.h"\n',
            "apps/main.cpp": '#include <CLI/CLI.hpp>\n#include "trainers/loop.h"\n',
            "altup/tasks/comment.h": '// #include "altup/models/t5.h"\n',
        },
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize(
    "file, include, said",
    [
        ("altup/ops/x.cpp", '"altup/util/text.h"', "nothing else of ours"),
        ("altup/util/x.cpp", '"altup/data/reader.h"', "altup/util may include"),
        ("altup/util/x.h", "<torch/torch.h>", "includes LibTorch"),
        ("altup/data/x.h", "<ATen/ATen.h>", "includes LibTorch"),
        ("altup/data/x.h", '"altup/util/named_tensors.h"', "includes LibTorch"),
        ("altup/tasks/x.h", "<c10/util/Half.h>", "includes LibTorch"),
        ("altup/tasks/x.h", '"altup/data/reader.h"', "altup/tasks may include"),
        ("altup/optim/x.h", '"altup/modules/a.h"', "altup/optim may include"),
        ("altup/checkpoint/x.h", '"altup/ops/ops.h"', "altup/checkpoint may include"),
        ("altup/modules/x.h", '"altup/models/t5.h"', "altup/modules may include"),
        ("altup/modules/x.h", '"altup/data/batch.h"', "altup/modules may include"),
        ("altup/models/x.h", '"altup/data/tokenizer.h"', "altup/models may include"),
        ("altup/models/x.h", '"trainers/loop.h"', "altup/models may include"),
        ("trainers/x.h", '"apps/commands.h"', "trainers may include"),
        ("trainers/x.cpp", "<CLI/CLI.hpp>", "only apps may"),
        ("apps/x.cpp", "<spdlog/spdlog.h>", "only altup/util/logging.cpp may"),
        ("altup/util/text.cpp", "<fmt/format.h>", "only altup/util/logging.cpp may"),
        ("altup/util/x.cpp", '"text.h"', "from the root"),
        ("altup/extra/x.cpp", "<vector>", "folder without a rule"),
    ],
)
def test_violation_is_named_with_file_and_line(tmp_path, file, include, said):
    done = check(tmp_path, {file: f"#include {include}\n"})
    assert done.returncode == 1
    assert done.stdout.startswith(f"{file}:1: "), done.stdout
    assert said in done.stdout
    assert done.stdout.count("\n") == 1


def test_line_number_is_the_lines_own(tmp_path):
    done = check(tmp_path, {"altup/data/x.h": "#pragma once\n\n#  include  <torch/torch.h>\n"})
    assert done.stdout.startswith("altup/data/x.h:3: ")
