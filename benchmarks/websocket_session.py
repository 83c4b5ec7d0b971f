"""A browser session without a browser: Streamlit's WebSocket protocol, with and the elements of the page on screen."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PATIENCE = 120.0  # seconds


class WebSocketSession:
    """A session of the app as the browser opens it; a thread receives its messages and answers timers.

    Args:
        url: Address of the server, as in "http://127.0.0.1:8501/".
        path: The page, as in "scores"; empty for the first one.
        query: The query string of the link.
        headers: Further headers of the request, such as Host.

    Attributes:
        elements: By place on the page, the elements as Streamlit's messages.
        pages: Hash of each page by URL path.
        exceptions: Tracebacks that the page showed.
        ended: Why the connection has ended; empty while it is open.
    """

    def __init__(self, url: str, path: str = "", query: str = "", headers: dict[str, str] | None = None):
        self.elements: dict[tuple, tuple[int, str, object]] = {}
        self.pages: dict[str, str] = {}
        self.exceptions: list[str] = []
        self.ended = ""
        self._page, self._query, self._run = "", query, 0
        self._states: dict[str, WidgetState] = {}
        self._timers: dict[str, tuple[int, float, float]] = {}  # by fragment: run that set it, time due, interval
        self._finished = threading.Condition()
        self._runs_finished = 0
        address = f"ws://{urlsplit(url).netloc}{urlsplit(url).path.rstrip('/')}/_stcore/stream"
        options = {
            "subprotocols": ["streamlit"],
            "max_size": None,
            "compression": None,
            "ping_interval": None,
            "open_timeout": 60,
        }
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(connect(address, additional_headers=headers or {}, **options))
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._rerun(page_name=path)

    def close(self) -> None:
        """Close the tab."""
        self._closed.set()
        self._stack.close()
        self._reader.join(10)

    def open_page(self, path: str) -> float:
        """Open another page by its URL path; return the seconds until it is drawn."""
        self._page, self._states = self.pages[path], {}
        return self._answered(lambda: self._rerun())

    def click(self, label: str) -> float:
        """Click the button with this label; return the seconds until the page is drawn again."""
        return self._answered(lambda: self._rerun({self.widget("button", label).id: {"trigger_value": True}}))

    def choose(self, label: str, index: int) -> float:
        """Choose an option of a select box by its number; return the seconds until the page is drawn again."""
        box = self.widget("selectbox", label)
        self._states[box.id] = WidgetState(id=box.id, string_value=box.options[index])
        return self._answered(lambda: self._rerun())

    def slide(self, label: str, value: float) -> float:
        """Move a slider to a value, or to an option by its number; return the seconds until the page is drawn again."""
        slider = self.widget("slider", label)
        state = WidgetState(id=slider.id)
        if slider.options:
            state.string_array_value.data.append(slider.options[int(value)])
        else:
            state.double_array_value.data.append(value)
        self._states[slider.id] = state
        return self._answered(lambda: self._rerun())

    def widget(self, kind: str, label: str):
        """Return the message of a widget by its kind and label; that of the main area first."""
        with self._finished:
            found = sorted((place, e) for place, (_, k, e) in self.elements.items() if k == kind and e.label == label)
        assert found, f"the page has no {kind} {label!r}; texts: {self.texts()[:20]}"
        return found[0][1]

    def texts(self) -> list[str]:
        """Texts, errors, and steps of progress bars on the page, in its order."""
        with self._finished:
            drawn = sorted((place, kind, element) for place, (_, kind, element) in self.elements.items())
        fields = {"markdown": "body", "heading": "body", "alert": "body", "progress": "text", "exception": "message"}
        return [getattr(element, fields[kind]) for _, kind, element in drawn if kind in fields]

    def has(self, kind: str) -> bool:
        """Whether the page has an element of this kind."""
        with self._finished:
            return any(k == kind for _, k, _ in self.elements.values())

    def wait_for(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> float:
        """Wait until a condition of the page holds; return the seconds."""
        start = time.monotonic()
        with self._finished:
            while not condition():
                left = start + seconds - time.monotonic()
                state = f"{self.ended or 'the connection is open'}; texts: {self.texts()[-20:]}"
                assert left > 0, f"not within {seconds:g} s; {state}"
                assert not self.ended, state
                self._finished.wait(min(left, 0.2))
        return time.monotonic() - start

    def _answered(self, send: Callable[[], None]) -> float:
        with self._finished:
            before = self._runs_finished
        start = time.monotonic()
        send()
        self.wait_for(lambda: self._runs_finished > before)
        return time.monotonic() - start

    def _rerun(self, triggers: dict[str, dict] | None = None, fragment: str = "", page_name: str = "") -> None:
        message = BackMsg()
        client = message.rerun_script
        client.query_string, client.page_script_hash, client.page_name = self._query, self._page, page_name
        client.fragment_id, client.is_auto_rerun = fragment, bool(fragment)
        client.context_info.timezone = "UTC"
        client.widget_states.widgets.extend(self._states.values())
        client.widget_states.widgets.extend(WidgetState(id=key, **value) for key, value in (triggers or {}).items())
        self._socket.send(message.SerializeToString())

    def _read(self) -> None:
        while not self._closed.is_set():
            try:
                data = self._socket.recv(timeout=self._next_timer())
            except TimeoutError:
                self._fire_timers()
                continue
            except ConnectionClosed as closed:
                self.ended = f"the server closed the connection: {closed}"
                return
            message = ForwardMsg()
            message.ParseFromString(data)
            with self._finished:
                self._take(message)
                self._finished.notify_all()
            self._fire_timers()

    def _next_timer(self) -> float:
        due = min((due for _, due, _ in list(self._timers.values())), default=time.monotonic() + 0.5)
        return max(0.01, due - time.monotonic())

    def _fire_timers(self) -> None:
        now = time.monotonic()
        for fragment, (run, due, interval) in list(self._timers.items()):
            if due <= now:
                self._timers[fragment] = run, now + interval, interval
                try:
                    self._rerun(fragment=fragment)
                except ConnectionClosed:
                    return

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session":
            if not getattr(message.new_session, "fragment_ids_this_run", ()):
                self._page = message.new_session.page_script_hash or self._page
            self._run += 1
        elif kind == "navigation":
            self.pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
            self._page = message.navigation.page_script_hash
        elif kind == "auto_rerun":
            interval = message.auto_rerun.interval
            self._timers[message.auto_rerun.fragment_id] = self._run, time.monotonic() + interval, interval
        elif kind == "delta":
            self._draw(tuple(message.metadata.delta_path), message.delta)
        elif kind == "script_finished":
            self._end(message.script_finished)

    def _draw(self, place: tuple, delta) -> None:
        if delta.WhichOneof("type") != "new_element":
            return
        element = delta.new_element
        kind = element.WhichOneof("type")
        if kind == "exception":
            self.exceptions.append(f"{element.exception.type}: {element.exception.message}")
        self.elements[place] = self._run, kind, getattr(element, kind) if kind else None

    def _end(self, status: int) -> None:
        if status == ForwardMsg.FINISHED_SUCCESSFULLY:
            self.elements = {place: drawn for place, drawn in self.elements.items() if drawn[0] == self._run}
            self._timers = {fragment: timer for fragment, timer in self._timers.items() if timer[0] == self._run}
            self._runs_finished += 1
