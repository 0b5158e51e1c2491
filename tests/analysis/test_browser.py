"""The report in a real browser, at the width of a desk and of a phone: nothing leaves the page, no text its picture."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from html import unescape
from pathlib import Path

import pytest

from mtlfn.analysis.command import report
from tests.analysis import study_folder

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars")
ALONE = ("--disable-background-networking", "--disable-component-update", "--disable-sync")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine (Debian: apt install chromium)")

# The page itself runs no script: it is looked at from outside, in a frame of the width in question. What stands in a
# box that scrolls may be wider than the page; everything else has to end within it.
LOOK = """<!DOCTYPE html><body style="margin:0"><iframe id="page" src="report.html" width="WIDTH" height="900"
style="border:0"></iframe><pre id="said"></pre><script>
document.getElementById("page").onload = (event) => {
  const page = event.target.contentDocument, wide = [], cut = [], small = [];
  for (const each of page.querySelectorAll("details")) each.open = true;
  for (const each of page.body.querySelectorAll("*")) {
    if (each.closest(".scroll") && !each.matches(".scroll")) continue;
    if (each.getBoundingClientRect().right > WIDTH + 1) wide.push(each.tagName + " " + each.textContent.slice(0, 60));
  }
  for (const svg of page.querySelectorAll("svg")) {
    const box = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll("text")) {
      const at = text.getBoundingClientRect(), said = text.textContent;
      if (at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 || at.bottom > box.bottom + 1)
        cut.push(said);
      const size = parseFloat(getComputedStyle(text).fontSize) * box.width / svg.viewBox.baseVal.width;
      if (size < 7.5) small.push(said + " " + size.toFixed(1));
    }
  }
  const fonts = [...page.querySelectorAll("p, td, th, dd, li")].map(e => parseFloat(getComputedStyle(e).fontSize));
  document.getElementById("said").textContent = JSON.stringify({scroll: page.documentElement.scrollWidth, wide, cut,
    small, figures: page.querySelectorAll("svg").length, smallest: Math.min(...fonts)});
};
</script></body>"""


def browse(folder: Path, *flags: str) -> str:
    """Runs the browser; what it prints."""
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run([BROWSER, *QUIET, *ALONE, profile, *flags], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = study_folder.write(tmp_path_factory.mktemp("browser") / "study")
    assert report([str(root), "--draws", "1000"]) == 0
    return root / "report"


@pytest.mark.parametrize("width", [1200, 360])
def test_nothing_is_wider_than_the_page_and_no_text_leaves_its_picture(folder, tmp_path, width):
    look = folder / f"look-{width}.html"
    look.write_text(LOOK.replace("WIDTH", str(width)))
    printed = browse(
        tmp_path, "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom", f"file://{look}"
    )
    found = json.loads(unescape(re.search(r'<pre id="said">(.*?)</pre>', printed, re.S)[1]))
    assert found["figures"] == 10
    assert found["wide"] == []
    assert found["scroll"] <= width
    assert found["cut"] == []
    assert found["small"] == []
    assert found["smallest"] >= 12


@pytest.mark.parametrize("width", [1200, 360])
def test_a_screenshot_shows_the_page(folder, tmp_path, width):
    picture = tmp_path / "picture.png"
    browse(tmp_path, f"--window-size={width},1500", f"--screenshot={picture}", f"file://{folder / 'report.html'}")
    data = picture.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (width, 1500)
    assert len(data) > 30_000  # an empty page is a few kilobytes
