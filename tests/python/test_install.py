"""`cmake --install` and find_package(altup): the installed tree stands alone, and a project elsewhere builds on it."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import PROGRAM, ROOT

BUILD = PROGRAM.parent
CONSUMER = ROOT / "tests" / "consumer"


def run(*command, **options) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=600, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def cached(variable: str) -> str:
    line = re.search(rf"^{variable}:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.M)
    return line[1] if line else ""


@pytest.fixture(scope="module")
def prefix(tmp_path_factory) -> Path:
    """An installed tree that was moved away from where it was installed."""
    if not (BUILD / "cmake_install.cmake").is_file() or not PROGRAM.is_file():
        pytest.skip(f"{BUILD} holds no complete build: run scripts/build.sh first")
    if cached("ALTUP_SANITIZE") == "ON":
        pytest.skip("a sanitizer build is not one to install")
    directory = tmp_path_factory.mktemp("install")
    run("cmake", "--install", BUILD, "--prefix", directory / "first")
    if not list((directory / "first").rglob("altupConfig.cmake")):
        pytest.skip("dependencies of this build were fetched, so it has no library to install")
    return (directory / "first").rename(directory / "moved")


@pytest.mark.parametrize("pattern", ["*.cmake", "*.h"])
def test_installed_files_do_not_refer_to_the_sources_or_the_build(prefix, pattern):
    files = list(prefix.rglob(pattern))
    assert len(files) > 3
    places = {str(p) for path in (ROOT, BUILD, prefix.parent) for p in (path, path.resolve())}
    for file in files:
        text = file.read_text()
        assert not [place for place in places if place in text], file


def test_targets_carry_no_warning_flags_and_ask_for_cpp20(prefix):
    targets = next(prefix.rglob("altupTargets.cmake")).read_text()
    assert "-Werror" not in targets and "cxx_std_20" in targets
    for room in ("altup", "ops", "models", "modules", "data", "tasks", "optim", "checkpoint", "util"):
        assert f"add_library(altup::{room} " in targets


def test_the_installed_program_runs_from_where_it_was_moved(prefix, tmp_path):
    program = prefix / "bin" / "altup"
    assert run(program, "--version", cwd=tmp_path) == run(PROGRAM, "--version", cwd=tmp_path)
    assert (prefix / "share" / "altup" / "configs" / "models" / "t5_tiny.toml").is_file()


def test_a_project_elsewhere_builds_on_it(prefix, tmp_path):
    source, build = shutil.copytree(CONSUMER, tmp_path / "source"), tmp_path / "build"
    run("cmake", "-S", source, "-B", build, "-DCMAKE_BUILD_TYPE=Debug",
        f"-DCMAKE_PREFIX_PATH={prefix}", f"-DTorch_DIR={cached('Torch_DIR')}")  # fmt: skip
    run("cmake", "--build", build)
    lines = dict(
        line.split(" ", 1) for line in run(build / "consumer", cwd=tmp_path).splitlines()
    )
    # Random targets: about ln 128 = 4.85 nats, and more by the chance logits of standard deviation 1.
    assert 4.0 < float(lines["loss"]) < 7.0
    assert lines["metric"] == "matthews_correlation"
    assert lines["error"].startswith("missing.model: ")


def test_another_torch_version_is_refused(prefix, tmp_path):
    torch = tmp_path / "torch"
    torch.mkdir()
    (torch / "TorchConfig.cmake").write_text("set(Torch_FOUND TRUE)\n")
    (torch / "TorchConfigVersion.cmake").write_text(
        'set(PACKAGE_VERSION "1.0.0")\nset(PACKAGE_VERSION_COMPATIBLE TRUE)\n'
    )
    source = shutil.copytree(CONSUMER, tmp_path / "source")
    done = subprocess.run(
        ["cmake", "-S", source, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}",
         f"-DTorch_DIR={torch}"],
        capture_output=True, text=True, env={**os.environ, "CMAKE_PREFIX_PATH": ""},
    )  # fmt: skip
    assert done.returncode != 0 and "version 1.0.0" in done.stderr.replace("version: 1.0.0", "version 1.0.0"), done.stderr
