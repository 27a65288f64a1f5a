"""A Jobs API that runs nothing: what a Ray cluster answers over HTTP, told what becomes of its jobs."""

import asyncio
import threading
from typing import Any

import ray
from aiohttp import WSCloseCode, web

TOKEN = "the-right-token"


class JobsApi:
    """Serves on a free port of loopback in a thread of its own.

    A job walks through its `course` of states, one a question, and stays in the last. Its log is sent whole over every
    connection; `cuts` says after how many characters the first connections break.
    """

    def __init__(self, course: tuple[str, ...] = ("RUNNING", "SUCCEEDED"), exit_code: int | None = 0) -> None:
        self.course, self.exit_code = course, exit_code
        self.jobs: dict[str, list[str]] = {}
        self.log, self.cuts = "", []
        self.calls: list[str] = []
        self.submitted: list[dict[str, Any]] = []
        self.message: str | None = None

    def __enter__(self) -> "JobsApi":
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *failure: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(middlewares=[self._check_token])
        app.add_routes(
            [
                web.get("/api/version", self._version),
                web.get("/api/packages/{protocol}/{name}", self._accept),
                web.post("/api/jobs/", self._submit),
                web.get("/api/jobs/{id}", self._details),
                web.get("/api/jobs/", self._list),
                web.post("/api/jobs/{id}/stop", self._stop),
                web.get("/api/jobs/{id}/logs/tail", self._tail),
            ]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = site._server.sockets[0].getsockname()[1]
        ready.set()
        await self._ended.wait()
        await runner.cleanup()

    @web.middleware
    async def _check_token(self, request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.headers.get("Authorization")
        if given != f"Bearer {TOKEN}":
            return web.Response(status=403 if given else 401, text="no")
        self.calls.append(f"{request.method} {request.path}")
        return await handler(request)

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "4", "ray_version": ray.__version__, "ray_commit": "", "session_name": ""})

    async def _accept(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _submit(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.submitted.append(body)
        self.jobs[body["submission_id"]] = list(self.course)
        return web.json_response({"job_id": body["submission_id"], "submission_id": body["submission_id"]})

    async def _list(self, request: web.Request) -> web.Response:
        jobs = [{"type": "DRIVER", "job_id": "01000000", "status": "RUNNING", "entrypoint": ""}]
        jobs += [self._described(name, states[0]) for name, states in self.jobs.items()]
        return web.json_response(jobs)

    async def _details(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        left = self.jobs.get(name)
        if left is None:
            return web.Response(status=404, text="does not exist")
        return web.json_response(self._described(name, left.pop(0) if len(left) > 1 else left[0]))

    def _described(self, name: str, state: str) -> dict[str, Any]:
        ended = state in ("SUCCEEDED", "FAILED", "STOPPED")
        return {
            "type": "SUBMISSION",
            "submission_id": name,
            "status": state,
            "entrypoint": "",
            "message": self.message,
            "driver_exit_code": self.exit_code if ended else None,
        }

    async def _stop(self, request: web.Request) -> web.Response:
        self.jobs[request.match_info["id"]] = ["RUNNING", "RUNNING", "STOPPED"]
        return web.json_response({"stopped": True})

    async def _tail(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if self.cuts:
            await socket.send_str(self.log[: self.cuts.pop(0)])
            await socket.close(code=WSCloseCode.ABNORMAL_CLOSURE)
            return socket
        await socket.send_str(self.log)
        return socket
