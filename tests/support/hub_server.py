"""A server on loopback that speaks what an upload to the Hugging Face Hub needs, and keeps what it is sent."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub:
    """Accepts repositories and commits of whoever brings its token; `refuses` names paths that it answers 403 to."""

    def __init__(self, *, token: str = "hf_secret") -> None:
        self.token, self.refuses = token, ""
        self.repos: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Authorization") != f"Bearer {hub.token}":
                    self.answer(401, {"error": "Invalid username or password."})
                elif hub.refuses and hub.refuses in self.path:
                    self.answer(403, {"error": "You don't have the rights to do this."})
                else:
                    self.answer(200, hub.reply(self.path, body))

            def do_GET(self) -> None:
                self.answer(404, {"error": "not here"})

            do_HEAD = do_GET

            def answer(self, status: int, value: Any) -> None:
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def reply(self, path: str, body: bytes) -> Any:
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = "/".join(filter(None, (wanted.get("organization"), wanted["name"])))
            self.repos[name] = wanted
            return {"url": f"{self.url}/{name}", "name": name}
        if "/preupload/" in path:
            files = [{"path": each["path"], "uploadMode": "regular"} for each in json.loads(body)["files"]]
            return {"files": [{**each, "shouldIgnore": False} for each in files]}
        if "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            name = path.removeprefix("/api/models/").partition("/commit/")[0]
            return {"commitUrl": f"{self.url}/{name}/commit/1", "commitOid": "1", "success": True}
        return {"errors": [], "warnings": []}
