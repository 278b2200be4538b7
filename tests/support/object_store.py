"""Run an S3 server on this machine, and count the requests to it."""

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
    """Choose the port and credentials of this test process's server, and set the variables that S3's own tools read.

    Call it before Ray is started, since Ray's workers inherit the variables.
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
    """Run the server with an empty bucket while the block runs; yield a file system that uses it."""
    # These are imported here, so that only tests that use a server load them.
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # otherwise every request is logged
    port = int(os.environ["AWS_ENDPOINT_URL"].rsplit(":", 1)[1])
    server = ThreadedMotoServer("127.0.0.1", port)
    server.start()
    # An earlier server of this process leaves its objects, so they are removed.
    urlopen(Request(f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")).close()
    try:
        system = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
        system.mkdir(BUCKET)
        yield system
    finally:
        server.stop()


class Asked(logging.Handler):
    """Counts the requests for files of shards, such as "GET frames/00000.h5", of all attempts together."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        found = _ASKED.search(record.getMessage())
        if found:
            self.counts[f"{found[1]} {found[2]}"] += 1


@contextmanager
def requests() -> Iterator[Counter[str]]:
    """Yield the counts of requests for files of shards, which grow while the block runs."""
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
