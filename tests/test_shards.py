"""WebDataset shards are read where they lie, on disk and over HTTP, and give what a folder of their pictures gives."""

from __future__ import annotations

import gc
import gzip
import io
import json
import re
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from conftest import Call, json_of, make_photos
from convista.data import lasting_address, list_pictures, open_cache, open_source, prepare, remote
from convista.data.shards import expand_braces
from convista.errors import DataError, InterruptedRunError
from convista.tasks import Run
from convista.training import Console
from convista.verbs import predict, train

Members = list[tuple[str, bytes]]
SMALL = {"model": "lenet5", "epochs": 2, "batch": 8, "precision": "fp32"}


def write_shard(path: Path, members: Members) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def samples(photos: Path, named: bool = True) -> Members:
    """The pictures of a folder in its order: numbered with a `.cls` beside, or under their folders."""
    found: Members = []
    for i, file in enumerate(sorted(photos.rglob("*.*g"))):
        if named:
            found += [(f"{i:05d}{file.suffix}", file.read_bytes()), (f"{i:05d}.cls", file.parent.name.encode())]
        else:
            found.append((file.relative_to(photos).as_posix(), file.read_bytes()))
    return found


def write_shards(photos: Path, folder: Path, count: int = 3, named: bool = True) -> Path:
    """Dealt to `count` shards `train-00N.tar`."""
    found, each = samples(photos, named), 2 if named else 1
    pairs = [found[i : i + each] for i in range(0, len(found), each)]
    for n in range(count):
        write_shard(folder / f"train-{n:03d}.tar", [member for pair in pairs[n::count] for member in pair])
    return folder


def fingerprint(data: object) -> str:
    return prepare(open_source(str(data)), 16, 3, 0, None).fingerprint


def reasons(data: object) -> dict[str, str]:
    return {file.path: file.reason for file in list_pictures(open_source(str(data)))[1]}


@pytest.mark.parametrize("named", [True, False])
def test_shards_are_the_same_data_as_their_folder(photos: Path, tmp_path: Path, named: bool) -> None:
    shards = write_shards(photos, tmp_path / "shards", named=named)
    mine, theirs = (prepare(open_source(str(data)), 16, 3, 0, None) for data in (shards, photos))
    assert mine.fingerprint == theirs.fingerprint
    assert mine.labels == theirs.labels
    for split in ("train", "val", "test"):
        assert len(mine.splits[split]) == len(theirs.splits[split]) > 0
        for i in range(len(mine.splits[split])):
            assert np.array_equal(mine.splits[split][i], theirs.splits[split][i])


def test_a_shard_a_pattern_and_a_folder_are_the_same_data(photos: Path, tmp_path: Path) -> None:
    shards = write_shards(photos, tmp_path / "shards")
    one = write_shard(tmp_path / "all.tar", samples(photos))
    words = (shards, shards / "train-{000..002}.tar", shards / "train-*.tar", shards / "train-{000,001,002}.tar", one)
    assert {fingerprint(data) for data in words} == {fingerprint(photos)}


def test_training_on_shards_gives_the_folders_network_to_the_byte(photos: Path, tmp_path: Path) -> None:
    shards = write_shards(photos, tmp_path / "shards")
    runs = [
        train(data, out=tmp_path / name, **SMALL)
        for name, data in {"a": photos, "b": str(shards / "train-{000..002}.tar")}.items()
    ]
    weights = [(run.path / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]
    assert runs[1].info["name"] == "shards"
    assert runs[1].evaluate()[1]["used"] == runs[0].evaluate()[1]["used"] > 0


def test_a_run_on_shards_goes_on_from_any_folder(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shards(photos, tmp_path / "shards [1]")
    monkeypatch.chdir(tmp_path / "shards [1]")
    asked = iter(range(100))
    console = Console(stopped=lambda: next(asked) > 3)
    with pytest.raises(InterruptedRunError):
        train("train-{000..002}.tar", out=tmp_path / "run", console=console, **SMALL)
    monkeypatch.chdir(tmp_path)
    resumed = train(resume=tmp_path / "run")
    whole = train(photos, out=tmp_path / "whole", **SMALL)
    assert (resumed.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


def test_a_run_on_shards_that_have_changed_does_not_go_on(photos: Path, tmp_path: Path) -> None:
    shards = write_shards(photos, tmp_path / "shards")
    asked = iter(range(100))
    with pytest.raises(InterruptedRunError):
        train(shards, out=tmp_path / "run", console=Console(stopped=lambda: next(asked) > 3), **SMALL)
    write_shard(shards / "train-002.tar", samples(photos)[:8])
    with pytest.raises(DataError.__base__, match="are not those that"):  # type: ignore[arg-type]
        train(resume=tmp_path / "run")


@pytest.mark.parametrize(
    "names", [("train-0.tar", "val-0.tar", "test-0.tar"), ("train/0.tar", "val/0.tar", "test/0.tar")]
)
def test_names_of_shards_and_of_their_folders_are_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    for i, name in enumerate(names):
        write_shard(tmp_path / "shards" / name, samples(make_photos(tmp_path / str(i), each=3 + i))[: 2 * 3 * (3 + i)])
        for file in (tmp_path / str(i)).rglob("*.*g"):
            file.write_bytes(file.read_bytes() + bytes([i]))  # no two splits alike
        write_shard(tmp_path / "shards" / name, samples(tmp_path / str(i)))
    entries, bad = list_pictures(open_source(tmp_path / "shards"))
    counts = {split: sum(entry.split == split for entry in entries) for split in ("train", "val", "test")}
    assert (counts, bad) == ({"train": 9, "val": 12, "test": 15}, [])


def in_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`train/0.tar`, `val/0.tar` and `test/0.tar`, with 9, 12 and 15 pictures, in the current folder."""
    for i, split in enumerate(("train", "val", "test")):
        photos = make_photos(tmp_path / split, each=3 + i)
        for file in photos.rglob("*.*g"):
            file.write_bytes(file.read_bytes() + bytes([i]))  # no two splits alike
        write_shard(tmp_path / "shards" / split / "0.tar", samples(photos))
    monkeypatch.chdir(tmp_path / "shards")
    return tmp_path / "shards"


@pytest.mark.parametrize("data", [".", "{train,val,test}/0.tar", "*/0.tar", "{{here}/train,val,test}/0.tar"])
def test_shards_are_called_the_same_from_inside_their_folder_and_after_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    here = in_splits(tmp_path, monkeypatch)
    data = data.replace("{here}", str(here))
    entries, bad = list_pictures(open_source(data))
    counts = {split: sum(entry.split == split for entry in entries) for split in ("train", "val", "test")}
    assert (counts, bad) == ({"train": 9, "val": 12, "test": 15}, [])
    lasting = lasting_address(data)
    monkeypatch.chdir(tmp_path)
    assert open_source(lasting).files() == sorted(entry.path for entry in entries)


@pytest.mark.parametrize("data", ["{train,./train}/0.tar", "{train,{here}/train}/0.tar"])
def test_a_shard_that_is_named_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str) -> None:
    here = in_splits(tmp_path, monkeypatch)
    with pytest.raises(DataError, match=r"train/0\.tar and .*train/0\.tar.* one name, 0\.tar"):
        open_source(data.replace("{here}", str(here)))


def test_numbers_and_names_of_classes_come_from_cls_or_json(photos: Path, tmp_path: Path) -> None:
    picture = (photos / "red" / "001.png").read_bytes()
    members = [("classes.txt", b"cat\ndog\n")]
    for i, (ending, text) in enumerate(
        [("cls", "0"), ("cls", "dog\n"), ("json", '{"label": 1}'), ("json", '{"class": "cat", "width": 9}')]
    ):
        members += [(f"./a/{i}.{ending}", text.encode()), (f"./a/{i}.png", picture), (f"./a/{i}.txt", b"a caption")]
    entries, bad = list_pictures(open_source(write_shard(tmp_path / "s.tar", members)))
    assert sorted((entry.path, entry.label) for entry in entries) == [
        ("s.tar/a/0.png", "cat"), ("s.tar/a/1.png", "dog"), ("s.tar/a/2.png", "dog"), ("s.tar/a/3.png", "cat")
    ]  # fmt: skip
    assert bad == []


def test_every_odd_sample_is_listed_with_its_reason(photos: Path, tmp_path: Path) -> None:
    picture = (photos / "red" / "001.png").read_bytes()
    odd: dict[str, tuple[Members, str]] = {
        "s.tar/alone.png": ([("alone.png", picture)], "a picture without a class"),
        "s.tar/blind": ([("blind.cls", b"1")], "a class without a picture"),
        "s.tar/both.png": ([("both.png", picture), ("both.cls", b"1"), ("both.json", b'{"label": 2}')], "two classes"),
        "s.tar/two.jpg": ([("two.jpg", b""), ("two.png", picture), ("two.cls", b"1")], "2 pictures in one sample"),
        "s.tar/void.png": ([("void.png", picture), ("void.cls", b" \n")], "an empty class"),
        "s.tar/many.png": ([("many.png", picture), ("many.cls", b"1\n2")], "not one short line"),
        "s.tar/torn.png": ([("torn.png", picture), ("torn.json", b'{"label"')], "a picture without a class"),
        "s.tar/list.png": ([("list.png", picture), ("list.json", b'{"label": [1]}')], "a picture without a class"),
        "s.tar/note": ([("note.txt", b"hello")], "neither a picture nor a class"),
        "s.tar/../../out.png": ([("../../out.png", picture)], "leads out of the archive"),
        "s.tar//etc/out.png": ([("/etc/out.png", picture)], "leads out of the archive"),
    }
    members = [member for group, _ in odd.values() for member in group]
    write_shard(tmp_path / "s.tar", [("good.png", picture), ("good.cls", b"1"), *members])
    with tarfile.open(tmp_path / "s.tar", "a") as tar:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    found = reasons(tmp_path / "s.tar")
    assert found.keys() == {*odd, "s.tar/link.png"}
    for path, (_, reason) in odd.items():
        assert reason in found[path], path
    assert found["s.tar/link.png"] == "not a regular file"
    assert len(list_pictures(open_source(tmp_path / "s.tar"))[0]) == 1


def test_a_truncated_shard_keeps_what_is_whole_and_says_so(photos: Path, tmp_path: Path) -> None:
    shards = write_shards(photos, tmp_path / "shards")
    whole = (shards / "train-001.tar").read_bytes()
    with tarfile.open(shards / "train-001.tar") as tar:
        offsets = [member.offset for member in tar]
    for cut, left in ((offsets[9], 9), (offsets[9] + 700, 10), (offsets[9] + 100, 9), (100, 0), (0, 0)):
        (shards / "train-001.tar").write_bytes(whole[:cut])
        found = prepare(open_source(shards), 16, 3, 0, None)
        bad = {file.path: file.reason for file in found.bad}
        assert re.search("cut off|not a tar|empty file", bad["train-001.tar"]), (cut, bad)
        assert sum(map(len, found.splits.values())) == 24 + left // 2, cut


def test_empty_shards_are_listed_and_nothing_but_empty_ones_refused(photos: Path, tmp_path: Path) -> None:
    shards = write_shards(photos, tmp_path / "shards")
    write_shard(shards / "train-003.tar", [])
    assert reasons(shards) == {"train-003.tar": "an empty archive"}
    with pytest.raises(DataError, match=r"no pictures with a class in the shards of 'train-003'.*an empty archive"):
        fingerprint(shards / "train-003.tar")


def test_a_compressed_shard_is_refused_with_the_way_out(photos: Path, tmp_path: Path) -> None:
    plain = write_shard(tmp_path / "s.tar", samples(photos)).read_bytes()
    for name in ("s.tar.gz", "s.tgz", "t.tar"):
        (tmp_path / name).write_bytes(gzip.compress(plain))
        with pytest.raises(DataError, match=r"compressed with gzip.*Unpack it"):
            fingerprint(tmp_path / name)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("none-{0..3}.tar", r"none-0\.tar does not exist"),
        ("none-*.tar", "does not exist"),
        ("s3://bucket/train-000.tar", "from disk, http:// and https:// only"),
        ("http://localhost/train-*.tar", "a web server does not say what it has"),
        ("a-{0..99999999}.tar", "stands for more than 100,000 shards"),
        ("a-{000..999}-{000..999}.tar", "stands for 1,000,000 shards"),
        ("a-{5..2}.tar", "stands for 0 shards"),
    ],
)
def test_addresses_that_make_no_sense_are_refused(data: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(data)


def test_braces_mean_what_they_mean_in_a_shell() -> None:
    assert expand_braces("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert expand_braces("{train,val}/{0..1}.tar") == ["train/0.tar", "train/1.tar", "val/0.tar", "val/1.tar"]
    assert expand_braces("plain.tar") == ["plain.tar"]


def test_random_bytes_in_headers_end_in_reasons_not_in_tracebacks(photos: Path, tmp_path: Path) -> None:
    shards = write_shards(photos, tmp_path / "shards")
    whole, random = bytearray((shards / "train-001.tar").read_bytes()), np.random.default_rng(0)
    with tarfile.open(shards / "train-001.tar") as tar:
        offsets = [member.offset for member in tar]
    count = len(list_pictures(open_source(shards), needs_train=False)[0])
    for _ in range(150):
        torn = bytearray(whole)
        for _ in range(4):
            torn[random.choice(offsets) + random.integers(512)] = random.integers(256)
        (shards / "train-001.tar").write_bytes(torn)
        entries, bad = list_pictures(open_source(shards), needs_train=False)
        assert len(entries) == count or bad  # no sample goes without a word


def test_one_can_predict_on_a_shard(photos: Path, tmp_path: Path) -> None:
    run = train(photos, out=tmp_path / "run", **SMALL | {"epochs": 1})
    answer = predict(run, write_shard(tmp_path / "new.tar", samples(photos)[:12]))
    assert len(answer.predictions) == 6
    assert not answer.skipped


def test_a_folder_of_classes_with_a_stray_tar_stays_a_folder(photos: Path, tmp_path: Path) -> None:
    write_shard(photos / "backup.tar", samples(photos))
    entries, bad = list_pictures(open_source(photos))
    assert len(entries) == 36
    assert [file.path for file in bad] == ["backup.tar"]


def test_the_webdataset_package_writes_what_we_read(photos: Path, tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    files = sorted(photos.rglob("*.*g"))
    with wds.ShardWriter(str(tmp_path / "train-%06d.tar"), maxcount=10, verbose=0) as writer:
        for i, file in enumerate(files):
            sample = {"__key__": f"{i:06d}", file.suffix[1:]: file.read_bytes(), "cls": file.parent.name}
            writer.write(sample)
    data = str(tmp_path / "train-{000000..000003}.tar")
    assert fingerprint(data) == fingerprint(photos)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_the_webdataset_package_reads_the_same_pairs(photos: Path, tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    shards = write_shards(photos, tmp_path / "shards")
    source = open_source(shards)
    ours = {(source.read(entry.path), entry.label) for entry in list_pictures(source)[0]}
    read = wds.WebDataset(str(shards / "train-{000..002}.tar"), shardshuffle=False)
    theirs = {(sample.get("png") or sample["jpg"], sample["cls"].decode()) for sample in read}
    gc.collect()  # it leaves its files open
    assert ours == theirs


class Server(BaseHTTPRequestHandler):
    """Serves a folder in parts; `ranges=False` ignores what was asked for, `trouble` is called before each answer."""

    def __init__(self, root: Path, ranges: bool, trouble: Callable[[Server], bool], *rest: object):
        self.root, self.ranges, self.trouble, self.share = root, ranges, trouble, 1.0
        super().__init__(*rest)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.trouble(self):
            return
        file = self.root / self.path.partition("?")[0].lstrip("/")
        if not file.is_file():
            self.send_error(404)
            return
        data = file.read_bytes()
        first, last = map(int, re.findall(r"\d+", self.headers["Range"]))
        part = data[first : last + 1] if self.ranges else data
        if self.ranges and first >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if self.ranges else 200)
        if self.ranges:
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(data)}")
        self.send_header("ETag", f'"{hash(data)}"')
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part[: round(len(part) * self.share)])

    def log_message(self, *_: object) -> None:
        pass


Serve = Callable[..., str]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts a server for a folder. Returns its address."""
    servers: list[ThreadingHTTPServer] = []
    monkeypatch.setattr(remote, "WAITS", (0.01, 0.01, 0.01))
    monkeypatch.setenv("no_proxy", "*")

    def start(root: Path, ranges: bool = True, trouble: Callable[[Server], bool] = lambda _: False) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, root, ranges, trouble))  # type: ignore[arg-type]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_shards_on_a_server_are_the_same_data(photos: Path, tmp_path: Path, serve: Serve) -> None:
    address = serve(write_shards(photos, tmp_path / "shards"))
    assert fingerprint(f"{address}/train-{{000..002}}.tar") == fingerprint(photos)


def test_training_over_http_resumes_and_ends_with_the_folders_network(
    photos: Path, tmp_path: Path, serve: Serve
) -> None:
    data = serve(write_shards(photos, tmp_path / "shards")) + "/train-{000..002}.tar"
    asked = iter(range(100))
    with pytest.raises(InterruptedRunError):
        train(data, out=tmp_path / "run", console=Console(stopped=lambda: next(asked) > 3), **SMALL)
    resumed, whole = train(resume=tmp_path / "run"), train(photos, out=tmp_path / "whole", **SMALL)
    assert (resumed.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()


def test_a_second_look_asks_for_the_index_no_more(photos: Path, tmp_path: Path, serve: Serve) -> None:
    asked: list[int] = []
    write_shard(tmp_path / "shards" / "s.tar", [*samples(photos), ("big.txt", bytes(8 << 20))])
    data = serve(tmp_path / "shards", trouble=lambda request: bool(asked.append(1))) + "/s.tar"
    open_source(data)
    first, _ = len(asked), asked.clear()
    open_source(data)
    assert len(asked) == 1 < first


def test_a_connection_that_breaks_now_and_then_loses_nothing(photos: Path, tmp_path: Path, serve: Serve) -> None:
    seen: set[tuple[str, str]] = set()

    def trouble(request: Server) -> bool:
        end = request.headers["Range"].rpartition("-")[2]
        fresh = (request.path, end) not in seen
        seen.add((request.path, end))
        if fresh and int(end) % 2:
            request.send_error(503)
            return True
        request.share = 0.5 if fresh else 1.0  # half an answer, then silence
        return False

    address = serve(write_shards(photos, tmp_path / "shards"), trouble=trouble)
    assert fingerprint(f"{address}/train-{{000..002}}.tar") == fingerprint(photos)


def test_a_server_that_stays_away_is_one_error_and_no_bad_files(photos: Path, tmp_path: Path, serve: Serve) -> None:
    down: list[bool] = []

    def trouble(request: Server) -> bool:
        if down:
            request.close_connection = True
        return bool(down)

    source = open_source(serve(write_shards(photos, tmp_path / "shards"), trouble=trouble) + "/train-{000..002}.tar")
    down.append(True)
    with pytest.raises(DataError, match=r"train-00\d\.tar cannot be read: .*\(4 tries\)"):
        prepare(source, 16, 3, 0, None)


@pytest.mark.parametrize(("name", "ranges", "message"), [
    ("train-009.tar", True, "train-009.tar: the server answers 404"),
    ("train-000.tar", False, "does not give parts of files"),
    ("void.tar", True, "an empty file"),
])  # fmt: skip
def test_what_a_server_does_not_have_is_one_error(
    photos: Path, tmp_path: Path, serve: Serve, name: str, ranges: bool, message: str
) -> None:
    shards = write_shards(photos, tmp_path / "shards")
    (shards / "void.tar").touch()
    with pytest.raises(DataError, match=message):
        fingerprint(f"{serve(shards, ranges)}/{name}")


def test_nobody_at_home_is_one_error(serve: Serve) -> None:
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/a\.tar cannot be read: .*refused.* \(4 tries\)"):
        open_source("http://127.0.0.1:9/a.tar")


def test_letters_outside_ascii_and_spaces_are_sent_as_servers_expect_them(
    photos: Path, tmp_path: Path, serve: Serve
) -> None:
    asked: list[str] = []
    write_shards(photos, tmp_path / "web" / "b%C3%A4ume%20%5B1%5D", count=1)  # the server's paths stay as they come
    address = serve(tmp_path / "web", trouble=lambda request: asked.append(request.path))
    data = f"{address}/bäume %5B1%5D/train-{{000..000}}.tar?key=ü%20b&x=[1]"
    assert fingerprint(data) == fingerprint(photos)
    assert set(asked) == {"/b%C3%A4ume%20%5B1%5D/train-000.tar?key=%C3%BC%20b&x=[1]"}


@pytest.mark.parametrize("address", [
    "http://[::1/x.tar", "http://ann:℀@h/x.tar", "http://a..b/x.tar",
    f"http://{'ä' * 70}.de/x.tar", "http://h:door/x.tar", "http:///x.tar",
])  # fmt: skip
def test_an_address_that_is_none_is_one_error(serve: Serve, address: str) -> None:
    with pytest.raises(DataError, match=re.escape(address.replace("ann:℀@", ""))) as refused:
        open_source(address)
    assert "℀" not in str(refused.value)


def test_a_host_with_letters_outside_ascii_is_looked_up_by_its_lasting_name() -> None:
    assert remote.sent_as("http://ann:ä@bücher.example:8000/ä.tar") == "http://xn--bcher-kva.example:8000/%C3%A4.tar"
    assert remote.sent_as("http://[::1]:8000/a%20b.tar?x=/?&y") == "http://[::1]:8000/a%20b.tar?x=/?&y"


def test_a_server_that_sends_one_nowhere_is_one_error(photos: Path, tmp_path: Path, serve: Serve) -> None:
    def trouble(request: Server) -> bool:
        request.send_response(302)
        request.send_header("Location", "http://[::1/x.tar")
        request.end_headers()
        return True

    with pytest.raises(DataError, match=r"train-000\.tar cannot be read"):
        open_source(serve(tmp_path, trouble=trouble) + "/train-000.tar")


def test_shards_that_differ_behind_the_question_mark_only_are_refused(
    photos: Path, tmp_path: Path, serve: Serve
) -> None:
    address = serve(write_shards(photos, tmp_path / "shards"))
    with pytest.raises(DataError, match="one name") as refused:
        open_source(f"{address}/train-000.tar?key={{11,22}}")
    assert "11" not in str(refused.value).replace(address, "")


def test_a_login_is_used_but_never_shown_nor_kept(
    photos: Path, tmp_path: Path, serve: Serve, convista: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trouble(request: Server) -> bool:
        refused = request.headers.get("Authorization") != "Basic YW5uOnNlc3JldA=="
        if refused:
            request.send_error(401)
        return refused

    address = serve(write_shards(photos, tmp_path / "shards"), trouble=trouble)
    data = address.replace("http://", "http://ann:sesret@") + "/train-{000..002}.tar?key=sesret"
    words = ["--model", "lenet5", "--epochs", 1, "--json"]
    done = convista("train", data, "--out", tmp_path / "run", *words)
    json_of(done)
    kept = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir() if file.is_file()}
    assert "sesret" not in done.stdout + done.stderr
    assert [name for name, content in kept.items() if b"ann:sesret" in content] == []
    assert b"sesret" not in kept["report.html"]
    refused = convista("train", data.replace("ann:sesret", "ann:secret"), *words)
    assert refused.returncode == 2
    assert "401" in refused.stderr
    assert "~/.netrc" in refused.stderr
    assert "secret" not in refused.stdout + refused.stderr
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password sesret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Run.load(tmp_path / "run").evaluate()[1]["used"] > 0
    assert "ann" not in lasting_address(data)


def test_bad_pictures_in_shards_are_listed_and_strict_refuses(photos: Path, tmp_path: Path, convista: Call) -> None:
    members = [*samples(photos), ("zz.jpg", b"no picture"), ("zz.cls", b"red")]
    data = write_shard(tmp_path / "s.tar", members)
    summary = json_of(convista("train", data, "--model", "lenet5", "--epochs", 1, "--json"))
    assert [file["path"] for file in summary["bad_files"]] == ["s.tar/zz.jpg"]
    done = convista("train", data, "--model", "lenet5", "--strict")
    assert done.returncode == 2
    assert "s.tar/zz.jpg: not a picture" in done.stderr


def test_what_is_cached_needs_the_shards_no_more_until_it_is_asked_for(photos: Path, tmp_path: Path) -> None:
    shards = write_shards(photos, tmp_path / "shards")
    cache = open_cache([tmp_path / "cache"], 16, 3)
    found = prepare(open_source(shards), 16, 3, 0, cache)
    shutil.rmtree(shards)
    assert found.splits["train"][0].shape == (16, 16, 3)
    loose = prepare(open_source(write_shards(photos, shards)), 16, 3, 0, None)
    shutil.rmtree(shards)
    with pytest.raises(DataError, match="was there when the run began; now: cannot be read"):
        loose.splits["train"][0]


def test_json_of_a_server_index_is_plain_data(photos: Path, tmp_path: Path, serve: Serve, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    data = serve(write_shards(photos, tmp_path / "shards")) + "/train-000.tar"
    open_source(data)
    (kept,) = (tmp_path / "home" / "convista" / "shards").iterdir()
    assert json.loads(kept.read_text())["members"][0]["name"] == "00000.jpg"
    kept.write_text("[]")
    assert open_source(data).files()
