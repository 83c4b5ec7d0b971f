"""One server and a class: time to the first scores, long runs side by side, short requests meanwhile, and memory.

Run `python -m benchmarks.class_of_thirty`; it takes about ten minutes. Sessions are WebSocket clients, and a few tabs of
Chromium if Playwright and Chromium are installed. The table belongs in assets/docs/BENCHMARKS.md.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import torch

from . import machine
from .websocket_session import WebSocketSession

ROOT = Path(__file__).resolve().parent.parent
# Starts Streamlit as `streamlit run` does, and writes the session and the seconds of every chunk of computing to a file.
SERVER = """
import json, os, sys, time
from pages.parts.common import turns
log, end = open(os.environ["CHUNK_LOG"], "a", buffering=1), turns.Turns._end_chunk
def logged(self, ticket):
    before = ticket.seconds
    end(self, ticket)
    print(json.dumps([time.time(), id(ticket.session), ticket.name, ticket.seconds - before]), file=log)
turns.Turns._end_chunk = logged
from streamlit.web.cli import main
sys.argv = ["streamlit", "run", "app.py", *sys.argv[1:]]
main()
"""
SHORT_OPTIONS = 9  # pairs of objectives, which make different requests


@contextmanager
def started_server(folder: Path):
    """A server of its own cache on a free port; yields its address and process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"HEADPRUNE_CACHE": str(folder), "CHUNK_LOG": str(folder / "chunks.jsonl")}
    (folder / "chunks.jsonl").touch()
    command = [sys.executable, "-c", SERVER, "--server.headless", "true", "--server.port", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, **quiet)
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{url}_stcore/health", timeout=2):
                    break
            except OSError:
                time.sleep(0.1)
        yield url, psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def first_scores(url: str, n: int) -> tuple[list[WebSocketSession], list[float]]:
    """Open `n` sessions on Head scores at once; return them and the seconds until each shows scores."""
    sessions: list[WebSocketSession | None] = [None] * n
    seconds = [float("nan")] * n

    def open_one(i: int) -> None:
        start = time.monotonic()
        sessions[i] = WebSocketSession(url, "scores")
        sessions[i].wait_for(lambda: sessions[i].has("bidi_component"), 300)
        seconds[i] = time.monotonic() - start

    _together(open_one, n)
    return sessions, seconds


@contextmanager
def tabs(url: str, n: int):
    """Open `n` tabs of Chromium on Head scores; yields a function that returns the seconds until each shows scores."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        found = None
    if not found or not n:
        yield list
        return
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        start = time.monotonic()
        opened = [chromium.new_page() for _ in range(n)]
        for tab in opened:
            tab.goto(f"{url}scores", wait_until="commit")

        def scored() -> list[float]:
            seconds = []
            for tab in opened:
                tab.locator(".maps .grid").first.wait_for(timeout=300_000)
                seconds.append(time.monotonic() - start)
            return seconds

        yield scored
        chromium.close()


def long_runs(sessions: list[WebSocketSession]) -> None:
    """Start different curve runs, one in each session."""

    def start(i: int) -> None:
        sessions[i].open_page("accuracy")
        sessions[i].slide("Evaluation examples", 900 + i)
        sessions[i].click("Evaluate curves")

    _together(start, len(sessions))


def short_request(session: WebSocketSession, number: int) -> float:
    """Score by other options; return the seconds from the click until the new scores are shown."""
    session.choose("Gnorm objective", number % 3)
    session.choose("HIS objective", number // 3 % 3)
    session.choose("Entropy", number % 5)
    start = time.monotonic()
    session.click("Rescore heads")
    session.wait_for(lambda: "Current options." in session.texts() and not session.has("progress"))
    return time.monotonic() - start


def fairness(log: Path, start: float, n: int) -> tuple[dict[int, int], int, float]:
    """Return the chunks of each long run since `start`, the largest lead at any moment, and the longest chunk in seconds."""
    chunks = [json.loads(line) for line in log.read_text().splitlines()]
    chunks = [chunk for chunk in chunks if chunk[0] >= start and chunk[2] == "Evaluating curves"]
    counts, lead = Counter(), 0
    for _, session, _, _ in chunks:
        counts[session] += 1
        if len(counts) == n:
            lead = max(lead, max(counts.values()) - min(counts.values()))
    return dict(counts), lead, max(chunk[3] for chunk in chunks)


def cycles(url: str, server: psutil.Process, n: int) -> dict[int, float]:
    """Open and close sessions; return the server's memory in MiB after 20 and after `n` of them."""
    memory = {}
    for number in range(1, n + 1):
        session = WebSocketSession(url, "scores")
        session.wait_for(lambda: session.has("bidi_component"))  # noqa: B023 (called at once)
        session.close()
        if number in (20, n):
            time.sleep(3)
            memory[number] = server.memory_info().rss / 2**20
    return memory


def _together(work, n: int) -> None:
    errors = []

    def guarded(i: int) -> None:
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _spread(seconds: list[float]) -> str:
    return f"{min(seconds):.1f} / {statistics.median(seconds):.1f} / {max(seconds):.1f} s" if seconds else "–"


def main() -> None:
    """Run everything and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=27, help="WebSocket sessions (default 27)")
    parser.add_argument("--tabs", type=int, default=3, help="tabs of Chromium (default 3)")
    parser.add_argument("--runs", type=int, default=8, help="long runs at once (default 8)")
    parser.add_argument("--seconds", type=int, default=120, help="how long they are watched (default 120)")
    parser.add_argument("--cycles", type=int, default=200, help="sessions opened and closed (default 200)")
    asked = parser.parse_args()
    rows = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headprune-")))
        url, server = stack.enter_context(started_server(folder))
        with tabs(url, asked.tabs) as scored:
            sessions, seconds = first_scores(url, asked.sessions)
            rows += [("first scores, cold server (min / median / max)", _spread(seconds))]
            rows += [("the same in Chromium", _spread(scored()))]
        long_runs(sessions[: asked.runs])
        time.sleep(5)
        since = time.time()
        requests, switches = [], {}
        asking, browsing = sessions[asked.runs], sessions[asked.runs + 1]

        def ask() -> None:
            number = 1
            while time.time() < since + asked.seconds:
                requests.append(short_request(asking, number))
                number += 1
                time.sleep(1)

        def browse() -> None:
            while time.time() < since + asked.seconds:
                for path in ("alpha", "scores", "accuracy", "orthogonality"):
                    switches.setdefault(path, []).append(browsing.open_page(path))
                    time.sleep(0.5)

        _together(lambda i: (ask, browse)[i](), 2)
        counts, lead, longest = fairness(folder / "chunks.jsonl", since, asked.runs)
        rows += [(f"short requests during {asked.runs} long runs, n = {len(requests)}", _spread(requests))]
        for path, taken in switches.items():
            rows += [(f"switches to the page {path} meanwhile, n = {len(taken)}", _spread(taken))]
        rows += [("chunks of the long runs", " ".join(map(str, sorted(counts.values()))))]
        rows += [("largest lead of one run over another at any moment", f"{lead} chunks")]
        rows += [("longest chunk", f"{longest:.1f} s")]
        errors = [text for session in sessions for text in session.exceptions]
        rows += [("exceptions on pages", str(len(errors)))]
        for session in sessions:
            session.close()
        time.sleep(5)
        server.cpu_percent()
        rows += [("processor use 5 s after all tabs were closed", f"{server.cpu_percent(3):.0f}%")]
        memory = cycles(url, server, asked.cycles)
        first, last = memory[20], memory[asked.cycles]
        rows += [(f"memory after 20 and {asked.cycles} cycles", f"{first:.0f} and {last:.0f} MiB ({last / first - 1:+.1%})")]
    print(f"{machine.name(torch.device('cpu'))}\n\n| measure | value |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    for text in errors:
        print(text)


if __name__ == "__main__":
    main()
