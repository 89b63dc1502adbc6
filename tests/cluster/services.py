"""PostgreSQL, Redis and HAProxy from Debian's packages, on loopback, in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_buildpixel.sandbox.demo.home import LOOPBACK, free_ports
from airflow_provider_buildpixel.sandbox.demo.processes import Component

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGES = "postgresql redis-server haproxy"
POSTGRES_USER = "postgres"
"""The user of PostgreSQL if this process is root: PostgreSQL refuses to run as root."""

HAPROXY_CONFIG = """\
defaults
    mode tcp
    retries 5
    option redispatch
    timeout connect 2s
    timeout client 5m
    timeout server 5m
    timeout check 2s
frontend airflow
    bind {host}:{port}
    default_backend servers
backend servers
    balance leastconn
    option httpchk GET /api/v2/version
    default-server check inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""


class NotInstalled(Exception):
    """A program of the cluster is not on this machine."""


def find_program(name: str) -> str:
    """Return the path of a program, also from Debian's folders of PostgreSQL.

    :raises NotInstalled: it is not installed.
    """
    folders = [os.environ.get("PATH", os.defpath), "/usr/sbin"]
    folders += map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise NotInstalled(f"{name} is missing: apt-get install {PACKAGES}")
    return found


@dataclass(frozen=True)
class Services:
    """The services that Airflow's processes share.

    :param path: folder of the data.
    :param password: of the database and of the broker.
    :param servers: the ports of Airflow's API servers.
    """

    path: Path
    password: str
    servers: Sequence[int]
    ports: list[int] = field(default_factory=lambda: free_ports(3))

    @property
    def database(self) -> str:
        """PostgreSQL's address, as ``user:password@host:port/database``."""
        return f"airflow:{self.password}@{LOOPBACK}:{self.ports[0]}/postgres"

    @property
    def broker(self) -> str:
        """The URL of Redis."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.ports[1]}/0"

    @property
    def url(self) -> str:
        """The URL of the API servers, behind the load balancer."""
        return f"http://{LOOPBACK}:{self.ports[2]}"

    def components(self) -> list[Component]:
        """Return the processes, not started."""
        return [self._postgres(), self._redis(), self._haproxy()]

    def create_data(self) -> None:
        """Create the data folder of PostgreSQL and all configuration files.

        :raises NotInstalled: a program is missing.
        """
        folder, secret = self.path / "postgres", self.path / "postgres-password"
        folder.mkdir(mode=0o700)
        _write_private(secret, self.password)
        if os.geteuid() == 0:
            user = pwd.getpwnam(POSTGRES_USER)
            for path in (folder, secret):
                os.chown(path, user.pw_uid, user.pw_gid)
        initdb = (find_program("initdb"), "-D", str(folder), "-U", "airflow", "-E", "UTF8")
        subprocess.run(
            (*_unprivileged(), *initdb, "-A", "scram-sha-256", f"--pwfile={secret}", "--no-sync"),
            check=True,
            capture_output=True,
            cwd=self.path,
        )
        _write_private(self.path / "redis.conf", self._redis_config())
        _write_private(self.path / "haproxy.cfg", self._haproxy_config())

    def _postgres(self) -> Component:
        settings: Mapping[str, object] = {
            "listen_addresses": LOOPBACK,
            "port": self.ports[0],
            "unix_socket_directories": "",
            "max_connections": 400,
            "shared_buffers": "256MB",
            "fsync": "off",  # PostgreSQL is not killed
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = (find_program("postgres"), "-D", str(self.path / "postgres"), *options)
        return self._component("postgres", (*_unprivileged(), *command))

    def _redis(self) -> Component:
        return self._component(
            "redis", (find_program("redis-server"), str(self.path / "redis.conf"))
        )

    def _redis_config(self) -> str:
        return (
            f"bind {LOOPBACK}\nport {self.ports[1]}\nrequirepass {self.password}\n"
            f'dir {self.path}\nsave ""\nappendonly no\n'
        )

    def _haproxy(self) -> Component:
        return self._component(
            "haproxy", (find_program("haproxy"), "-db", "-f", str(self.path / "haproxy.cfg"))
        )

    def _haproxy_config(self) -> str:
        servers = "\n".join(f"    server api-{port} {LOOPBACK}:{port}" for port in self.servers)
        return HAPROXY_CONFIG.format(host=LOOPBACK, port=self.ports[2], servers=servers)

    def _component(self, name: str, command: tuple[str, ...]) -> Component:
        return Component(name, command, os.environ, self.path / f"{name}.log")


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _unprivileged() -> tuple[str, ...]:
    """Return the command prefix that runs PostgreSQL as an unprivileged user, if necessary."""
    if os.geteuid() != 0:
        return ()
    return (
        find_program("setpriv"),
        f"--reuid={POSTGRES_USER}",
        f"--regid={POSTGRES_USER}",
        "--init-groups",
    )
