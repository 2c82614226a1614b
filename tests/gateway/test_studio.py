"""The studio in a real Chromium: types, clicks, hears. `script/test -m browser -n 0`."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from checks.server import free_port
from gateway.scratch import STUDIO_PREFIX
from gateway.studio_text import plain_report, reading_of
from tests.conftest import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS = 120_000
# What the page says of how far it is.
LISTEN = """window.told = []; new MutationObserver(() => {
  const now = document.querySelector("#status")?.innerText;
  if (now && now !== told.at(-1)) told.push(now);
}).observe(document, {subtree: true, childList: true, characterData: true});"""
INKED = """canvas => canvas.width && canvas.getContext("2d")
  .getImageData(0, 0, canvas.width, canvas.height).data.some(value => value)"""


def test_readings_and_reports_in_plain_words(tmp_path):
    rows = reading_of("It costs $5. [pause:1s][voice:anna]Yes!")
    assert [row[2] for row in rows] == ["It costs five dollars.", "(pause of 1 s)", "Yes!"]
    assert rows[2][:2] == ["2", "anna"] and reading_of(" ") == []
    assert "voice name" in reading_of("[voice:../x]Yes")[0][2]
    assert "nothing to complain of" in plain_report(str(ROOT / "examples/george.flac"))
    (tmp_path / "x").write_bytes(b"no audio")
    assert plain_report(str(tmp_path / "x")).startswith("⚠ audio file refused")


@pytest.fixture(scope="module")
def page_url(served):
    from gateway.studio_client import Server
    from gateway.studio_page import CSS, make_page

    page, port = make_page(Server(served.url)), free_port()
    page.launch(server_port=port, prevent_thread_lock=True, css=CSS, footer_links=[], quiet=True)
    yield f"http://127.0.0.1:{port}"
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("width, scheme", [(1280, "light"), (390, "light"), (1280, "dark")])
def test_it_speaks_what_is_typed(page_url, width, scheme):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.set_default_timeout(SECONDS)
        page.add_init_script(LISTEN)
        hosts, errors = set(), []
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(page_url)
        page.wait_for_function("document.querySelector('#voice input')?.value === 'speaker'")
        page.locator("#text textarea").fill("Good morning.")
        page.get_by_label("Seed", exact=True).fill("6")
        page.locator("#speak").click()  # what nobody has opened has its defaults
        page.wait_for_function("document.querySelector('#status').innerText.includes('seed 6')")
        for label, value in (("max_mel_tokens", "60"), ("diffusion_steps", "1")):
            if not page.get_by_label(label, exact=True).is_visible():
                page.get_by_role("button", name="Advanced").click()
            page.get_by_label(label, exact=True).fill(value)
        page.get_by_label("Seed", exact=True).fill("7")
        page.locator("#speak").focus()
        page.keyboard.press("Enter")
        page.wait_for_function("document.querySelector('#status').innerText.includes('seed 7')")
        told = page.evaluate("window.told")
        assert any(line.startswith("Choosing speech tokens") for line in told), told
        assert any(line.startswith("Making the sound") for line in told), told
        sound = page.locator("#take #waveform audio")  # in a shadow root, which locators look into
        sound.wait_for(state="attached")
        page.wait_for_function("audio => audio.duration > 0.3", arg=sound.element_handle())
        drawn = page.locator("#take #waveform canvas").first.element_handle()
        page.wait_for_function(INKED, arg=drawn)
        page.locator("#take").get_by_label("Play", exact=True).click()
        page.wait_for_function("audio => audio.currentTime > 0.1", arg=sound.element_handle())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert hosts == {page_url.removeprefix("http://")} and not errors
        browser.close()


def take_of_the_page(url: str, folder: Path) -> Path:
    """The sound of one take, as the page's own button makes it."""
    from gradio_client import Client

    client = Client(url, download_files=str(folder), verbose=False)
    client.predict(api_name="/fill")  # the voices, as when the page is loaded
    (button,) = (d for d in client.config["dependencies"] if d["api_name"] == "speak")
    known = {part["id"]: part for part in client.config["components"]}
    given = {"Text": "Good morning.", "Voice": "george", "max_mel_tokens": "60", "diffusion_steps": "1"}
    values = []
    for part in (known[part] for part in button["inputs"] if known[part]["type"] != "state"):
        values.append(given.get(part["props"].get("label"), part["props"].get("value")))
    return Path(client.predict(*values, api_name="/speak")[1])


@pytest.mark.browser
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_leaves_nothing_behind(served, tmp_path, number):
    gone = tmp_path / f"{STUDIO_PREFIX}999999999-x"  # of one that was killed
    gone.mkdir()
    port, mine = free_port(), tmp_path / "mine"
    command = [sys.executable, "-m", "gateway.studio", "--server", served.url, "--port", str(port)]
    studio = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"TMPDIR": str(tmp_path)})
    try:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS / 1000
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(url, timeout=5).ok:
                    break
            assert studio.poll() is None and time.monotonic() < until
            time.sleep(0.2)
        assert not gone.exists()
        assert take_of_the_page(url, mine).stat().st_size > 1000
        assert list(tmp_path.glob(f"{STUDIO_PREFIX}{studio.pid}-*/take-*/speech.wav"))
        studio.send_signal(number)
        assert studio.wait(60) == 0
    finally:
        studio.kill()
        studio.wait()
    assert [path.name for path in tmp_path.iterdir()] == [mine.name]
