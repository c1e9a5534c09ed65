"""Chromium without a window, by its DevTools protocol."""

import base64
import json
import shutil
import subprocess
import time

from tornado.ioloop import IOLoop
from tornado.websocket import websocket_connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_SECONDS = 30


class Browser:
    """One page, with what it asked for over the network and what went wrong in it."""

    def __init__(self, folder):
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
                 "--no-first-run", "--remote-debugging-port=0",
                 f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen([CHROMIUM, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.loop = IOLoop(make_current=False)
        self.socket = self.loop.run_sync(lambda: websocket_connect(self._address(folder), max_message_size=2**28))
        self.number, self.requests, self.problems, self.loaded = 0, [], [], 0
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    session = None

    def _address(self, folder):
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                port, path = (folder / "DevToolsActivePort").read_text().split("\n")
                return f"ws://127.0.0.1:{port}{path}"
            except (FileNotFoundError, ValueError):
                time.sleep(0.02)
        raise TimeoutError("Chromium did not start")

    def ask(self, method, **parameters):
        """Return the answer to one command; events that come first are noted."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        self.socket.write_message(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while True:
            answer = self._read()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self):
        message = json.loads(self.loop.run_sync(self.socket.read_message, timeout=_SECONDS))
        event, facts = message.get("method"), message.get("params", {})
        if event == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        elif event in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.problems.append(facts)
        self.loaded += event == "Page.loadEventFired"
        return message

    def open(self, path, *, width=1400, height=900, scheme="light", media="", script=True):
        """Load a file at a width, in a colour scheme."""
        self.requests.clear()
        self.problems.clear()
        self.ask("Emulation.setScriptExecutionDisabled", value=not script)
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.ask("Emulation.setEmulatedMedia", media=media,
                 features=[{"name": "prefers-color-scheme", "value": scheme}])
        loaded = self.loaded
        self.ask("Page.navigate", url=path.resolve().as_uri())
        while self.loaded == loaded:
            self._read()

    def value(self, expression):
        """Return what JavaScript says of the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key, code):
        """Press and release a key where the focus is."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                     **({"text": "\r"} if key == "Enter" and kind == "keyDown" else {}))

    def click(self, expression):
        """Click the middle of an element."""
        self.value(f"({expression}).scrollIntoView({{block: 'center', inline: 'center'}})")
        x, y = self.value(f"(r => [r.x + r.width / 2, r.y + r.height / 2])(({expression}).getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path):
        """Write the whole page as a PNG file."""
        answer = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def close(self):
        self.socket.close()
        self.loop.close()
        self.process.terminate()
        self.process.wait(_SECONDS)
