"""What the Python tests share: the program under test, its operator library, and where real data is.

Tests run on the release build, build/altup, or on $ALTUP_PROGRAM; scripts/test.sh builds it first.
"""
import os
import subprocess
from pathlib import Path

import pytest

# The models here are so small that a second thread only waits for the first, and on a busy machine for long.
# Set before torch is imported; the program inherits it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("ALTUP_PROGRAM", ROOT / "build" / "altup"))
PROGRAM_SECONDS = 300


class Altup:
    """Runs the program as a user would, from a directory of the test's own."""

    def __init__(self, directory: Path):
        assert PROGRAM.is_file(), f"{PROGRAM} is missing: run scripts/build.sh first"
        self.directory = directory

    def __call__(self, *arguments, stdin: str = "") -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(PROGRAM), *map(str, arguments)],
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PROGRAM_SECONDS,
        )

    def succeed(self, *arguments, stdin: str = "") -> str:
        """Its standard output; fails the test, with all it said, where it does not exit with 0."""
        done = self(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{done.args} exited with {done.returncode}:\n{done.stderr}"
        return done.stdout


@pytest.fixture
def altup(tmp_path) -> Altup:
    return Altup(tmp_path)


@pytest.fixture(scope="session")
def ops_library() -> Path:
    """The operator library, where Python's torch is the LibTorch that it was built against."""
    torch = pytest.importorskip("torch")
    build = PROGRAM.parent
    cache = (build / "CMakeCache.txt").read_text()
    torch_dir = next(line for line in cache.splitlines() if line.startswith("Torch_DIR:")).split("=", 1)[1]
    if not Path(torch_dir).resolve().is_relative_to(Path(torch.__file__).resolve().parent):
        pytest.skip(f"the build uses another LibTorch ({torch_dir}) than Python does")
    return build / "libaltup_ops.so"


@pytest.fixture(scope="session")
def tokenizer_model(tmp_path_factory) -> Path:
    """A small SentencePiece model that the program trained itself."""
    directory = tmp_path_factory.mktemp("tokenizer")
    animals, places = ("cow", "fox", "owl", "hare", "crane"), ("hill", "river", "barn", "old mill")
    lines = [
        f"The {a} met the {b} near the {place} on day {day}."
        for day, (a, b) in enumerate((a, b) for a in animals for b in animals if a != b)
        for place in places
    ]
    (directory / "text.txt").write_text("\n\n".join(lines))
    Altup(directory).succeed(
        "tokenizer", "train", "--input", "text.txt", "--vocab-size", 40, "--output", "tokenizer"
    )
    return next((directory / "tokenizer").glob("*.model"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of real data files: $ALTUP_DATA, or shared/data beside the checkout."""
    directory = Path(os.environ.get("ALTUP_DATA", ROOT.parent / "shared" / "data"))
    if not directory.is_dir():
        pytest.skip("the real data files are not here")
    return directory
