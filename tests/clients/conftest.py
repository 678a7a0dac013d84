"""The packages of npm that the clients need, and the service behind a proxy."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.serving import Server, free_port

NPM: Final = (
    "openapi-typescript@7",
    "openapi-fetch@0.17",
    "typescript@5",
    "@types/node@20",
    "playwright-core@1",
    "axe-core@4",
)
# A proxy that takes the prefix away, as an Ingress does; all that it writes is in its own folder.
NGINX: Final = """
daemon off; pid nginx.pid; error_log stderr; events {{}}
http {{
  access_log off; client_max_body_size 20m;
  client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
  client_body_buffer_size 20m; proxy_max_temp_file_size 0;
  server {{ listen 127.0.0.1:{port}; location /models/cats/ {{ proxy_pass {url}/; }} }}
}}
"""


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which node finds the packages."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"private": true}', encoding="utf-8")
    run = subprocess.run(
        ["npm", "install", "--no-fund", "--no-audit", *NPM], cwd=folder, capture_output=True, text=True, check=False
    )
    if run.returncode != 0:
        pytest.skip(f"npm cannot install the packages: {run.stderr[-300:]}")
    return folder


@pytest.fixture(scope="session")
def behind_prefix(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the service behind nginx, which has it below /models/cats/."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    (folder / "nginx.conf").write_text(NGINX.format(port=port, url=server.url), encoding="utf-8")
    command = ["nginx", "-p", str(folder), "-c", "nginx.conf"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as proxy:
        proxied = Server(f"http://127.0.0.1:{port}/models/cats", proxy, folder / "nginx.log")
        proxied.wait_until_ready()
        yield proxied.url
        proxy.terminate()
