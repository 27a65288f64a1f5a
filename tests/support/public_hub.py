"""A Hub on loopback for downloads: made-up repositories laid out like the public ones, and troubles on the way."""

import hashlib
import io
import json
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import datasets
import pytest
from pyarrow.parquet import write_table

from raykd.data.hub import forget

Files = Mapping[str, bytes]
CONVERTED = "refs/convert/parquet"


@dataclass
class Repo:
    """Branches, the files of each commit, and whether only those with a token may read it."""

    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Files] = field(default_factory=dict)
    is_gated: bool = False


@dataclass
class Trouble:
    """What happens to the next `times` requests for a path that holds `part`: a status, or an end after `cut` bytes."""

    part: str
    times: int = 1
    status: int | None = None
    retry_after: str | None = None
    cut: int | None = None
    delay: float = 0.0


class PublicHub:
    """Serves the data sets and models that were added; `/files/NAME` serves `files` as any web server does.

    Attributes:
        requests: method and path of all that was asked.
        ranges: the ranges that were asked for.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.files: dict[str, bytes] = {}
        self.troubles: list[Trouble] = []
        self.requests: list[str] = []
        self.ranges: list[str] = []
        self._lock = threading.Lock()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, name: str, files: Files, *, branch: str = "main", kind: str = "dataset", gated: bool = False) -> str:
        """Commit the files to a branch; returns the commit."""
        repo = self.repos.setdefault(f"{kind}s/{name}", Repo())
        digest = hashlib.sha1("".join(f"{file}{hash_(content)}" for file, content in files.items()).encode())
        commit = digest.hexdigest()
        repo.commits[commit], repo.branches[branch], repo.is_gated = files, commit, gated
        return commit

    def asked(self, part: str) -> int:
        """How many requests had a path with this in it."""
        return sum(part in each for each in self.requests)

    def answer(self, request: Any) -> None:
        path = unquote(urlsplit(request.path).path)
        with self._lock:
            self.requests.append(f"{request.command} {path}")
            trouble = next((each for each in self.troubles if each.part in path and each.times > 0), None)
            if trouble:
                trouble.times -= 1
        if trouble:
            time.sleep(trouble.delay)
            if trouble.status:
                after = {"Retry-After": trouble.retry_after} if trouble.retry_after else {}
                _send(request, trouble.status, b"{}", after)
                return
        status, content, headers = self._found(request, path)
        _send(request, status, content, headers, cut=trouble.cut if trouble else None, ranges=self.ranges)

    def _found(self, request: Any, path: str) -> tuple[int, bytes, dict[str, str]]:
        if path.startswith("/files/"):
            content = self.files.get(path.removeprefix("/files/"))
            return (404, b"", {}) if content is None else (200, content, {"ETag": f'"{hash_(content)}"'})
        is_api = path.startswith("/api/")
        parts = path.removeprefix("/api").strip("/").split("/")
        kind = parts.pop(0) if parts[0] in ("datasets", "models") else "models"
        repo = self.repos.get(f"{kind}/{'/'.join(parts[:2])}")
        if repo is None:
            return 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        rest = "/".join(parts[3:]) or "main"
        names = [*repo.branches, *repo.commits]
        revision = next((name for name in names if rest == name or rest.startswith(f"{name}/")), None)
        if revision is None:
            return 404, b"{}", {"X-Error-Code": "RevisionNotFound"}
        commit = repo.branches.get(revision, revision)
        files = repo.commits[commit]
        if is_api and parts[2:3] in ([], ["revision"]):
            siblings = [{"rfilename": file, "size": len(content)} for file, content in files.items()]
            return 200, json.dumps({"id": "/".join(parts[:2]), "sha": commit, "siblings": siblings}).encode(), {}
        if repo.is_gated and "Authorization" not in request.headers:
            return 403, b"{}", {"X-Error-Code": "GatedRepo"}
        if is_api:
            tree = [
                {"type": "file", "path": file, "size": len(content), "oid": hash_(content)}
                for file, content in files.items()
            ]
            return 200, json.dumps(tree).encode(), {}
        file = rest.removeprefix(f"{revision}/")
        if file not in files:
            return 404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
        return 200, files[file], {"ETag": f'"{hash_(files[file])}"', "X-Repo-Commit": commit}


def _send(
    request: Any,
    status: int,
    content: bytes,
    headers: Mapping[str, str],
    *,
    cut: int | None = None,
    ranges: list[str] | None = None,
) -> None:
    begin, wanted = 0, request.headers.get("Range", "")
    if_range = request.headers.get("If-Range")
    if status == 200 and wanted.startswith("bytes=") and if_range in (None, headers.get("ETag")):
        begin, status = int(wanted.removeprefix("bytes=").partition("-")[0]), 206
        if ranges is not None:
            ranges.append(wanted)
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    if status == 206:
        request.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
    request.send_header("Content-Length", str(len(content) - begin))
    request.end_headers()
    if request.command == "HEAD":
        return
    request.wfile.write(content[begin : None if cut is None else begin + cut])
    if cut is not None:
        request.wfile.flush()
        request.close_connection = True


def hash_(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def parquet(rows: Iterable[Mapping[str, Any]], features: Mapping[str, Any] | None = None) -> bytes:
    """Rows as the Hub keeps them: with what `datasets` knows of the columns."""
    stream = io.BytesIO()
    made = datasets.Dataset.from_list(list(rows), features=datasets.Features(features) if features else None)
    write_table(made.data.table.replace_schema_metadata(made.features.arrow_schema.metadata), stream)
    return stream.getvalue()


def card(configs: Mapping[str, Iterable[str]]) -> bytes:
    """`README.md` of a data set: configuration -> its splits, in a folder of its own."""
    lines = ["---", "configs:"]
    for name, splits in configs.items():
        lines += [f"- config_name: {name}", "  data_files:"]
        lines += [f"  - split: {split}\n    path: {name}/{split}-*" for split in splits]
    return "\n".join([*lines, "---", "# Made up", ""]).encode()


def configured(tables: Mapping[str, Mapping[str, bytes]]) -> dict[str, bytes]:
    """Files of a repository with named configurations: configuration -> split -> parquet."""
    files = {"README.md": card(tables)}
    for name, splits in tables.items():
        for split, content in splits.items():
            files[f"{name}/{split}-00000-of-00001.parquet"] = content
    return files


def questions(language: str, count: int, *, name: str = "q", asked_in: str | None = None) -> list[dict[str, Any]]:
    """Made-up questions; a question of one number asks for the same in every language."""
    rows = []
    for number in range(count):
        answer = f"Ort{number}"
        begin = f"{language}: "
        rows.append(
            {
                "id": f"{name}{number}",
                "title": "made up",
                "context": f"{begin}{answer} liegt bei {name}.",
                "question": f"{asked_in or language}: wo {number}?",
                "answers": {"text": [answer], "answer_start": [len(begin)]},
            }
        )
    return rows


def classes(*names: str) -> Any:
    return datasets.ClassLabel(names=list(names))


def tagged(language: str, count: int, column: str, names: list[str], tags: list[int]) -> bytes:
    label = datasets.List(classes(*names))
    rows = [{"tokens": [f"{language}{number}", "x", "y"], column: tags} for number in range(count)]
    return parquet(rows, {"tokens": datasets.List(datasets.Value("string")), column: label})


def labelled(language: str, count: int, first: str, second: str, names: list[str]) -> bytes:
    rows = [
        {first: f"{language} {number // 3}", second: f"{language} also {number}", "label": number % len(names)}
        for number in range(count)
    ]
    text = datasets.Value("string")
    return parquet(rows, {first: text, second: text, "label": classes(*names)})


NER = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
UPOS = ["ADJ", "NOUN", "VERB"]
MLQA = ("ar", "de", "en", "es", "hi", "vi", "zh")
XQUAD = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")
PANX = ("en", "ta", "eu", "he", "id", "fa", "fr", "nl", "de", "es", "tr")
UDPOS = ("English", "Persian", "Hebrew", "Indonesian", "French")
TATOEBA = ("ara", "bul", "cmn", "deu", "ell", "fra", "hin", "rus", "spa", "tur", "vie")
TYDIQA = ("arabic", "bengali", "english", "finnish", "indonesian", "korean", "russian", "swahili", "telugu")
OPUS = ("ar-en", "bg-en", "de-en", "en-es", "en-fr", "en-hi", "en-zh")


def add_public_sets(hub: PublicHub) -> None:
    """All sets and models that the shipped sweeps name."""
    squad = {split: parquet(questions("en", 30, name=f"squad-{split}")) for split in ("train", "validation")}
    hub.add("rajpurkar/squad", configured({"plain_text": squad}))
    xquad = {f"xquad.{each}": {"validation": parquet(questions(each, 1190, name="xquad"))} for each in XQUAD}
    hub.add("google/xquad", configured(xquad))
    hub.add("facebook/mlqa", {"README.md": b"---\nlicense: cc\n---\n", "mlqa.py": b"raise SystemExit('a script')"})
    cells = {
        f"mlqa.{context}.{question}/{split}/0000.parquet": parquet(
            questions(context, 20, name=f"mlqa-{split}", asked_in=question)
        )
        for context in MLQA
        for question in MLQA
        for split in ("validation", "test")
    }
    hub.add("facebook/mlqa", cells, branch=CONVERTED)
    goldp = {
        split: parquet([row for each in TYDIQA for row in questions(each, 4, name=f"{each}-{split}-")])
        for split in ("train", "validation")
    }
    hub.add("google-research-datasets/tydiqa", configured({"secondary_task": goldp}))
    xtreme = {
        f"PAN-X.{each}": {
            split: tagged(f"{each}{split}", 1600, "ner_tags", NER, [1, 0, 5]) for split in ("train", "validation")
        }
        for each in PANX
    }
    xtreme |= {
        f"udpos.{each}": {
            split: tagged(f"{each}{split}", 800, "pos_tags", UPOS, [0, 1, 2]) for split in ("train", "validation")
        }
        for each in UDPOS
    }
    for each in TATOEBA:
        pairs = [
            {"source_lang": each, "target_lang": "eng", "source_sentence": f"{each} {n}", "target_sentence": f"eng {n}"}
            for n in range(300)
        ]
        xtreme[f"tatoeba.{each}"] = {"validation": parquet(pairs)}
    hub.add("google/xtreme", configured(xtreme))
    xnli = {
        each: {
            split: labelled(each, 660, "premise", "hypothesis", ["entailment", "neutral", "contradiction"])
            for split in ("validation", "test")
        }
        for each in ("en", "ar", "de", "es", "hi", "zh")
    }
    hub.add("facebook/xnli", configured(xnli))
    pawsx = {each: {"validation": labelled(each, 9, "sentence1", "sentence2", ["0", "1"])} for each in ("de", "en")}
    hub.add("google-research-datasets/paws-x", configured(pawsx))
    opus = {}
    for each in OPUS:
        codes = each.split("-")
        rows = [{"translation": {code: f"{code} sentence {number}" for code in codes}} for number in range(50)]
        opus[each] = {"train": parquet(rows)}
    hub.add("Helsinki-NLP/opus-100", configured(opus))
    config = json.dumps({"model_type": "bert", "hidden_size": 768, "max_position_embeddings": 512}).encode()
    for model in ("google-bert/bert-base-multilingual-cased", "google-bert/bert-base-cased"):
        hub.add(model, {"config.json": config}, kind="model")


def use_hub(hub: PublicHub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the libraries of the Hub to a loopback one, and to an empty cache."""
    for name, value in {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_OFFLINE": False,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
    }.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    forget()
