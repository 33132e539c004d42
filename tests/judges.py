"""An OpenAI-compatible server on loopback, which replies as a test says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import log


def completion(text, chances=None, token=None):
    """A chat completion; with probabilities of first tokens where some are given."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    if chances is not None:
        top = [{"token": key, "logprob": log(chance)} for key, chance in chances.items()]
        choice["logprobs"] = {"content": [{"token": token or text, "logprob": -0.1, "top_logprobs": top}]}
    return {"object": "chat.completion", "choices": [choice]}


class Chat:
    """Replies to each POST with what `reply(prompt, body)` gives.

    That is a text, which becomes a completion, or content for JSON, raw bytes, (status, content) or (status, content,
    headers), or None to hang up.

    Attributes:
        asked: (path, headers, body) of each request.
    """

    def __init__(self, reply):
        self.reply = reply
        self.asked = []
        chat = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                chat.asked.append((self.path, dict(self.headers), body))
                said = chat.reply(body["messages"][0]["content"], body)
                if said is None:
                    self.close_connection = True
                    return
                status, content, headers = (*said, {})[:3] if isinstance(said, tuple) else (200, said, {})
                content = completion(content) if isinstance(content, str) else content
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(raw))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def prompts(self):
        return [body["messages"][0]["content"] for _, _, body in self.asked]

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *raised):
        self._server.shutdown()
        self._server.server_close()
