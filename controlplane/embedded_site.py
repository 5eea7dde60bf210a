"""The folder of an embedded PostgreSQL: what lies in it, who owns it, which process holds it."""

import contextlib
import fcntl
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.errors import EmbeddedPostgresError

# A caller's PGPORT, PGDATA or locale must not reach the server.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_OURS = {"lock", "elsewhere", "binaries", "cluster", "initialising", "password", "server.log"}
# Where root puts what the server's user could not reach, for example below /root.
_ELSEWHERE = Path("/var/lib/controlplane-embedded")


@dataclass(frozen=True)
class Site:
    """Where one server lives and whose it is; `user` is None where we are not root."""

    home: Path
    binaries: Path
    user: pwd.struct_passwd | None

    @property
    def cluster(self) -> Path:
        return self.home / "cluster"

    @property
    def log(self) -> Path:
        return self.home / "server.log"

    @property
    def password(self) -> Path:
        return self.home / "password"

    def run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return _run_as(self.user, self.home, self.binaries / program, *arguments)

    def url(self, port: int) -> str:
        return f"postgresql://postgres:{self.password.read_text()}@127.0.0.1:{port}/postgres"

    def give(self, path: Path) -> None:
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid, follow_symlinks=False)


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """Holds the folder for this process; the kernel lets go when the process ends."""
    data.mkdir(mode=0o711, parents=True, exist_ok=True)
    found = {path.name for path in data.iterdir()}
    if found - _OURS and not found & {"cluster", "elsewhere"}:
        raise EmbeddedPostgresError(
            f"The folder '{data}' holds other files; name an empty or a new folder."
        )
    with (data / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EmbeddedPostgresError(
                f"Another process uses the data folder '{data}'; "
                "stop it first, or name another folder."
            ) from None
        yield


def open_site(data: Path, binaries: Path) -> Site:
    if os.geteuid() != 0:
        return Site(data, binaries, None)
    home = _reachable_home(data)
    user = _owner(home)
    home.chmod(0o711)
    if not _reaches(user, binaries / "postgres"):
        binaries = _copied(binaries, home)
    site = Site(home, binaries, user)
    site.give(data / "lock")
    return site


def _owner(home: Path) -> pwd.struct_passwd:
    cluster = home / "cluster"
    uid = (cluster if cluster.exists() else home).stat().st_uid
    try:
        return pwd.getpwuid(uid) if uid else pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedPostgresError(
            f"PostgreSQL does not run as root and '{home}' belongs to no known user; "
            "name a folder of an ordinary user, or add the user 'nobody'."
        ) from None


def _reachable_home(data: Path) -> Path:
    """The folder itself or, where the server's user cannot get there, one under /var/lib.

    The link `elsewhere` in the folder then names it, this time and later.
    """
    link = data / "elsewhere"
    if link.is_symlink():
        return link.resolve(strict=True)
    if _reaches(_owner(data), data.parent):
        return data
    _ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(dir=_ELSEWHERE))
    link.symlink_to(home)
    return home


def _reaches(user: pwd.struct_passwd, path: Path) -> bool:
    return _run_as(user, Path("/"), Path("/usr/bin/test"), "-x", path).returncode == 0


def _copied(binaries: Path, home: Path) -> Path:
    """A copy of the installation that everybody can read, made anew at each start.

    The programs look for the wheel's libraries by a path from their own place.
    """
    copy, package = home / "binaries", binaries.parents[1]
    shutil.rmtree(copy, ignore_errors=True)
    installation = copy / package.name / binaries.parent.name
    shutil.copytree(binaries.parent, installation, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name)
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runs else 0o644)
    return installation / binaries.name


def refuse_other_version(cluster: Path, version: int) -> None:
    file = cluster / "PG_VERSION"
    found = file.read_text().strip() if cluster.exists() else str(version)
    if found != str(version):
        raise EmbeddedPostgresError(
            f"The folder '{cluster.parent}' was made by PostgreSQL {found} and cannot be opened by "
            f"PostgreSQL {version}. Start it with version {found} again, or name a new folder "
            f"and move the contents by pg_dumpall of version {found} and psql."
        )


def initialise(site: Site, *, durable: bool) -> None:
    """Makes the cluster aside and renames it, so that a half made one is never opened."""
    draft = site.home / "initialising"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    for fresh in (site.password, site.log):
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL, 0o600))
    site.password.write_text(secrets.token_urlsafe(24))
    for path in (draft, site.password, site.log):
        site.give(path)
    done = site.run(
        "initdb",
        *("-D", draft, "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={site.password}"),
        *("--encoding=UTF8", "--no-locale", *([] if durable else ["--no-sync"])),
    )
    if done.returncode != 0:
        raise EmbeddedPostgresError(f"initdb failed in '{site.home}': {done.stderr.strip()}")
    draft.rename(site.cluster)


def _run_as(
    user: pwd.struct_passwd | None, folder: Path, *command: str | Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  the wheel's programs, no shell, paths of our own
        command,
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **identity(user),
    )


def identity(user: pwd.struct_passwd | None) -> dict[str, Any]:
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
