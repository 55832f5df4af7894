"""The HTTP client against a small real server."""

import base64
import http.server
import json
import socket
import threading

import pytest

from project.core.api_client import ApiClient, http_call
from project.core.errors import ApiError


class Handler(http.server.BaseHTTPRequestHandler):
    seen: list
    answers: dict

    def do_GET(self):
        self._answer()

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_args):
        pass

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.command, self.path, self.headers.get("Authorization"), body))
        status, answer = self.answers.get(self.path.partition("?")[0], (200, {"success": True}))
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture
def server():
    handler = type("Bound", (Handler,), {"seen": [], "answers": {}})
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    httpd.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.seen, httpd.answers = handler.seen, handler.answers
    yield httpd
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_calls_and_credentials_travel(server):
    server.answers["/jobs"] = (200, {"jobs": [{"job_uuid": "u"}]})
    client = ApiClient(http_call(server.url, "ann", "pass:word ß"))
    assert client.jobs(state="FAILED", limit="") == [{"job_uuid": "u"}]
    client.report("u", [{"id": "e"}], {"nodes": 4})
    method, path, authorization, _ = server.seen[0]
    assert (method, path) == ("GET", "/jobs?state=FAILED")
    assert base64.b64decode(authorization.split()[1]).decode() == "ann:pass:word ß"
    method, path, _, body = server.seen[1]
    assert (method, path) == ("POST", "/jobs/u/events")
    assert json.loads(body) == {"events": [{"id": "e"}], "status": {"nodes": 4}}


def test_a_name_with_slashes_stays_one_part_of_the_path(server):
    ApiClient(http_call(server.url)).delete_cluster("../jobs/ü")
    assert server.seen[0][1] == "/clusters/..%2Fjobs%2F%C3%BC"


@pytest.mark.parametrize(("status", "transient"), [(400, False), (401, False), (404, False), (429, True), (503, True)])
def test_a_refusal_keeps_the_servers_words_and_status(server, status, transient):
    server.answers["/jobs/u"] = (status, {"error": "no such thing"})
    with pytest.raises(ApiError, match="no such thing") as caught:
        ApiClient(http_call(server.url, token="t0ken")).job("u")
    assert (caught.value.status, caught.value.transient) == (status, transient)
    assert "t0ken" not in str(caught.value)


def test_a_redirect_is_not_followed_with_the_credentials(server):
    server.answers["/healthz"] = (302, b"")
    with pytest.raises(ApiError) as caught:
        ApiClient(http_call(server.url, token="t0ken")).health()
    assert caught.value.status == 302
    assert len(server.seen) == 1


def test_an_answer_that_is_not_the_api_is_refused(server):
    server.answers["/healthz"] = (200, b"<html>a proxy</html>")
    with pytest.raises(ApiError, match="not the API"):
        ApiClient(http_call(server.url)).health()


def test_no_server_is_transient_and_without_status():
    with pytest.raises(ApiError, match="does not answer") as caught:
        ApiClient(http_call("http://127.0.0.1:9", timeout=2)).health()
    assert caught.value.transient
    assert caught.value.status == 0


@pytest.mark.parametrize("url", ["ftp://x", "nonsense", "http://ann:sesame@host"])
def test_a_bad_address_is_refused_without_showing_a_password(url):
    with pytest.raises(ApiError) as caught:
        http_call(url)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/é", "http://[", "http://127.0.0.1:port", "http://a b:1", "http://a\nb", "ftp://a"]
)
def test_an_address_that_is_none(url):
    with pytest.raises(ApiError, match="not an http"):
        http_call(url)


@pytest.mark.parametrize("token", ["hidden\nX-Evil: 1", "hidden\n", "hidden€", "hid den"])
def test_a_token_that_is_none_is_not_shown(token):
    with pytest.raises(ApiError, match="API token") as caught:
        http_call("http://127.0.0.1:1", token=token)
    assert "hid" not in str(caught.value)


def test_a_refusal_that_is_cut_off_is_a_refusal():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        head = b"HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\n\r\n40\r\ncut"

        def answer():
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(head)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ApiError) as caught:
            ApiClient(http_call(f"http://127.0.0.1:{listening.getsockname()[1]}")).health()
        thread.join()
    assert (caught.value.status, caught.value.transient) == (502, True)
