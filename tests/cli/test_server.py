"""A real server as the image starts it: an ordinary user, demo mode, a base path, a proxy, and names that get no session."""

import asyncio
import functools
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240  # seconds, on a busy machine
pytestmark = pytest.mark.slow
BASE = "headprune"


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@functools.cache
def ordinary_user() -> tuple[str, ...]:
    """The beginning of a command that runs as user 1000 without any right of root; empty where the system forbids it."""
    command = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    allowed = (
        shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    )
    return command if allowed else ()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The entry point of the image under a base path, as an ordinary user."""
    folder = tmp_path_factory.mktemp("home")
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "HEADPRUNE_CACHE": str(folder / "cache"),
        "HEADPRUNE_ALLOWED_HOSTS": "demo.example.com *.example.org",
        "HEADPRUNE_BASE_PATH": BASE,
        "HEADPRUNE_ADDRESS": "127.0.0.1",
        "PORT": str(free_port()),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [*ordinary_user(), "sh", str(ROOT / "assets/docker/entrypoint.sh"), "--server.fileWatcherType", "none"]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while health_check(environment):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.2)
        yield environment | {"PID": str(process.pid)}
    finally:
        process.kill()
        process.wait()
        log.close()


def health_check(environment) -> int:
    """The exit status of the image's health check."""
    command = [sys.executable, str(ROOT / "assets/docker/healthcheck.py")]
    return subprocess.run(command, env=environment, check=False, timeout=60).returncode


def session(port: int, **headers):
    """A websocket to the app, as a browser opens it, with other headers such as Host."""
    options = {"subprotocols": ["streamlit"], "open_timeout": PATIENCE, "max_size": None}
    host = headers.pop("Host", None)
    address = f"ws://{host or '127.0.0.1'}:{port}/{BASE}/_stcore/stream"
    sock = socket.create_connection(("127.0.0.1", port))
    return connect(address, sock=sock, additional_headers=headers, **options)


def first_texts(websocket, wanted: str) -> str:
    """All texts that a new session is sent, until `wanted` is among them."""
    begin = BackMsg()
    begin.rerun_script.query_string = ""
    websocket.send(begin.SerializeToString())
    texts, deadline = "", time.monotonic() + PATIENCE
    while wanted not in texts:
        assert time.monotonic() < deadline, f"{wanted!r} was not sent"
        message = ForwardMsg()
        message.ParseFromString(websocket.recv(timeout=PATIENCE))
        texts += str(message.delta)
    return texts


def test_the_image_starts_in_demo_mode_under_its_base_path(server):
    with session(int(server["PORT"])) as websocket:
        assert "at most 240 examples" in first_texts(websocket, "Demo server")
    with urllib.request.urlopen(f"http://127.0.0.1:{server['PORT']}/{BASE}/", timeout=PATIENCE) as page:
        assert b"<html" in page.read()


def test_the_health_check_fails_where_nothing_answers(server):
    assert health_check(server) == 0
    assert health_check(server | {"PORT": str(free_port())}) == 1
    assert health_check(server | {"HEADPRUNE_BASE_PATH": "elsewhere"}) == 1


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.1.9"])
def test_a_foreign_name_gets_no_session(server, host):
    """A web page that gives its own name the address of this computer sends that name as Host and Origin."""
    port = int(server["PORT"])
    with pytest.raises(InvalidStatus) as refused:
        session(port, Host=host, Origin=f"http://{host}:{port}")
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "demo.example.com", "a.example.org"])
def test_allowed_names_get_a_session(server, host):
    with session(int(server["PORT"]), Host=host, Origin=f"http://{host}:{server['PORT']}") as websocket:
        assert websocket.subprotocol == "streamlit"


def test_another_origin_gets_no_session(server):
    with pytest.raises(InvalidStatus):
        session(int(server["PORT"]), Origin="http://evil.example")


async def _copy(reader, writer) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@contextmanager
def proxy(port: int):
    """A reverse proxy that adds the headers of one with HTTPS to the first request of each connection; yields its port."""

    async def serve(reader, writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if line and not line.lower().startswith(b"host:")]
        lines += [b"Host: demo.example.com", b"X-Forwarded-Proto: https", b"X-Forwarded-For: 203.0.113.9"]
        inward, outward = await asyncio.open_connection("127.0.0.1", port)
        outward.write(b"\r\n".join(lines) + b"\r\n\r\n")
        await asyncio.gather(_copy(reader, outward), _copy(inward, writer), return_exceptions=True)

    loop, own = asyncio.new_event_loop(), free_port()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    running = asyncio.run_coroutine_threadsafe(asyncio.start_server(serve, "127.0.0.1", own), loop).result(PATIENCE)
    try:
        yield own
    finally:
        loop.call_soon_threadsafe(running.close)

        async def stop() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


def test_a_session_opens_behind_a_proxy_with_https(server):
    with proxy(int(server["PORT"])) as port:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{BASE}/", headers={"Connection": "close"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as page:
            assert b"<html" in page.read()
        with session(port, Origin="https://demo.example.com") as websocket:
            first_texts(websocket, "Demo server")


def documented(name: str, server) -> str:
    """The settings of a proxy in the guide to hosting, for the running server."""
    guide = (ROOT / "assets/docs/hosting.md").read_text(encoding="utf-8")
    settings = re.search(rf"^{name}[^\n]*:\n\n((?:    [^\n]*\n)+)", guide, re.M | re.I)[1]
    return textwrap.dedent(settings).replace("8501", server["PORT"])


def nginx(folder: Path, port: int, settings: str) -> tuple[list[str], Path]:
    """The command that starts nginx with a certificate of its own, and the certificate."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=demo.example.com"]
    request += ["-addext", "subjectAltName=DNS:demo.example.com", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(request, check=True, capture_output=True)
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/log; events {{}}\n"
        f"http {{ access_log off; proxy_temp_path {folder}/proxy; client_body_temp_path {folder}/body; server {{\n"
        f"listen 127.0.0.1:{port} ssl; server_name demo.example.com;\n"
        f"ssl_certificate {certificate}; ssl_certificate_key {key};\n{settings}\n}} }}\n"
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], certificate


def caddy(folder: Path, port: int, settings: str) -> tuple[list[str], Path]:
    """The command that starts Caddy with its local authority, and the authority's certificate."""
    own = f"{{\nadmin off\nlocal_certs\nskip_install_trust\nauto_https disable_redirects\nhttps_port {port}\n}}\n"
    (folder / "Caddyfile").write_text(own + settings)
    command = ["env", f"XDG_DATA_HOME={folder}", f"HOME={folder}", "caddy", "run", "--adapter", "caddyfile"]
    return [*command, "--config", str(folder / "Caddyfile")], folder / "caddy/pki/authorities/local/root.crt"


@pytest.mark.parametrize("start", [nginx, caddy])
def test_the_documented_proxies_open_a_session_over_https(server, start, tmp_path):
    if any(shutil.which(needed) is None for needed in (start.__name__, "openssl")):
        pytest.skip(f"{start.__name__} is not installed")
    port = free_port()
    command, authority = start(tmp_path, port, documented(start.__name__, server))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        trusted = ssl.create_default_context()
        with answering(process, port, authority, trusted) as connection:
            connection.sendall(f"GET /{BASE}/ HTTP/1.1\r\nHost: demo.example.com\r\nConnection: close\r\n\r\n".encode())
            page = b"".join(iter(lambda: connection.recv(65536), b""))
        assert page.startswith(b"HTTP/1.1 200")
        assert b"<html" in page
        address, origin = f"wss://demo.example.com/{BASE}/_stcore/stream", "https://demo.example.com"
        secured = connect(
            address,
            sock=socket.create_connection(("127.0.0.1", port)),
            ssl=trusted,
            origin=origin,
            subprotocols=["streamlit"],
            max_size=None,
        )
        with secured as websocket:
            first_texts(websocket, "Demo server")
    finally:
        process.terminate()
        process.wait(PATIENCE)


def answering(process, port: int, authority: Path, trusted: ssl.SSLContext) -> ssl.SSLSocket:
    """A connection to a proxy over HTTPS as soon as it answers; `trusted` then trusts its certificate."""
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, "the proxy has ended"
        assert time.monotonic() < deadline, "the proxy does not answer"
        try:
            trusted.load_verify_locations(authority)
            plain = socket.create_connection(("127.0.0.1", port))
            return trusted.wrap_socket(plain, server_hostname="demo.example.com")
        except OSError:
            time.sleep(0.1)


@pytest.mark.skipif(not ordinary_user(), reason="user namespaces are not allowed here")
def test_the_server_has_no_rights_of_root(server):
    status = Path(f"/proc/{server['PID']}/status").read_text(encoding="utf-8")
    assert re.search(r"^CapEff:\t0+$", status, re.M)
