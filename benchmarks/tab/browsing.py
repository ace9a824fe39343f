"""TensorBoard as a user starts it, and a browser without a window."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 600
"""seconds after which waiting ends; far more than is needed on a busy machine"""


class Server:
    """The address and the process of a running TensorBoard."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url, self.process = url, process

    def ask(self, path: str) -> Any:
        """Return the JSON at this path."""
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
            return json.load(answer)


@contextmanager
def tensorboard(site: Path, logdir: Path, *arguments: str, before: str = "", prefix: str = "") -> Iterator[Server]:
    """Start TensorBoard, wait until it answers, and stop it in the end.

    Args:
        site: directory from which this library is imported.
        logdir: directory of the runs.
        arguments: further arguments of the command.
        before: Python code that runs before TensorBoard is imported.
        prefix: the path in the argument ``--path_prefix``.

    Yields:
        The running TensorBoard.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = f"{before}\nimport sys\nfrom tensorboard.main import run_main\nsys.exit(run_main())"
    command = [sys.executable, "-c", program, "--logdir", str(logdir), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [*command, *arguments],
        env={**os.environ, "PYTHONPATH": str(site)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=logdir,
    )
    server = Server(f"http://127.0.0.1:{port}{prefix}", process)

    def answers() -> Any:
        try:
            return server.ask("/data/plugins_listing")
        except OSError:
            if process.poll() is not None and process.stderr is not None:
                raise RuntimeError(process.stderr.read().decode()[-2000:]) from None
            return None

    try:
        until(answers)
        yield server
    finally:
        process.terminate()
        process.communicate()


def until(condition: Callable[[], Any]) -> Any:
    """Call `condition` until its result is true, and return that; TensorBoard reads its files in the background.

    Raises:
        TimeoutError: if that takes longer than `PATIENCE`.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            if value := condition():
                return value
        except Exception as error:
            if type(error).__name__ != "StaleElementReferenceException":  # the page has just replaced the element
                raise
        if time.monotonic() > end:
            raise TimeoutError(f"still false after {PATIENCE} s")
        time.sleep(0.05)


def chromium(profile: Path, width: int = 1440, height: int = 1200) -> Any:
    """Return a headless Chromium with a window of this size and no background network access; None without one."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        return None
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", f"--window-size={width},{height}"),
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


def set_colours(browser: Any, *, dark: bool) -> None:
    """Let pages see a system with light or dark colours."""
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})


def open_tab(browser: Any, url: str) -> None:
    """Open an address of TensorBoard, and switch to the frame of the Landscape tab."""
    from selenium.webdriver.common.by import By

    browser.get("about:blank")
    browser.get(url)
    until(lambda: browser.find_elements(By.CSS_SELECTOR, "iframe"))
    browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe"))
