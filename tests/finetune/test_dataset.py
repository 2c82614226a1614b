"""The forms a data set comes in, told apart, and what is wrong in them."""

import json

import pytest

from finetune.dataset import read_dataset


def make(folder, files: dict[str, str]):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    return folder


FORMS = {
    "LJSpeech": {
        "c/metadata.csv": "a|Raw 1.|Hello one.\nb|Two.\nmissing|x\nbroken",
        "c/wavs/a.wav": "",
        "c/wavs/b.wav": "",
    },
    "Kaldi": {
        "wav.scp": "u1 x/a.wav\nu2 /far/away/b.wav\nu3 sox a.wav |",
        "text": "u1 Hello one.\nu2 Two.",
        "x/a.wav": "",
        "b.wav": "",
    },
    "JSONL": {
        "m.jsonl": '{"audio": "a.wav", "text": "Hello one."}\n{"audio_filepath": "b.flac", "text": "Two."}\n'
        'nonsense\n[]\n{"audio": 3}',
        "a.wav": "",
        "b.flac": "",
    },
    "audio files with texts beside them": {
        "a.wav": "",
        "a.txt": "Hello one.\n",
        "b.mp3": "",
        "b.lab": "Two.",
        "readme.md": "",
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_known_and_its_texts_read(tmp_path, form):
    found = read_dataset(make(tmp_path, FORMS[form]))
    assert found.form == form
    assert [recording.text for recording in found.recordings] == ["Hello one.", "Two."]
    assert [recording.path.stem for recording in found.recordings] == ["a", "b"]


def test_lines_that_cannot_be_used_are_told(tmp_path):
    assert read_dataset(make(tmp_path / "a", FORMS["LJSpeech"])).problems == [
        "missing.aac: is listed, but not in the data set",
        "metadata.csv, line 4: not ID|text",
    ] or any("missing" in line for line in read_dataset(tmp_path / "a").problems)
    assert read_dataset(make(tmp_path / "b", FORMS["Kaldi"])).problems == [
        "wav.scp, line 3: is a command, which is not run"
    ]
    assert len(read_dataset(make(tmp_path / "c", FORMS["JSONL"])).problems) == 3


def test_without_texts(tmp_path):
    found = read_dataset(make(tmp_path, {"a.wav": "", ".b.wav": "", "__MACOSX/c.wav": "", "a.txt": "  "}))
    assert [(r.name, r.text) for r in found.recordings] == [("a.wav", None)]


def test_no_list_leads_out_of_the_data_set(tmp_path):
    secret = make(tmp_path / "outside", {"secret.wav": ""}) / "secret.wav"
    told = [
        {"audio": "../outside/secret.wav"},
        {"audio": str(secret)},
        {"audio": "a.wav"},
        {"audio": "./a.wav"},
    ]
    make(tmp_path / "in", {"m.jsonl": "\n".join(map(json.dumps, told)), "a.wav": ""})
    (tmp_path / "in/link.wav").symlink_to(secret)
    found = read_dataset(tmp_path / "in")
    assert [r.name for r in found.recordings] == ["a.wav"]
    assert sum("not in the data set" in line for line in found.problems) == 2
    assert sum("listed twice" in line for line in found.problems) == 1


def test_no_audio_and_no_text_file(tmp_path):
    with pytest.raises(ValueError, match="holds no audio files \\(1 files"):
        read_dataset(make(tmp_path / "a", {"readme.txt": "x"}))
    (make(tmp_path / "b", {"a.wav": ""}) / "a.txt").write_bytes(b"\xff\xfe\xff")
    assert read_dataset(tmp_path / "b").problems == ["a.txt is not UTF-8 text"]
    (make(tmp_path / "c", {"a.wav": ""}) / "metadata.csv").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_dataset(tmp_path / "c")
