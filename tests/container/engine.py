"""The Docker engine that the tests use: the one that answers, or a private one with a stand-in for the base image."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["BASE", "SKIP", "Engine", "NoEngine", "engine"]

BASE: Final = "python:3.11-slim"
SKIP: Final = "SKIP_CONTAINER_TESTS"
_PACKAGES: Final = {
    "/usr/sbin/dockerd": "docker.io",
    "/usr/sbin/iptables": "iptables",
    "/usr/bin/mmdebstrap": "mmdebstrap",
    "/usr/bin/docker-compose": "docker-compose",
}
_START_SECONDS: Final = 60


class NoEngine(Exception):
    """There is no engine, and none can be started; the message says what to do."""


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answers; ``environment`` is what reaches it."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def docker(self, *arguments: str) -> str:
        """Return what ``docker ARGUMENTS`` prints.

        Raises:
            subprocess.CalledProcessError: It fails.
        """
        done = self.tried(*arguments)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
        return done.stdout.strip()

    def tried(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``docker ARGUMENTS``, which may fail."""
        return subprocess.run(
            ["docker", *arguments], env=self.environment, capture_output=True, text=True, check=False, timeout=300
        )

    def answers(self) -> bool:
        """Return whether the engine does."""
        try:
            return not self.tried("info").returncode
        except FileNotFoundError:
            return False

    def has_base(self) -> bool:
        """Return whether the base image is there or can be had."""
        return not self.tried("image", "inspect", BASE).returncode or not self.tried("pull", "--quiet", BASE).returncode

    def compose(self) -> tuple[str, ...]:
        """Return the command that is Docker Compose here; an empty one where there is none."""
        if not self.tried("compose", "version").returncode:
            return ("docker", "compose")
        return ("docker-compose",) if shutil.which("docker-compose", path=self.environment["PATH"]) else ()


@contextmanager
def engine(folder: Path, say: Callable[[str], None]) -> Iterator[Engine]:
    """Provide an engine that has the base image; one that was started in ``folder`` is stopped and emptied.

    Raises:
        NoEngine: None answers, and none can be started.
    """
    found = Engine()
    if found.answers():
        if not found.has_base():
            raise NoEngine(f"The Docker engine cannot get {BASE}: pull it first, or set {SKIP}=1 to go without.")
        say(f"The Docker engine that answers is used, with the {BASE} that it has.")
        yield found
        return
    _install()
    with _private(folder) as started:
        say("No Docker engine answers: a private one was started.")
        if not started.has_base():
            _import_stand_in(started, folder)
            say(f"{BASE} is out of reach: a stand-in was made of Debian's packages.")
        yield started


def _install() -> None:
    """Install what a private engine needs and is not there yet."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        raise NoEngine(f"No Docker engine answers: start one, or set {SKIP}=1 to go without these tests.")
    missing = [package for file, package in _PACKAGES.items() if not Path(file).exists()]
    if missing:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
            subprocess.run(
                ["apt-get", "--quiet=2", "--option=DPkg::Lock::Timeout=120", *command],
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )


@contextmanager
def _private(folder: Path) -> Iterator[Engine]:
    socket, data = folder / "docker.sock", folder / "data"
    paths = ("--data-root", data, "--exec-root", folder / "exec", "--pidfile", folder / "docker.pid")
    with (folder / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(
            ["/usr/sbin/dockerd", "--host", f"unix://{socket}", "--mtu", _mtu(), *map(str, paths)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    # Debian's docker before others: without a builder of its own bentoml cannot use it.
    path = os.pathsep.join(("/usr/bin", os.environ["PATH"]))
    started = Engine(os.environ | {"DOCKER_HOST": f"unix://{socket}", "PATH": path})
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not started.answers():
            if daemon.poll() is not None or time.monotonic() > deadline:
                log_text = (folder / "dockerd.log").read_text(encoding="utf-8")
                raise NoEngine(f"No Docker engine answers, and none could be started:\n{log_text[-3000:]}")
            time.sleep(0.2)
        yield started
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)
        shutil.rmtree(data, ignore_errors=True)


def _mtu() -> str:
    """Return the largest packet that the way out of this machine takes: in a bridge with more, downloads would hang."""
    for line in Path("/proc/net/route").read_text(encoding="utf-8").splitlines()[1:]:
        interface, destination = line.split()[:2]
        if destination == "00000000":
            return Path(f"/sys/class/net/{interface}/mtu").read_text(encoding="utf-8").strip()
    return "1500"


def _import_stand_in(started: Engine, folder: Path) -> None:
    file = folder / "base.tar"  # mmdebstrap goes by the ending
    subprocess.run([str(Path(__file__).parent / "stand_in_base.sh"), str(file)], check=True)
    started.docker("import", "--change", "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", str(file), BASE)
    file.unlink()
