#!/usr/bin/env python3
"""Tries haproxy/haproxy.cfg: HAProxy runs with it natively, before two stand-ins for gateways.

Only addresses are changed (the listeners' ports, and the two stand-ins in place of what Docker's name server would tell),
and the number of connections.
Takes about 20 s, since a stream that says nothing for 16 s must outlive them.
"""

import http.client
import http.server
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

CONFIG = pathlib.Path(__file__).resolve().parent / "haproxy/haproxy.cfg"
SILENCE = 16  # more than STREAM_HEARTBEAT and REQUEST_TIMEOUT of a gateway


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class QuietServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A health check ends its connection by a reset: no error of ours."""


class Gateway:
    """Answers as a gateway would, as far as the load balancer can tell."""

    def __init__(self, name):
        self.name, self.ready, self.seen = name, True, []
        self.port, self.ops_port = free_port(), free_port()
        self.servers = [self.listen(self.port), self.listen(self.ops_port)]

    def listen(self, port):
        gateway = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                if self.path == "/readyz":
                    return self.answer(200 if gateway.ready else 503, b"")
                gateway.seen.append(self.path)
                if self.path == "/slow":
                    time.sleep(SILENCE - 1)
                if self.path.endswith("/stream"):
                    self.send_response(200)
                    self.send_header("Content-Type", "text/event-stream")
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for line in (b"event: position\n\n", b"event: result\n\n"):
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                        if line.startswith(b"event: position"):
                            time.sleep(SILENCE)
                    return self.wfile.write(b"0\r\n\r\n")
                told = {"gateway": gateway.name, "from": self.headers.get_all("X-Forwarded-For")}
                return self.answer(200, json.dumps(told).encode())

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                gateway.seen.append(self.path)
                if self.path == "/dies":
                    self.close_connection = True
                    return self.connection.shutdown(socket.SHUT_RDWR)
                return self.answer(202, gateway.name.encode())

        server = QuietServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def stop(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()


def check(what, holds):
    if not holds:
        sys.exit(f"edge: FAILED: {what}")
    print(f"edge: {what}")


class Edge:
    def __init__(self, gateways, folder):
        self.port, self.own_port = free_port(), free_port()
        servers = "".join(
            f"    server {g.name} 127.0.0.1:{g.port} check port {g.ops_port}\n" for g in gateways)
        text = CONFIG.read_text()
        for old, new in ((r"bind :8080", f"bind 127.0.0.1:{self.port}"),
                         (r"bind :8404", f"bind 127.0.0.1:{self.own_port}"),
                         (r"maxconn 20000", "maxconn 1000"),  # as many files as that takes, not every machine allows
                         (r"    server-template .*\n", servers)):
            text, changed = re.subn(old, new, text)
            check(f"the configuration has one `{old.strip()}`", changed == 1)
        path = pathlib.Path(folder) / "haproxy.cfg"
        path.write_text(text)
        self.process = subprocess.Popen(["haproxy", "-db", "-f", str(path)], stdout=subprocess.DEVNULL)

    def connection(self, port=None):
        return http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=30)

    def ask(self, method, path, body=None, headers=None, port=None):
        c = self.connection(port)
        try:
            c.request(method, path, body, headers or {})
            answer = c.getresponse()
            return answer.status, answer.read()
        finally:
            c.close()

    def gateways(self, n=20):
        """Who answers n requests; None for an answer that is not 200."""
        answers = [self.ask("GET", "/v1/events") for _ in range(n)]
        return {json.loads(body)["gateway"] if status == 200 else None for status, body in answers}

    def until(self, wanted, seconds=6):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.gateways(6) == wanted:
                return True
            time.sleep(0.1)
        return False


def main():
    one, two = gateways = [Gateway("one"), Gateway("two")]
    with tempfile.TemporaryDirectory() as folder:
        edge = Edge(gateways, folder)
        try:
            run(edge, one, two)
        finally:
            edge.process.terminate()
            edge.process.wait()
    print("edge: all checks passed")


def run(edge, one, two):
    for _ in range(100):
        try:
            if edge.ask("GET", "/healthz", port=edge.own_port)[0] == 200:
                break
        except OSError:
            time.sleep(0.05)
    check("both gateways are asked", edge.until({"one", "two"}))

    # In the background: an answer that takes as long as a gateway may, and a stream that is silent for longer.
    slow = []
    waiting = threading.Thread(target=lambda: slow.append(edge.ask("GET", "/slow")[0]))
    waiting.start()
    stream = edge.connection()
    began = time.monotonic()
    stream.request("GET", "/v1/entries/1/stream")
    lines = stream.getresponse()
    first = lines.readline()
    check("a stream's first line comes at once", first == b"event: position\n" and time.monotonic() - began < 1)
    streaming = one if "/v1/entries/1/stream" in one.seen else two
    other = two if streaming is one else one

    _, body = edge.ask("GET", "/v1/events", headers={"X-Forwarded-For": "192.0.2.1"})
    check("a client cannot name its own address", json.loads(body)["from"] == ["127.0.0.1"])
    status, body = edge.ask("POST", "/v1/activities", b"x" * 262_145)
    check("a body over 256 KiB is 413 BODY_TOO_LARGE", status == 413 and json.loads(body)["code"] == "BODY_TOO_LARGE")
    check("and one of 256 KiB passes", edge.ask("POST", "/v1/activities", b"x" * 262_144)[0] == 202)

    before = len(one.seen) + len(two.seen)
    status, _ = edge.ask("POST", "/dies", b"{}")
    check("a request that a gateway has read is not sent to another", status == 502 and len(one.seen) + len(two.seen) == before + 1)

    streaming.ready = False
    check("an unready gateway gets nothing more", edge.until({other.name}))
    other.ready = False
    check("where none is ready nobody answers", edge.until({None}))
    c = edge.connection()
    c.request("GET", "/v1/events")
    answer = c.getresponse()
    check("but 503 UNAVAILABLE with Retry-After",
          (answer.status, answer.getheader("Retry-After"), json.loads(answer.read())["code"]) == (503, "2", "UNAVAILABLE"))
    c.close()
    one.ready = two.ready = True
    check("both are asked again", edge.until({"one", "two"}))

    waiting.join()
    check("an answer that takes a gateway's whole time arrives", slow == [200])
    rest = lines.read()
    check(f"the stream outlived {SILENCE} s of silence and its gateway's unreadiness",
          rest == b"\nevent: result\n\n" and time.monotonic() - began >= SILENCE)

    other.stop()
    check("while a gateway is gone and not yet found out, the other one answers", edge.gateways(30) == {streaming.name})
    status, body = edge.ask("GET", "/metrics", port=edge.own_port)
    check("HAProxy's own metrics are there", status == 200 and b"haproxy_backend_http_responses_total" in body)


main()
