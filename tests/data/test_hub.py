"""Data sets of the Hub and files at addresses, over real HTTP from a Hub on loopback."""

import io
import json
import multiprocessing
import threading
import time
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock
from support.public_hub import CONVERTED, NER, Trouble, card, configured, parquet, questions, tagged

from raykd.data.bitext import read_labelled_pairs, read_pairs
from raykd.data.conll import read_languages
from raykd.data.hub import commits_in, forget, noted, pin, snapshot
from raykd.data.sources import SourceRef, locate
from raykd.data.squad import read_cells, read_flat, read_parallel
from raykd.errors import DataError

XQUAD = SourceRef(hub="google/xquad", hub_config="xquad.{language}", split="validation")
MLQA = SourceRef(
    hub="facebook/mlqa", hub_revision=CONVERTED, hub_files="mlqa.{context}.{question}/validation/*.parquet"
)


def add_xquad(hub, count=3, **options):
    tables = {f"xquad.{each}": {"validation": parquet(questions(each, count))} for each in ("de", "en")}
    return hub.add("google/xquad", configured(tables), **options)


def add_mlqa(hub):
    hub.add("facebook/mlqa", {"README.md": b"# MLQA\n", "mlqa.py": b"raise SystemExit"})
    cells = {
        f"mlqa.{context}.{question}/validation/0000.parquet": parquet(questions(context, 2, asked_in=question))
        for context in ("de", "en")
        for question in ("de", "en")
    }
    return hub.add("facebook/mlqa", cells, branch=CONVERTED)


def line_of(caught):
    (line,) = caught.value.problems
    assert "\n" not in line
    return line


def test_named_configurations_are_read_at_one_commit_which_is_noted(public_hub, tmp_path):
    commit = add_xquad(public_hub)
    with noted() as notes:
        items = read_parallel(XQUAD, languages=["en", "de"], folder=tmp_path)
    assert items["q2"]["de"].question == "de: wo 2?"
    assert commits_in(notes) == {"dataset google/xquad@main": commit}
    assert public_hub.asked("/api/datasets/google/xquad") == 1


def test_a_script_set_is_read_from_its_converted_branch(public_hub, tmp_path):
    add_mlqa(public_hub)
    cells = read_cells(MLQA, question_languages=["en", "de"], context_languages=["en", "de"], folder=tmp_path)
    (first, _) = cells["en", "de"]
    assert (first.question, first.context[:2]) == ("en: wo 0?", "de")


def test_a_script_set_names_its_converted_branch_and_the_pattern_to_write(public_hub, tmp_path):
    add_mlqa(public_hub)
    script = SourceRef(hub="facebook/mlqa", hub_config="mlqa.{context}.{question}", split="validation")
    with pytest.raises(DataError) as caught:
        read_cells(script, question_languages=["en"], context_languages=["de"], folder=tmp_path)
    line = line_of(caught)
    assert "is a script at main, which is never run" in line
    assert f'hub_revision: {CONVERTED} and hub_files, here "mlqa.de.en/validation/*.parquet"' in line


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hub_revision": "v9"}, "google/xquad has no revision v9"),
        ({"hub_config": "xquad.{language}x"}, "no configuration xquad.dex). To do: correct hub_config; near: xquad.de"),
        ({"split": "test"}, "has no split test). To do: correct split; there are: validation"),
        (
            {"hub_files": "xquad.{language}/validaton-*", "hub_config": None, "split": None},
            "matches xquad.de/validaton-*). To do: correct hub_files; near: xquad.de/validation-00000-of-00001.parquet",
        ),
        ({"hub": "google/nothing"}, "the Hub has no google/nothing, or shows it to some only"),
    ],
)
def test_what_is_not_there_is_one_line_with_what_is_near(public_hub, tmp_path, changed, said):
    add_xquad(public_hub)
    ref = SourceRef(**{"hub": XQUAD.hub, "hub_config": XQUAD.hub_config, "split": XQUAD.split, **changed})
    with pytest.raises(DataError) as caught:
        read_flat(ref, language="de", folder=tmp_path)
    assert said in line_of(caught)


def test_a_gated_set_says_to_accept_its_terms_and_is_read_with_a_token(public_hub, tmp_path, monkeypatch):
    add_xquad(public_hub, gated=True)
    with pytest.raises(DataError) as caught:
        read_flat(XQUAD, language="de", folder=tmp_path)
    assert "accept the terms on the page of google/xquad, and set HF_TOKEN" in line_of(caught)
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    assert len(read_flat(XQUAD, language="de", folder=tmp_path)) == 3


@pytest.mark.parametrize("part", ["/api/datasets/", "resolve"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_hub_is_asked_again_when_it_says(public_hub, tmp_path, part, status):
    add_xquad(public_hub)
    public_hub.troubles.append(Trouble(part, times=2, status=status, retry_after="0"))
    assert len(read_flat(XQUAD, language="de", folder=tmp_path)) == 3


def test_a_hub_that_asks_for_a_long_wait_is_one_line_at_once(public_hub, tmp_path):
    add_xquad(public_hub)
    public_hub.troubles.append(Trouble("/api/", times=99, status=429, retry_after="3600"))
    with pytest.raises(DataError) as caught:
        read_flat(XQUAD, language="de", folder=tmp_path)
    assert "the Hub is busy (status 429), and asks to wait 3600 s" in line_of(caught)
    assert public_hub.asked("/api/") == 1


def test_a_hub_that_stays_busy_is_given_up(public_hub, tmp_path):
    add_xquad(public_hub)
    public_hub.troubles.append(Trouble("/api/", times=99, status=503, retry_after="0"))
    with pytest.raises(DataError) as caught:
        read_flat(XQUAD, language="de", folder=tmp_path)
    assert "the Hub is busy (status 503, 5 times)" in line_of(caught)


def test_a_slow_hub_is_asked_again(public_hub, tmp_path, monkeypatch):
    monkeypatch.setattr("raykd.data.hub.PROBE_SECONDS", 0.2)
    monkeypatch.setattr("raykd.data.hub._FIRST_PAUSE", 0.0)
    add_xquad(public_hub)
    public_hub.troubles.append(Trouble("/api/", delay=0.6))
    assert len(read_flat(XQUAD, language="de", folder=tmp_path)) == 3
    assert public_hub.asked("/api/") == 2


def test_a_file_of_the_hub_that_is_cut_off_is_taken_up(public_hub, tmp_path, monkeypatch):
    add_xquad(public_hub)
    # The library keeps what it read in chunks, of 10 MiB.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100)
    # The first request asks for the size only.
    public_hub.troubles += [Trouble("xquad.de/validation"), Trouble("xquad.de/validation", cut=700)]
    assert len(read_flat(XQUAD, language="de", folder=tmp_path)) == 3
    assert public_hub.ranges == ["bytes=700-"]


def test_without_a_network_the_last_commit_is_read_from_the_cache(public_hub, tmp_path, monkeypatch):
    commit = add_xquad(public_hub)
    before = read_flat(XQUAD, language="de", folder=tmp_path)
    forget()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with noted() as notes:
        assert read_flat(XQUAD, language="de", folder=tmp_path) == before
    assert commits_in(notes) == {"dataset google/xquad@main": commit}
    with pytest.raises(DataError, match="HF_HUB_OFFLINE"):
        read_flat(XQUAD, language="en", folder=tmp_path)


def test_a_commit_that_was_recorded_is_read_though_the_branch_has_moved(public_hub, tmp_path):
    add_xquad(public_hub)
    with noted() as notes:
        read_flat(XQUAD, language="de", folder=tmp_path)
    add_xquad(public_hub, count=5)
    forget()
    asked = public_hub.asked("/api/")
    pin({**notes, "data train": "another hash"})
    with noted() as again:
        assert len(read_flat(XQUAD, language="de", folder=tmp_path)) == 3
    assert again == notes
    assert public_hub.asked("/api/") == asked, "a commit never changes"
    forget()
    assert len(read_flat(XQUAD, language="de", folder=tmp_path)) == 5


def test_class_labels_by_number_get_their_names(public_hub, tmp_path):
    tables = {"PAN-X.de": {"train": tagged("de", 2, "ner_tags", NER, [1, 0, 5])}}
    public_hub.add("google/xtreme", configured(tables))
    ref = SourceRef(hub="google/xtreme", hub_config="PAN-X.{language}", split="train")
    found = read_languages(ref, languages=["de"], folder=tmp_path)["de"]
    assert found.sentences[1].tags == ("B-PER", "O", "B-LOC")


def test_names_of_languages_on_the_hub_may_differ_from_those_of_files(public_hub, tmp_path):
    files = {"pos.German.tsv": b"Haus\tNOUN\n", "pos.English.tsv": b"house\tNOUN\n"}
    public_hub.add("a/pos", files)
    codes = {"de": "German", "en": "English"}
    ref = SourceRef(path="pos-{language}.tsv", hub="a/pos", hub_files="pos.{language}.tsv", hub_codes=codes)
    (tmp_path / "pos-en.tsv").write_text("here\tNOUN\n")
    found = read_languages(ref, languages=["de", "en"], folder=tmp_path)
    assert [found[each].sentences[0].words for each in ("de", "en")] == [("Haus",), ("here",)]


def squad_json(rows):
    qas = [
        {
            "context": row["context"],
            "qas": [
                {
                    "id": row["id"],
                    "question": row["question"],
                    "answers": [{"text": row["answers"]["text"][0], "answer_start": row["answers"]["answer_start"][0]}],
                }
            ],
        }
        for row in rows
    ]
    return json.dumps({"data": [{"paragraphs": qas}]}).encode()


def test_files_in_the_form_that_a_task_reads_come_from_the_hub_too(public_hub, tmp_path):
    rows = questions("de", 2)
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    public_hub.add("a/plain", {"de.json": squad_json(rows), "de.jsonl": lines})
    for ending in ("json", "jsonl"):
        ref = SourceRef(hub="a/plain", hub_files="{language}." + ending)
        assert [each.id for each in read_flat(ref, language="de", folder=tmp_path)] == ["q0", "q1"]


def test_several_files_are_read_one_after_another_where_they_hold_rows(public_hub, tmp_path):
    public_hub.add("a/b", {f"train-{n}.parquet": parquet(questions("de", 2, name=f"part{n}-")) for n in (1, 0)})
    ref = SourceRef(hub="a/b", hub_files="train-*")
    found = [each.id for each in read_flat(ref, language="de", folder=tmp_path)]
    assert found == ["part0-0", "part0-1", "part1-0", "part1-1"]


def test_several_files_that_hold_no_rows_are_refused(public_hub, tmp_path):
    public_hub.add("a/b", {f"{n}.json": squad_json(questions("de", 1)) for n in (1, 2)})
    with pytest.raises(DataError) as caught:
        read_flat(SourceRef(hub="a/b", hub_files="*.json"), language="de", folder=tmp_path)
    assert "2 files of a/b match *.json, such as 1.json, 2.json). To do: set hub_files to one of them" in line_of(
        caught
    )


def test_parallel_text_is_found_by_the_pair_of_codes(public_hub, tmp_path):
    rows = {pair: [{"translation": {code: f"{code} text" for code in pair.split("-")}}] for pair in ("de-en", "en-fr")}
    public_hub.add("a/opus", configured({pair: {"train": parquet(each)} for pair, each in rows.items()}))
    ref = SourceRef(hub="a/opus", hub_config="{pair}", split="train")
    found = read_pairs(ref, languages=["de", "fr"], folder=tmp_path)
    assert [(found[each].pairs[0].english, found[each].pairs[0].other) for each in ("de", "fr")] == [
        ("en text", "de text"),
        ("en text", "fr text"),
    ]


def test_pairs_that_name_their_own_languages_are_read_in_either_direction(public_hub, tmp_path):
    row = {"source_lang": "deu", "target_lang": "eng", "source_sentence": "Haus", "target_sentence": "house"}
    turned = {"source_lang": "eng", "target_lang": "deu", "source_sentence": "tree", "target_sentence": "Baum"}
    public_hub.add("a/tatoeba", {"deu.csv": csv_of(row, turned)})
    ref = SourceRef(hub="a/tatoeba", hub_files="{language}.csv")
    found = read_pairs(ref, languages=["de"], folder=tmp_path, codes={"de": "deu", "en": "eng"})["de"]
    assert [(each.english, each.other) for each in found.pairs] == [("house", "Haus"), ("tree", "Baum")]


def csv_of(*rows):
    return "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]).encode()


def test_labelled_pairs_come_from_rows_with_named_classes(public_hub, tmp_path):
    rows = (
        b'{"premise": "a", "hypothesis": "b", "label": "entailment"}\n{"premise": "a", "hypothesis": "c", "label": 7}'
    )
    public_hub.add("a/xnli", {"de.jsonl": rows})
    ref = SourceRef(hub="a/xnli", hub_files="{language}.jsonl")
    with pytest.raises(DataError, match=r"row 1: .*needs text columns premise and hypothesis or .*named class"):
        read_labelled_pairs(ref, languages=["de"], folder=tmp_path)


def test_a_set_without_a_list_of_configurations_is_read_by_its_layout(public_hub, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_ENDPOINT", public_hub.url)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    public_hub.add("a/free", {"train.parquet": parquet(questions("de", 2))})
    ref = SourceRef(hub="a/free", split="train")
    assert len(read_flat(ref, language="de", folder=tmp_path)) == 2


def test_a_card_without_the_wanted_configuration_of_many_asks_for_one(public_hub, tmp_path):
    public_hub.add("a/b", {"README.md": card({"x": ["train"], "y": ["train"]})})
    with pytest.raises(DataError, match=r"a/b has 2 configurations.*set hub_config; there are: x, y"):
        read_flat(SourceRef(hub="a/b", split="train"), language="de", folder=tmp_path)


def archive(members):
    path = Path(members.pop("path"))
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return path


def test_a_member_of_an_archive_is_read_by_either_spelling(public_hub, tmp_path):
    members = {f"V1/dev-{each}.json": squad_json(questions(each, 2)) for each in ("de", "en")}
    path = archive({"path": tmp_path / "set.zip", **members})
    public_hub.files["set.zip"] = path.read_bytes()
    for template in (
        "set.zip!V1/dev-{language}.json",
        f"{public_hub.url}/files/set.zip!V1/dev-{{language}}.json",
        f"zip://V1/dev-{{language}}.json::{public_hub.url}/files/set.zip",
    ):
        items = read_parallel(SourceRef(path=template), languages=["de", "en"], folder=tmp_path)
        assert items["q1"]["en"].question == "en: wo 1?"
    assert public_hub.asked("/files/set.zip") == 1
    with pytest.raises(DataError) as caught:
        locate(SourceRef(path="set.zip!V1/dev-{language}.jsn"), folder=tmp_path, language="de")
    assert line_of(caught).endswith("no member V1/dev-de.jsn; near: V1/dev-de.json, V1/dev-en.json; correct the path")


def test_who_waits_for_another_process_to_fetch_a_file_says_so(tmp_path, public_hub, monkeypatch, caplog):
    monkeypatch.setattr("raykd.data.addresses._LOCK_SECONDS", 0.05)
    public_hub.files["a.tsv"] = b"house\tHaus\n"
    source = SourceRef(path=f"{public_hub.url}/files/a.tsv")
    place = locate(source, folder=tmp_path)
    place.unlink()
    other = FileLock(place.parent / "lock")
    other.acquire()
    waiting = threading.Thread(target=locate, args=(source,), kwargs={"folder": tmp_path})
    waiting.start()
    deadline = time.monotonic() + 20
    while "another process fetches it" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "a.tsv: another process fetches it; waiting" in caplog.text
    assert not place.is_file()
    other.release()
    waiting.join(20)
    assert place.read_bytes() == b"house\tHaus\n"


def test_an_archive_that_is_none_is_named(tmp_path, public_hub):
    (tmp_path / "set.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"set\.zip: cannot be read as a zip archive"):
        locate(SourceRef(path="set.zip!a.json"), folder=tmp_path)


def test_an_address_is_downloaded_once_and_then_needs_no_network(public_hub, tmp_path, monkeypatch):
    public_hub.files["a.tsv"] = b"house\tHaus\n"
    ref = SourceRef(path=f"{public_hub.url}/files/a.tsv")
    place = locate(ref, folder=tmp_path)
    assert place.read_bytes() == b"house\tHaus\n" and place.name == "a.tsv"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert locate(ref, folder=tmp_path) == place
    assert public_hub.asked("/files/") == 1
    with pytest.raises(DataError, match="not in the cache, and HF_HUB_OFFLINE is set"):
        locate(SourceRef(path=f"{public_hub.url}/files/b.tsv"), folder=tmp_path)


def test_a_download_that_is_cut_off_goes_on_where_it_was(public_hub, tmp_path):
    content = bytes(range(256)) * 40
    public_hub.files["a.bin"] = content
    public_hub.troubles += [
        Trouble("a.bin", times=1, cut=4_000),
        Trouble("a.bin", times=1, status=503, retry_after="0"),
    ]
    place = locate(SourceRef(path=f"{public_hub.url}/files/a.bin"), folder=tmp_path)
    assert place.read_bytes() == content
    assert public_hub.ranges == ["bytes=4000-"]
    assert [each.name for each in place.parent.iterdir() if each.suffix == ".part"] == []


def test_a_file_that_was_replaced_since_it_was_cut_off_begins_again(public_hub, tmp_path):
    public_hub.files["a.bin"] = b"old " * 100
    public_hub.troubles += [
        Trouble("a.bin", times=1, cut=40),
        Trouble("a.bin", times=1, status=429, retry_after="3600"),
    ]
    ref = SourceRef(path=f"{public_hub.url}/files/a.bin")
    with pytest.raises(DataError, match=r"cannot be downloaded \(status 429"):
        locate(ref, folder=tmp_path)
    public_hub.files["a.bin"] = b"new " * 100
    assert locate(ref, folder=tmp_path).read_bytes() == b"new " * 100


def test_an_address_that_has_nothing_is_one_line_and_is_not_asked_again(public_hub, tmp_path):
    with pytest.raises(DataError) as caught:
        locate(SourceRef(path=f"{public_hub.url}/files/none.tsv"), folder=tmp_path)
    assert "not given (status 404 Not Found); check the address" in line_of(caught)
    assert public_hub.asked("none.tsv") == 1


def test_any_address_of_fsspec_is_read(public_hub, tmp_path):
    import fsspec

    with fsspec.open("memory://folder/a.tsv", "wb") as stream:
        stream.write(b"house\tHaus\n")
    assert locate(SourceRef(path="memory://folder/a.tsv"), folder=tmp_path).read_bytes() == b"house\tHaus\n"
    with pytest.raises(DataError, match=r"nothing://a.tsv: cannot be downloaded"):
        locate(SourceRef(path="nothing://a.tsv"), folder=tmp_path)


def test_processes_that_want_one_file_download_it_once(public_hub, tmp_path):
    public_hub.files["a.bin"] = b"x" * 10_000
    public_hub.troubles.append(Trouble("a.bin", times=1, delay=0.3))
    ref = SourceRef(path=f"{public_hub.url}/files/a.bin")
    forks = multiprocessing.get_context("fork")
    running = [forks.Process(target=locate, args=(ref,), kwargs={"folder": tmp_path}) for _ in range(3)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    assert [each.exitcode for each in running] == [0, 0, 0]
    assert public_hub.asked("a.bin") == 1


def test_a_failing_address_leaves_the_word_to_the_hub(public_hub, tmp_path):
    add_xquad(public_hub)
    path = f"{public_hub.url}/files/{{language}}.json"
    ref = SourceRef(path=path, hub="google/xquad", hub_config="xquad.{language}", split="validation")
    assert len(read_flat(ref, language="de", folder=tmp_path)) == 3


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("large", "is_terminal", "is_shown"), [(1, True, True), (1, False, False), (1e9, True, False)])
def test_only_a_large_file_shows_its_progress_and_only_on_a_terminal(
    public_hub, tmp_path, monkeypatch, large, is_terminal, is_shown
):
    commit = add_xquad(public_hub)
    public_hub.files["a.bin"] = b"x" * 1_000
    shown = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", shown)
    for module in ("hub", "addresses"):
        monkeypatch.setattr(f"raykd.data.{module}.LARGE", large)
    locate(SourceRef(path=f"{public_hub.url}/files/a.bin"), folder=tmp_path)
    assert ("a.bin" in shown.getvalue()) == is_shown
    snapshot("google/xquad", commit).fetch("README.md")
    assert ("README.md" in shown.getvalue()) == is_shown
