"""Compiles libaltup_ops.so with CMake against the torch that is installed here, and packs it into the wheel.

C++ on PyTorch has no ABI that outlasts a version, so the torch of the build is recorded twice: as the wheel's requirement, and in
altup/_build.py, which the import compares with the torch that it finds. Hence --no-build-isolation: in an environment of
its own, pip would build against some other torch, or against none.
"""
import importlib.util
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent


def find_torch() -> tuple[Path, str]:
    """Its folder and its version, without the seconds that importing it takes."""
    found = importlib.util.find_spec("torch")
    if found is None:
        sys.exit(
            "altup is compiled against the torch that is installed, and there is none: install torch, then "
            "altup with `pip install --no-build-isolation`"
        )
    folder = Path(found.origin).parent
    return folder, runpy.run_path(str(folder / "version.py"))["__version__"]


TORCH, TORCH_VERSION = find_torch()


class BuildOperators(build_ext):
    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".so"

    def build_extension(self, extension: Extension) -> None:
        if not (CHECKOUT / "altup" / "ops" / "CMakeLists.txt").is_file():
            sys.exit(f"{CHECKOUT} has no altup/ops: build the package inside a checkout of the project")
        if shutil.which("cmake") is None:
            sys.exit("cmake is missing: install it from your system, or with `pip install cmake ninja`")
        target = Path(self.get_ext_fullpath(extension.name)).resolve()
        build = Path(self.build_temp).resolve() / f"torch-{TORCH_VERSION}"
        configure = [
            "cmake", "-S", CHECKOUT, "-B", build, "-DCMAKE_BUILD_TYPE=Release", "-DALTUP_OPS_ONLY=ON",
            f"-DALTUP_TORCH_PACKAGE={TORCH}",
            # Four files that see LibTorch take no longer than its precompiled header.
            "-DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON",
            "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON", "-DCMAKE_INSTALL_RPATH=$ORIGIN/../torch/lib",
        ]  # fmt: skip
        if shutil.which("ninja"):
            configure += ["-G", "Ninja"]
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", build, "--target", "altup_ops", "--parallel"], check=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(build / "libaltup_ops.so", target)
        (target.parent / "_build.py").write_text(
            f'"""Written by setup.py."""\n\nTORCH_VERSION = "{TORCH_VERSION}"\n'
        )

    def copy_extensions_to_source(self) -> None:  # of an editable install
        super().copy_extensions_to_source()
        shutil.copy2(Path(self.build_lib) / "altup" / "_build.py", HERE / "altup" / "_build.py")


setup(
    ext_modules=[Extension("altup.libaltup_ops", sources=[])],
    cmdclass={"build_ext": BuildOperators},
    install_requires=[f"torch=={TORCH_VERSION.split('+')[0]}"],
)
