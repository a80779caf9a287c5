"""Finds libaltup_ops.so and loads it once: the one in the package, or the one that $ALTUP_OPS_LIBRARY names."""
import os
from pathlib import Path

import torch

REINSTALL = "pip install --no-build-isolation --no-deps --force-reinstall PATH_OF_THE_CHECKOUT/python"


def load() -> None:
    """Registers torch.ops.altup.*; nothing to do where another copy of the library has done so already.

    ImportError, in one line that says what to do, where the library is missing or is of another torch.
    """
    if hasattr(torch.ops.altup, "update"):
        return
    override = os.environ.get("ALTUP_OPS_LIBRARY")
    path = Path(override) if override else Path(__file__).with_name("libaltup_ops.so")
    if not path.is_file():
        where = "$ALTUP_OPS_LIBRARY names" if override else "expected"
        raise ImportError(
            f"altup's operators are not built: {where} {path}. Either install the package ({REINSTALL}) or let "
            "ALTUP_OPS_LIBRARY name the libaltup_ops.so of a build"
        )
    if not override:
        _check_torch()
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        raise ImportError(
            f"{path} does not load with torch {torch.__version__}, probably since it was compiled with another one: "
            f"{error}"
        ) from error


def _check_torch() -> None:
    from altup._build import TORCH_VERSION

    if TORCH_VERSION != torch.__version__:
        raise ImportError(
            f"altup's operators were compiled with torch {TORCH_VERSION}, but this is torch {torch.__version__}; "
            f"compile them anew: {REINSTALL}"
        )
