"""What the tables of this folder are played on: the real binary, and an application in front of which it stands."""

import http.server
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

DEADLINE = 20  # Seconds for everything that has to happen some time.
HERE = pathlib.Path(__file__).resolve().parent


class Proxy:
    """The binary with a file of its own, on addresses of nobody else."""

    def __init__(self, configuration):
        """`configuration` may name $HTTP and $CONTROL."""
        number = os.getpid()
        host = f"127.{1 + number % 253}.{1 + number // 253 % 253}.{1 + Proxy.count % 253}"
        Proxy.count += 1
        self.http, self.control = (host, 8080), (host, 7070)
        self.folder = tempfile.mkdtemp(prefix="perihelion-conformance-")
        file = os.path.join(self.folder, "perihelion.yaml")
        text = configuration.replace("$HTTP", f"{host}:8080").replace("$CONTROL", f"{host}:7070")
        pathlib.Path(file).write_text(text, encoding="utf-8")
        binary = os.environ.get("PERIHELION_BIN", HERE.parent.parent / "target/debug/perihelion")
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen([binary, "run", "-c", file], stdin=subprocess.DEVNULL, stderr=self.log)

    count = 0

    def __enter__(self):
        wait_until("the proxy is ready", lambda: self.is_running() and self.ask("/readyz") is not None)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder)

    def is_running(self):
        if self.process.poll() is not None:
            raise SystemExit(f"the proxy has ended with {self.process.returncode}\n{self.said()}")
        return True

    def said(self):
        return pathlib.Path(self.folder, "log").read_text(encoding="utf-8", errors="replace")

    def ask(self, path, body=None):
        """The body of an answer of the control port; None without a good one."""
        try:
            url = f"http://{self.control[0]}:{self.control[1]}{path}"
            with urllib.request.urlopen(url, data=body, timeout=DEADLINE) as answer:
                return answer.read()
        except (urllib.error.URLError, ConnectionError):
            return None


class Application:
    """A server of HTTP/1.1 in a thread, whose answers are a function's: of (method, path, headers, body) it makes
    (status, headers, body)."""

    def __init__(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                length = int(self.headers.get("Content-Length", 0))
                body = self.chunks() if self.is_chunked() else self.rfile.read(length)
                status, headers, body = answer(self.command, self.path, self.headers, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_POST = do_PUT = do_HEAD = do_OPTIONS = do_GET

            def is_chunked(self):
                return self.headers.get("Transfer-Encoding") == "chunked"

            def chunks(self):
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, *_):
                pass

            def handle(self):
                # A proxy that gives a request up closes its connection.
                try:
                    super().handle()
                except (OSError, ValueError):
                    pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def wait_until(what, condition):
    last = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > last:
            raise SystemExit(f"waited {DEADLINE} s until {what}")
        time.sleep(0.02)
