"""An S3 server on this machine, and what it was asked for."""

import logging
import os
import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    import s3fs

BUCKET = "lab"
_ASKED = re.compile(r"(GET|PUT|DELETE) /[^ ]*/[0-9a-f]{16}/((?:frames|small|motion|latents\.zarr)/[^ ?]*)")

SECRET = "a-secret-that-nobody-prints"


def choose_server() -> None:
    """Where the server of this test process will be, and with which credentials, as S3's own tools find them.

    Set before Ray is started, whose workers are to find them, too.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        AWS_ACCESS_KEY_ID="tests",
        AWS_SECRET_ACCESS_KEY=SECRET,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
    )


@contextmanager
def served() -> Iterator["s3fs.S3FileSystem"]:
    """The server, with an empty bucket, while the block runs."""
    # Imported by those tests alone that have a server.
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it tells every request
    port = int(os.environ["AWS_ENDPOINT_URL"].rsplit(":", 1)[1])
    server = ThreadedMotoServer("127.0.0.1", port)
    server.start()
    # What another server of this process was given is still there.
    urlopen(Request(f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")).close()
    try:
        system = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
        system.mkdir(BUCKET)
        yield system
    finally:
        server.stop()


class Asked(logging.Handler):
    """Counts what the server is asked for of shards: "GET frames/00000.h5", whatever their attempt."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        found = _ASKED.search(record.getMessage())
        if found:
            self.counts[f"{found[1]} {found[2]}"] += 1


@contextmanager
def requests() -> Iterator[Counter[str]]:
    """What the server is asked for while the block runs."""
    log, handler = logging.getLogger("werkzeug"), Asked()
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield handler.counts
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before
