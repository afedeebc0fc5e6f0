"""Takes the pictures of docs/images from a dashboard that runs: screenshots.py ADDRESS BOARD"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).resolve().parents[1] / "images"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def main(address: str, board: str) -> None:
    """Pictures of the fleet and of one board, as a laptop shows them."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        for name, path in (("fleet", "/"), ("board", f"/boards/{board}")):
            page.goto(address.rstrip("/") + path)
            page.wait_for_timeout(500)
            page.screenshot(path=IMAGES / f"dashboard-{name}.png")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:3])
