"""Where an embedded server keeps its things, and as whom it runs."""

import contextlib
import hashlib
import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any, Protocol

from config.embedded import locks
from config.embedded.errors import EmbeddedError

#: Folders for when the project's own cannot serve. Anybody may write there: owners are checked.
SHARED_DATA = Path("/var/tmp")
SHARED_SOCKETS = Path("/tmp")

#: A Unix socket's path has at most 107 bytes; this leaves room for the longest name below `run/`.
SOCKET_FOLDER_LIMIT = 80

PREPARE_SECONDS = 30.0

#: PostgreSQL refuses to run as root: root's runs as this account.
UNPRIVILEGED = "nobody"


@dataclass(frozen=True, kw_only=True)
class Place:
    """One server's folders and locks. All but what is inside `data` belongs to the caller."""

    home: Path
    run: Path
    scratch: bool
    uid: int
    gid: int

    @property
    def data(self) -> Path:
        """The server's files, its own and closed to others."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """What the server and its keeper wrote."""
        return self.home / "server.log"

    @property
    def users(self) -> Path:
        """Lock shared by every process that uses the server; its keeper takes it to end."""
        return self.home / "users.lock"

    @property
    def start(self) -> Path:
        """Lock of whoever starts the keeper, inherited by the keeper until the server is ready."""
        return self.home / "start.lock"

    @property
    def ready(self) -> Path:
        """Lock that the keeper holds once the server is set up."""
        return self.home / "ready.lock"

    @property
    def processes(self) -> Path:
        """Lock inherited by every process of the server: free when the last of them is gone."""
        return self.home / "processes.lock"

    @property
    def as_server(self) -> dict[str, Any]:
        """Arguments of `subprocess` for running a program as the server's account."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


class Kind(Protocol):
    """What a module about one kind of server offers."""

    NAME: str
    #: Whether the server refuses to run as root.
    UNPRIVILEGED: bool

    def start(self, *, place: Place) -> Popen[bytes]:
        """Start the server, set it up and return when it answers."""

    def answers(self, *, place: Place) -> bool:
        """Ask the server whether it takes requests."""

    def stop(self, *, place: Place, server: Popen[bytes]) -> None:
        """End the server and return when it is gone."""

    def url(self, *, place: Place) -> str:
        """Return the address for a client."""


def prepare(*, folder: Path, kind: Kind, scratch: bool) -> Place:
    """Make a server's folders below `folder`, or check that they are what they should be.

    :raises EmbeddedError: if a folder is a link or belongs to somebody else.
    """
    uid, gid = os.geteuid(), os.getegid()
    top = folder.absolute()
    if kind.UNPRIVILEGED and uid == 0:
        account = pwd.getpwnam(UNPRIVILEGED)
        uid, gid = account.pw_uid, account.pw_gid
        if not is_open(path=top.parent):
            # Root's home, say. It stays closed: the data goes where the account can reach it.
            top = SHARED_DATA / f"backfill-{digest(path=top)}"
    home = top / kind.NAME
    for path in (top, home):
        own(path=path, mode=0o711)
    run = home / "run"
    if len(os.fsencode(run)) > SOCKET_FOLDER_LIMIT:
        run = SHARED_SOCKETS / f"backfill-{digest(path=run)}"
    # Made and handed over in two steps, between which another start must not look at it.
    with locks.held(path=home / "prepare.lock", timeout=PREPARE_SECONDS):
        own(path=run, mode=0o700, uid=uid, gid=gid)
    return Place(home=home, run=run, scratch=scratch, uid=uid, gid=gid)


def own(*, path: Path, mode: int, uid: int | None = None, gid: int = -1) -> None:
    """Make a folder that belongs to `uid` (else the caller), or check that an old one does.

    :raises EmbeddedError: if it is a link or belongs to somebody else.
    """
    caller = os.geteuid()
    uid = caller if uid is None else uid
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
            raise EmbeddedError(
                f"{path} is not a folder of user {uid}: look at what it is, then remove it."
            ) from None
        # What another account owns is left as it is: it could put a link there between two calls.
        if uid == caller and stat.S_IMODE(found.st_mode) & mode != mode:
            path.chmod(stat.S_IMODE(found.st_mode) | mode)
    else:
        path.chmod(mode)
        if uid != caller:
            os.chown(path, uid, gid, follow_symlinks=False)


def remove(*, place: Place) -> None:
    """Remove a server's folders, and the one above them when it held nothing else."""
    for path in (place.run, place.home):
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        place.home.parent.rmdir()


def is_open(*, path: Path) -> bool:
    """Say whether any account can reach `path`, which need not exist yet."""
    found = [above for above in (path, *path.parents) if above.exists()]
    return all(above.stat().st_mode & stat.S_IXOTH for above in found)


def digest(*, path: Path) -> str:
    """Shorten a path to a name that stays the same."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
