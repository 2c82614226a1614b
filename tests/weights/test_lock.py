"""The manifest and the lock: strict reading, and a lock that pins what the hub had."""

from __future__ import annotations

import hashlib
import json

import pytest
import yaml

from fetching.manifest import GROUPS, WeightsError, load_manifest, parse_lock
from tests.weights.conftest import BIG, NOBODY, SMALL, TRANSFER, content
from tests.weights.server import COMMIT, Fault
from tests.weights.test_cli import run_cli
from weights import ensure


def test_lock_holds_commit_size_and_sha256_of_every_file(hub, project, files):
    files |= {"denoiser/last": b"best.bin\n", "denoiser/best.bin": content(5000, 1)}
    hub.hub_files.update(files)
    project.files(
        [
            SMALL,
            BIG,
            {"file": "denoiser/last", "names_checkpoint": True},
            {"file": "glossary.yaml", "optional": True},
        ]
    )
    assert run_cli(project, "lock").returncode == 0
    locked = json.loads(project.lock.read_text())["models"]["toy"]
    assert locked == {
        "absent": ["glossary.yaml"],
        "files": {
            name: {
                "repository": "org/model",
                "revision": COMMIT,
                "file": name,
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
            for name, data in files.items()
        },
    }
    assert hub.bytes_sent[BIG] == 0  # asked, not fetched


def test_locked_fetch_asks_for_the_commit_and_nothing_else(hub, project, files):
    run_cli(project, "lock")
    hub.requests.clear()
    ensure(**project.arguments)
    assert all(request.method == "GET" for request in hub.requests)
    assert all(f"/resolve/{COMMIT}/" in request.path for request in hub.requests if "resolve" in request.path)


def test_lock_of_another_model_is_kept(hub, project):
    other = {"files": {}, "absent": ["x"]}
    project.lock.write_text(json.dumps({"models": {"other": other}}))
    run_cli(project, "lock")
    models = json.loads(project.lock.read_text())["models"]
    assert models["other"] == other and set(models) == {"other", "toy"}


def test_locked_content_is_held_against_a_hub_that_changed(hub, project, files):
    run_cli(project, "lock")
    hub.hub_files[BIG] = content(1_000_003, seed=9)
    with pytest.raises(WeightsError, match=r"wrong content; expected .* \(the lock\)"):
        ensure(**project.arguments)


@pytest.mark.parametrize("fault, says", [(None, "HTTP 404"), ("token", "HF_TOKEN")])
def test_lock_that_cannot_be_made_leaves_the_old_one(hub, project, fault, says):
    project.lock.write_text('{"models": {}}')
    if fault == "token":
        hub.token = "hf_secret"
    else:
        del hub.hub_files[BIG]
    done = run_cli(project, "lock")
    assert done.returncode == 1 and says in done.stderr and "cannot lock" in done.stderr
    assert project.lock.read_text() == '{"models": {}}'


def test_small_file_that_is_not_what_the_hub_announces_is_not_locked(hub, project):
    hub.faults[SMALL] = [Fault(body=b"version: 9.9\n")]
    done = run_cli(project, "lock")
    assert done.returncode == 1 and "is announced as" in done.stderr and not project.lock.exists()


def test_lock_without_network_says_so(project):
    project.files([SMALL, BIG], **NOBODY)
    done = run_cli(project, "lock")
    assert done.returncode == 1 and "cannot lock 'toy': the hub http://127.0.0.1:9" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"models": {"toy": {"files": {"a": {"size": 1}}}}}',
        '{"models": {"toy": {"files": {"a": {"repository": "r", "revision": "m", "file": '
        '"a", "size": "1", "sha256": "0"}}}}}',
    ],
)
def test_damaged_lock_is_an_error(text):
    with pytest.raises(
        WeightsError, match="weights.lock.json is not a lock written by `python weights.py lock`"
    ):
        parse_lock(text.encode(), "weights.lock.json")


def test_lock_that_contradicts_the_manifest_is_an_error(hub, project):
    run_cli(project, "lock")
    project.blocks(
        [{"repository": "org/other", "revision": "main", "group": "core", "into": "", "files": [SMALL]}]
    )
    with pytest.raises(
        WeightsError, match="locked from org/model/config.yaml but the manifest has org/other"
    ):
        ensure(**project.arguments)


# --- the manifest -----------------------------------------------------------------------------

BLOCK = {"repository": "org/model", "revision": "main", "group": "core", "into": "", "files": [SMALL]}


@pytest.mark.parametrize(
    "change, says",
    [
        ({"files": [{"file": SMALL, "sha265": "0"}]}, "unknown key sha265"),
        ({"files": [{"optional": True}]}, "missing key file"),
        ({"files": [{"file": SMALL, "optional": "yes"}]}, "expected bool, got 'yes'"),
        ({"group": "all"}, "group 'all'; allowed: core, emotion_text, denoise"),
        ({"into": "../up"}, "'../up/config.yaml' is not a plain relative path"),
        ({"files": [{"file": SMALL, "path": "/etc/passwd"}]}, "'/etc/passwd' is not a plain relative path"),
        ({"files": [SMALL, SMALL]}, "config.yaml is listed twice"),
        ({"reposiory": "org/model"}, "unknown key reposiory"),
    ],
)
def test_mistakes_in_the_manifest_are_named(project, change, says):
    project.blocks([{**BLOCK, **change}])
    with pytest.raises(WeightsError) as caught:
        load_manifest(project.manifest)
    assert says in str(caught.value)


def test_missing_transfer_setting_is_named(project):
    transfer = {key: value for key, value in TRANSFER.items() if key != "attempts"}
    project.manifest.write_text(yaml.safe_dump({"transfer": transfer, "models": {"toy": [BLOCK]}}))
    with pytest.raises(WeightsError, match="transfer: missing key attempts"):
        load_manifest(project.manifest)


def test_real_manifest_has_every_auxiliary_model():
    entries = load_manifest().entries("indextts2", GROUPS)
    assert {entry.repository for entry in entries} == {
        "IndexTeam/IndexTTS-2",
        "facebook/w2v-bert-2.0",
        "amphion/MaskGCT",
        "funasr/campplus",
        "nvidia/bigvgan_v2_22khz_80band_256x",
        "alibabasglab/MossFormer2_SE_48K",
    }
    assert {entry.path for entry in entries if entry.group == "core" and not entry.optional} == {
        "config.yaml",
        "bpe.model",
        "gpt.pth",
        "s2mel.pth",
        "wav2vec2bert_stats.pt",
        "feat1.pt",
        "feat2.pt",
        "w2v-bert-2.0/config.json",
        "w2v-bert-2.0/preprocessor_config.json",
        "w2v-bert-2.0/model.safetensors",
        "semantic_codec/model.safetensors",
        "campplus_cn_common.bin",
        "bigvgan/config.json",
        "bigvgan/bigvgan_generator.pt",
    }
