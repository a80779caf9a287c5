"""scripts/download_data.sh against a server on this machine, with a table of files of the tests' own."""
import hashlib
import http.server
import io
import subprocess
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "scripts" / "data_sets.txt"


class Server:
    """Serves `files` (path: bytes) and keeps what was asked of it: (path, first byte)."""

    def __init__(self):
        self.files, self.requests, self.ranges = {}, [], True
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                wanted = self.headers.get("Range") if outer.ranges else None
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                outer.requests.append((self.path, start))
                content = outer.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(206 if wanted else 200)
                if wanted:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                self.wfile.write(content[start:])

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


class Download:
    """Runs the script with a table whose rows the test adds, into `data` below its directory."""

    def __init__(self, directory: Path, server: Server):
        self.directory, self.server, self.rows = directory, server, []
        self.data = directory / "data"

    def add(self, name, content: bytes, file: str, path: str, members="-", sha256=None, served=None):
        self.server.files[f"/{file}"] = content if served is None else served
        sha256 = sha256 or hashlib.sha256(content).hexdigest()
        self.rows.append(
            f"{name} {len(content)} {sha256} {self.server.address}/{file} {path} {members}"
        )

    def __call__(self, *arguments) -> subprocess.CompletedProcess:
        table = self.directory / "table.txt"
        table.write_text("# a comment\n\n" + "\n".join(self.rows) + "\n")
        return subprocess.run(
            [ROOT / "scripts" / "download_data.sh", "--table", table, "--to", "data", *arguments],
            cwd=self.directory, capture_output=True, text=True, timeout=60,
        )

    def succeed(self, *arguments) -> str:
        done = self(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def files(self) -> list[str]:
        return sorted(
            p.relative_to(self.data).as_posix() for p in self.data.rglob("*") if p.is_file()
        )


@pytest.fixture
def download(tmp_path, server) -> Download:
    return Download(tmp_path, server)


def zip_of(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def tar_gz_of(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_fetches_the_named_members_of_an_archive_and_does_nothing_the_second_time(download):
    archive = zip_of({"SST-2/train.tsv": "train", "SST-2/dev.tsv": "dev", "SST-2/original/x": "x"})
    download.add("glue/sst2", archive, "SST-2.zip", "glue/", "SST-2/train.tsv,SST-2/dev.tsv")
    download.add("squad", b"{}", "dev.json", "squad/dev-v1.1.json")
    assert "there now" in download.succeed("glue/sst2")
    assert download.files() == ["glue/SST-2/dev.tsv", "glue/SST-2/train.tsv"]
    assert (download.data / "glue/SST-2/train.tsv").read_text() == "train"
    assert download.server.requests == [("/SST-2.zip", 0)]

    assert "there already" in download.succeed("glue", "glue/sst2")
    assert download.server.requests == [("/SST-2.zip", 0)]


def test_a_benchmark_is_all_of_its_tasks_and_tar_archives_unpack_too(download):
    download.add("superglue/cb", zip_of({"CB/val.jsonl": "{}"}), "CB.zip", "superglue/", "CB/val.jsonl")
    download.add("superglue/axb", b"{}", "AX-b", "superglue/AX-b/AX-b.jsonl")
    trivia = tar_gz_of({"./trivia/dev.json": "{}", "./trivia/README": "r"})
    download.add("triviaqa", trivia, "t.tar.gz", "./", "trivia/dev.json")
    download.succeed("superglue", "triviaqa")
    assert download.files() == [
        "superglue/AX-b/AX-b.jsonl", "superglue/CB/val.jsonl", "trivia/dev.json"
    ]


def test_dry_run_says_address_size_checksum_and_place_and_fetches_nothing(download):
    content = b"x" * 1_500_000
    download.add("squad", content, "train.json", "squad/train-v1.1.json")
    said = download.succeed("--dry-run", "squad")
    for part in (f"{download.server.address}/train.json", "1500000 bytes, 1.5 MB",
                 hashlib.sha256(content).hexdigest(), f"{download.data}/squad/train-v1.1.json"):
        assert part in said
    assert download.server.requests == [] and not download.data.exists()


@pytest.mark.parametrize(
    "served, complaint",
    [(b"changed!", "has the sha256"), (b"longer than it was", "gave 18 bytes, expected 8")],
)
def test_what_is_not_the_published_file_is_removed(download, served, complaint):
    download.add("squad", b"original", "dev.json", "squad/dev-v1.1.json", served=served)
    done = download("squad")
    assert done.returncode == 1
    assert complaint in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert download.files() == []


def test_an_interrupted_download_goes_on_where_it_stopped(download):
    content = bytes(range(256)) * 40
    download.add("squad", content, "dev.json", "squad/dev-v1.1.json")
    part = download.data / "squad" / "dev-v1.1.json.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content[:5000])
    download.succeed("squad")
    assert download.server.requests == [("/dev.json", 5000)]
    assert download.files() == ["squad/dev-v1.1.json"]
    assert (download.data / "squad/dev-v1.1.json").read_bytes() == content


def test_a_server_that_cannot_resume_is_asked_for_the_whole_file(download):
    download.add("squad", b"0123456789", "dev.json", "squad/dev-v1.1.json")
    download.server.ranges = False
    part = download.data / "squad" / "dev-v1.1.json.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"01234")
    download("squad")
    assert (download.data / "squad/dev-v1.1.json").read_bytes() == b"0123456789"


def test_a_part_that_is_whole_already_is_only_checked(download):
    download.add("squad", b"0123456789", "dev.json", "squad/dev-v1.1.json")
    part = download.data / "squad" / "dev-v1.1.json.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"0123456789")
    download.succeed("squad")
    assert download.server.requests == [] and download.files() == ["squad/dev-v1.1.json"]


def test_without_a_published_checksum_it_says_so_and_prints_its_own(download):
    download.add("new", b"data", "new.txt", "new.txt", sha256="-")
    said = download.succeed("new")
    computed = hashlib.sha256(b"data").hexdigest()
    assert f"no published checksum known; computed: sha256 {computed}" in said


def test_another_file_under_that_name_is_left_alone(download):
    download.add("squad", b"original", "dev.json", "squad/dev-v1.1.json")
    mine = download.data / "squad" / "dev-v1.1.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("my own")
    done = download("squad")
    assert done.returncode == 1 and "is not the published file" in done.stderr
    assert mine.read_text() == "my own" and download.server.requests == []


def test_a_missing_file_on_the_server_and_a_broken_archive_end_with_one(download):
    download.add("glue/rte", b"no archive", "RTE.zip", "glue/", "RTE/train.tsv")
    download.add("glue/qnli", zip_of({"QNLI/train.tsv": "x"}), "Q.zip", "glue/", "QNLI/dev.tsv")
    download.add("squad", b"x", "dev.json", "squad/dev-v1.1.json")
    del download.server.files["/dev.json"]
    for name, complaint in (("squad", "could not be fetched"), ("glue/rte", "could not be unpacked"),
                            ("glue/qnli", "QNLI/dev.tsv is not in the archive")):
        done = download(name)
        assert done.returncode == 1 and complaint in done.stderr
        assert "Traceback" not in done.stderr
    assert not [f for f in download.files() if f.endswith((".tsv", ".json"))]


def test_an_unknown_name_lists_the_known_ones(download):
    download.add("glue/rte", b"x", "RTE.zip", "glue/", "RTE/train.tsv")
    done = download("gleu")
    assert done.returncode == 2
    assert done.stderr == "error: unknown data set gleu; expected some of: glue glue/rte\n"
    assert download().returncode == 2


# Microsoft's files, which end their lines in CRLF and begin with a byte-order mark.
MRPC_HEADER = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String"


def test_mrpc_is_made_of_microsofts_files(download):
    train = f'{MRPC_HEADER}\r\n1\t11\t12\tA "b .\tB a .\r\n0\t21\t22\tC .\tD .\r\n1\t12\t11\tE .\tF .\r\n'
    test = f"{MRPC_HEADER}\r\n1\t31\t32\tG .\tH .\r\n0\t41\t42\tI .\tJ .\r\n"
    folder = "glue/MRPC"
    download.add("glue/mrpc", train.encode(), "a", f"{folder}/msr_paraphrase_train.txt")
    download.add("glue/mrpc", test.encode(), "b", f"{folder}/msr_paraphrase_test.txt")
    download.add("glue/mrpc", b"11\t12\n", "c", f"{folder}/dev_ids.tsv")
    download.succeed("glue/mrpc")
    read = {s: (download.data / folder / f"{s}.tsv").read_bytes().decode() for s in ("train", "dev", "test")}
    assert read["dev"] == f'{MRPC_HEADER}\n1\t11\t12\tA "b .\tB a .\n'
    assert read["train"] == f"{MRPC_HEADER}\n0\t21\t22\tC .\tD .\n1\t12\t11\tE .\tF .\n"
    assert read["test"] == (
        "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t31\t32\tG .\tH .\n1\t41\t42\tI .\tJ .\n"
    )


def test_the_tables_checksums_are_those_of_the_real_files(shared_data):
    published = {row.split()[3].rsplit("/", 1)[1]: row.split()[1:3] for row in rows_of(TABLE)}
    for address, file in (("mrpc_dev_ids.tsv", "glue/MRPC/dev_ids.tsv"),
                          ("sentencepiece.model", "sentencepiece/t5.spiece.model")):
        path = shared_data / file
        if not path.is_file():
            pytest.skip(f"{file} is not here")
        content = path.read_bytes()
        assert published[address] == [str(len(content)), hashlib.sha256(content).hexdigest()]


def rows_of(table: Path) -> list[str]:
    return [row for row in table.read_text().splitlines() if row.strip() and row[0] != "#"]


def test_the_table_is_complete():
    for row in rows_of(TABLE):
        name, size, sha256, address, path, members = row.split()
        assert int(size) > 0 and address.startswith("https://"), row
        assert len(sha256) == 64 and set(sha256) <= set("0123456789abcdef"), row
        assert path.endswith("/") == (members != "-"), row
        assert path.startswith(name.split("/")[0] + "/"), "each benchmark has its folder"
    done = subprocess.run(
        [ROOT / "scripts" / "download_data.sh", "--list"], capture_output=True, text=True, check=True
    )
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert {"glue", "glue/mnli", "superglue", "superglue/record", "squad", "triviaqa", "t5-vocab"} <= listed
