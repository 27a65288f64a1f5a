"""A bucket on an S3 server of this machine, for tests of results on an object store."""

import contextlib
import threading
from collections.abc import Iterator

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET = "results"


class S3Server:
    """An S3 server on loopback. It answers one request at a time, so that its conditional PUT is atomic."""

    def __init__(self) -> None:
        self.application = DomainDispatcherApplication(create_backend_app)
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listen, on the same port as before; the objects are still there."""
        self.server = make_server("127.0.0.1", self.port, self.application, threaded=False)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Refuse connections."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What a client of it needs."""
        credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        return credentials | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

    @contextlib.contextmanager
    def gone_for(self, seconds: float) -> Iterator[None]:
        """The server is away while the block begins, and comes back by itself."""
        self.stop()
        timer = threading.Timer(seconds, self.start)
        timer.start()
        try:
            yield
        finally:
            timer.join()
