"""Pictures of the report and of TensorBoard's mesh tab, in a browser without a window.

The Landscape tab draws runs with the same code as the report.
"""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image, ImageStat
from PIL.PngImagePlugin import PngInfo
from torch.utils.tensorboard import SummaryWriter

from lightning_landscape import add_surface
from lightning_landscape.evidence import Plane
from lightning_landscape.reporting.page import Document, report_page

PATIENCE = 120
"""seconds after which waiting for the browser ends"""
MESH_LEFT, MESH_TOP = 320, 220
"""pixels of the mesh tab that are left of and above the mesh"""
LEAST_MESH = 0.05
"""share of the mesh tab that a mesh covers at least"""
WIDTH = 1280
"""pixels of the page"""
MARGIN = 4
"""pixels around the parts that a picture of a page shows"""
COLOURS = 96
"""colours of a picture, so that its file is small"""


def write_screenshots(documents: Mapping[str, Document], folder: Path) -> None:
    """Write pictures of the page of the first run, and of all runs side by side in dark colours.

    Without Chromium, it says so and leaves the pictures as they are.
    """
    if not _has_chromium():
        print("Chromium is not installed (make browser), so the pictures of the Landscape tab are left as they are.")
        return
    first = dict([next(iter(documents.items()))])
    with tempfile.TemporaryDirectory() as temporary:
        browser = _chromium(Path(temporary) / "profile", "--disable-gpu")
        try:
            _open(browser, first, Path(temporary) / "one.html", "light")
            _screenshot(browser, folder / "tab.png", 820)
            _open(browser, documents, Path(temporary) / "all.html", "dark")
            _screenshot(browser, folder / "side-by-side.png", 1100)
        finally:
            browser.quit()


def write_hero(report: Path, path: Path, texts: Mapping[str, str]) -> None:
    """Write a picture of what a report shows first, its card and the loss.

    Without Chromium, it says so and leaves the picture as it is.

    Args:
        report: the HTML file.
        path: the picture.
        texts: texts to put into the picture's file, by their keys.
    """
    if not _has_chromium():
        print("Chromium is not installed (make browser), so the picture of the README is left as it is.")
        return
    information = PngInfo()
    for key, text in texts.items():
        information.add_itxt(key, text)
    with tempfile.TemporaryDirectory() as temporary:
        browser = _chromium(Path(temporary) / "profile", "--disable-gpu")
        try:
            _set_size(browser, WIDTH, 2000)
            _show(browser, report, "light", 1)
            top, _ = _extent(browser, "section.verdict")
            _, bottom = _extent(browser, "figure.course")
            _screenshot(browser, path, bottom + MARGIN, top - MARGIN, information)
        finally:
            browser.quit()


def write_surface(plane: Plane, step: int, path: Path) -> None:
    """Write a picture of the plane as a surface in TensorBoard's mesh tab; without Chromium, do nothing."""
    if not _has_chromium():
        return
    with tempfile.TemporaryDirectory() as temporary:
        with SummaryWriter(f"{temporary}/logs") as writer:
            add_surface(writer, plane, step)
        with _tensorboard(f"{temporary}/logs") as url:
            # Without a graphics card, the software renderer draws the mesh.
            browser = _chromium(Path(temporary) / "profile", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
            try:
                _set_size(browser, 1100, 1000)
                browser.get(f"{url}/#mesh")
                _quantized(_wait(browser, _mesh)).save(path, optimize=True)
            finally:
                browser.quit()


def _mesh(browser: Any) -> Image.Image | None:
    """Return the part of the mesh tab that has colours; None before the mesh is drawn, since all else there is grey."""
    whole = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    tab = whole.crop((MESH_LEFT, MESH_TOP, whole.width - 40, whole.height))
    coloured = tab.convert("HSV").getchannel("S").point(lambda saturation: 255 * (saturation > 80))
    if ImageStat.Stat(coloured).mean[0] < 255 * LEAST_MESH:
        return None
    return tab.crop(coloured.getbbox())


@contextmanager
def _tensorboard(logdir: str) -> Iterator[str]:
    """Start TensorBoard on a free port, wait until it answers, and stop it in the end.

    Yields:
        its address
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = "import sys; from tensorboard.main import run_main; sys.exit(run_main())"
    command = [sys.executable, "-c", program, "--logdir", logdir, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end:
            with suppress(OSError), urllib.request.urlopen(f"{url}/data/plugins_listing", timeout=PATIENCE):
                break
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.communicate()


def _has_chromium() -> bool:
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


def _chromium(profile: Path, *arguments: str) -> Any:
    """Return a headless Chromium without background network access, started with further arguments."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (
        *(
            "--headless",
            "--no-sandbox",
            "--disable-quic",
            "--no-first-run",
            "--disable-sync",
            "--hide-scrollbars",
            *arguments,
        ),
        *("--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}"),
    ):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def _open(browser: Any, documents: Mapping[str, Document], page: Path, colours: str) -> None:
    """Write the report of these runs to this file, and open it in light or dark colours."""
    page.write_text(report_page(documents), encoding="utf-8")
    _show(browser, page, colours, len(documents))


def _show(browser: Any, page: Path, colours: str, runs: int) -> None:
    """Open a page with this number of runs in light or dark colours, and wait until its figures are drawn."""
    scheme = [{"name": "prefers-color-scheme", "value": colours}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    browser.get(page.as_uri())
    _wait(browser, lambda _: len(browser.find_elements("css selector", "figure.course svg path.line")) >= runs)


def _wait(browser: Any, condition: Callable[[Any], Any]) -> Any:
    """Call `condition` with the browser until the result counts as true, and return that."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, PATIENCE).until(condition)


def _set_size(browser: Any, width: int, height: int) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def _extent(browser: Any, part: str) -> tuple[int, int]:
    """Return top and bottom of the first element that this selector finds, in pixels from the top of the page."""
    box = browser.execute_script("return document.querySelector(arguments[0]).getBoundingClientRect()", part)
    return round(box["top"]), round(box["bottom"])


def _screenshot(browser: Any, path: Path, bottom: int, top: int = 0, information: PngInfo | None = None) -> None:
    """Write the page between two distances from its top in pixels, with this information in the file."""
    _set_size(browser, WIDTH, bottom)
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png()))
    picture = _quantized(picture.crop((0, max(0, top), picture.width, picture.height)))
    picture.save(path, optimize=True, pnginfo=information)


def _quantized(picture: Image.Image) -> Image.Image:
    return picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
