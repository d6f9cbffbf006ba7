import json
import subprocess
import sys

SCRIPT = """
import logging, structlog
from gateway.logs import set_up_logs
set_up_logs("warning", node="n1", worker=2)
structlog.get_logger().info("not severe enough")
structlog.get_logger().warning("request failed", key="a\\nb\\u2028{}", why="reset")
logging.getLogger("aiohttp").error("from a library")
"""


def test_every_line_is_one_json_object_whatever_the_client_sent():
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    ours, library = [json.loads(line) for line in ran.stderr.splitlines()]
    assert (ours["event"], ours["key"], ours["level"]) == ("request failed", "a\nb\u2028{}", "warning")
    assert (ours["node"], ours["worker"]) == ("n1", 2)
    assert (library["event"], library["level"]) == ("from a library", "error")
    assert not ran.stdout
