"""The page in a real browser: it renders, complains about nothing, requests nothing from elsewhere and fits a phone."""

import re
import shutil
import subprocess

import pytest

from crossattn_core.report.page import build_report
from tests.report import story

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic", "--no-first-run")
pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return build_report(story.inputs(), tmp_path_factory.mktemp("page")).html


def browse(address, folder, *flags):
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", *QUIET, f"--user-data-dir={folder / 'profile'}"]
    command += ["--enable-logging=stderr", "--v=0", *flags, address]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_page_renders_without_a_complaint_or_a_request(page, tmp_path):
    shot, log = tmp_path / "shot.png", tmp_path / "net.json"
    done = browse(page.as_uri(), tmp_path, f"--log-net-log={log}", f"--screenshot={shot}", "--window-size=1100,2400")
    assert shot.stat().st_size > 50_000, done.stderr[-2000:]
    assert not re.findall(r"CONSOLE[^\n]*", done.stderr)
    urls = set(re.findall(r'"url":"(https?://[^/"]+)', log.read_text(errors="ignore")))
    # The browser itself requests the time and updates from its maker, whatever page it shows.
    assert {host for host in urls if not host.endswith((".google.com", ".googleapis.com", ".gvt1.com", ".gstatic.com"))} == set()


def test_the_first_screen_ends_with_the_table_of_contents_at_the_window_of_a_small_laptop(page, tmp_path):
    text = page.read_text().replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    end = "Math.ceil(document.querySelector('nav').getBoundingClientRect().bottom)"
    measure = f"<script>document.title = 'end ' + {end}</script></body>"
    probe = tmp_path / "probe.html"
    probe.write_text(text.replace("</body>", measure))
    done = browse(probe.as_uri(), tmp_path, "--window-size=1280,800", "--dump-dom")
    end = re.search(r"<title>end (\d+)</title>", done.stdout)
    assert end is not None, done.stderr[-2000:]
    assert int(end.group(1)) <= 800


def test_nothing_sticks_out_of_the_page_on_a_phone(page, tmp_path):
    # The page forbids scripts; the probe lets one in, to measure what lies outside of the window.
    text = page.read_text().replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    text = text.replace("<details>", "<details open>")
    measure = "<script>document.title = 'width ' + document.documentElement.scrollWidth</script></body>"
    probe = tmp_path / "probe.html"
    probe.write_text(text.replace("</body>", measure))
    done = browse(probe.as_uri(), tmp_path, "--window-size=500,1000", "--dump-dom")
    width = re.search(r"<title>width (\d+)</title>", done.stdout)
    assert width is not None, done.stderr[-2000:]
    assert int(width.group(1)) <= 500
