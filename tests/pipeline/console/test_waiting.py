"""On a terminal a line moves from the start of a command until it prints something; in a log there is none."""

import os
import subprocess
import sys
from pathlib import Path

CLEARED = "\r            \r"


def on_a_terminal(*arguments: object) -> tuple[str, int]:
    """Run `s2vc-prep` on a terminal of its own; return all that it wrote there, and its exit code."""
    ours, its = os.openpty()
    line = [sys.executable, "-c", "from s2vc.pipeline.cli import main; main()", *map(str, arguments)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(line, stdin=its, stdout=its, stderr=its, env=environment) as process:
        os.close(its)
        written = b""
        while True:
            try:
                piece = os.read(ours, 1 << 16)
            except OSError:  # The other end is closed.
                break
            written += piece
    os.close(ours)
    return written.decode(), process.returncode


def test_a_line_moves_until_the_result_is_printed() -> None:
    """The command imports torch and reads a flow before it says anything, which takes longer than the line waits."""
    written, code = on_a_terminal("flow-info", "default")
    moving, result = written.split(CLEARED)
    assert code == 0
    assert moving.startswith("\rstarting") and "\n" not in moving
    assert "starting" not in result and "fingerprint" in result


def test_it_is_cleared_before_a_mistake_is_told(tmp_path: Path) -> None:
    written, code = on_a_terminal("verify", tmp_path)
    assert code == 2
    assert written.rsplit(CLEARED, 1)[-1].startswith("-c: there is no cache at ")


def test_nothing_moves_where_nothing_is_to_be_said() -> None:
    written, code = on_a_terminal("flow-info", "default", "--quiet")
    assert code == 0
    assert "starting" not in written and "fingerprint" in written


def test_a_closed_standard_error_is_no_terminal() -> None:
    line = [sys.executable, "-c", "from s2vc.pipeline.cli import main; main()", "flow-info", "default"]
    done = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *line], capture_output=True, check=True, text=True)
    assert "fingerprint" in done.stdout


def test_a_log_has_no_such_line() -> None:
    line = [sys.executable, "-c", "from s2vc.pipeline.cli import main; main()", "flow-info", "default"]
    done = subprocess.run(line, capture_output=True, check=True, text=True)
    assert "starting" not in done.stdout + done.stderr
