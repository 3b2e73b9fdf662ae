"""The part that Linux and macOS have in common."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .refusals import Facility, note_refusal

READABLE = select.POLLIN
WRITABLE = select.POLLOUT

#: Variables of the environment that a worker gets, besides those of `environment`. The first ones
#: are paths.
PATH_VARIABLES = frozenset({"TMPDIR"})
OTHER_VARIABLES = frozenset({"LD_LIBRARY_PATH"})
#: Arguments of `subprocess.Popen` for a process that Ctrl-C does not reach.
APART: Mapping[str, Any] = {"start_new_session": True}

# Signals that end a whole service or terminal: systemd, `docker stop` and Ctrl-C send them to all
# processes.
_FOR_THE_PARENT = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT}
# Raised by setrlimit(2): ValueError if an unprivileged process asks for more than its hard limit.
_REFUSED = (OSError, ValueError)
_DESCRIPTOR_SIZE_BYTES = array.array("i").itemsize
# Linux passes a descriptor that no program inherits; macOS has no such flag.
_NOT_INHERITED = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_FILE_MODE = 0o666  # without the umask
_IS_WRITTEN = "another download writes {}"


# Processes


def start_worker(
    command: Sequence[str], environment: Mapping[str, str], memory: int | None
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a worker, which inherits one end of a socket pair and the shared memory.

    Args:
        command: the program; the inherited descriptors follow as arguments.
        environment: its whole environment.
        memory: descriptor of the shared memory; stays the caller's. None for none.

    Returns:
        The process, and the other end of the pair.

    Raises:
        OSError: no process or no descriptor is available.
    """
    ours, theirs = socket.socketpair()
    inherited = [theirs.fileno()] if memory is None else [theirs.fileno(), memory]
    try:
        with _signals_held_back():
            process = subprocess.Popen(
                [*command, *map(str, inherited)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=inherited,
                env=environment,
                cwd=os.sep,
                **APART,
            )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours


def take_inherited(arguments: Sequence[str]) -> tuple[socket.socket, int | None]:
    """Return what `start_worker` has given to this process: the socket, and the shared memory.

    Args:
        arguments: that followed the command.
    """
    descriptors = [int(argument) for argument in arguments]
    return socket.socket(fileno=descriptors[0]), next(iter(descriptors[1:]), None)


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Hold back the signals of `leave_signals_to_parent` from this thread and the processes that it
    starts. A new process has no other protection until it runs its own code.

    Signals that arrive meanwhile are delivered at the end.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_parent() -> None:
    """Ignore the signals that end a whole service or terminal, since the parent decides when this
    process ends. Signals that were held back since the process started are dropped."""
    for number in _FOR_THE_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FOR_THE_PARENT)


def kill_with_children(process: subprocess.Popen[Any]) -> None:
    """Kill a process that was started `APART`, and those that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def describe_exit(status: int) -> str:
    """Describe how a process ended.

    Args:
        status: as `subprocess.Popen.returncode` has it: negative for a signal.
    """
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


# Limits


def forbid_core_dumps() -> None:
    """Keep cookies and passwords out of core files.

    The limit is one byte, since zero does not stop a dump that `kernel.core_pattern` pipes to a
    program (core(5)). It stays zero if an administrator has set it to zero.
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    except _REFUSED as error:
        note_refusal(Facility.CORE_LIMIT, error)


def raise_descriptor_limit(limits: Iterable[int]) -> int:
    """Raise the soft limit of open descriptors to the first of these that the system takes.

    Returns:
        The limit now in force; `sys.maxsize` if there is none or it is unknown.
    """
    soft = resource.RLIM_INFINITY
    refusal: OSError | ValueError | None = None
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    except _REFUSED as error:
        refusal, limits = error, ()
    for limit in limits:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except _REFUSED as error:
            refusal = error
        else:
            soft, refusal = limit, None
            break
    if refusal is not None:
        note_refusal(Facility.DESCRIPTOR_LIMIT, refusal)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def hard_descriptor_limit() -> int | None:
    """Return the hard limit of open descriptors, which may be RLIM_INFINITY; None if unknown."""
    try:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    except _REFUSED:
        return None


def can_open_descriptor() -> bool:
    try:
        os.close(os.dup(0))
    except OSError:
        return False
    return True


# Descriptors and sockets


def create_poller() -> tuple[select.poll, int]:
    """Return a poller, and the number of its timeout's units in a second."""
    return select.poll(), 1000


def can_watch(loop: object) -> bool:
    """Tell whether an event loop of asyncio watches descriptors."""
    return True


def send_buffers(sock: socket.socket) -> Callable[[list[memoryview]], int]:
    """Return what sends several buffers at once, as `socket.sendmsg` does."""
    return sock.sendmsg


def pass_descriptor(sock: socket.socket, data: memoryview, descriptor: int) -> int:
    """Send data and a descriptor with it; return how many bytes were sent."""
    return socket.send_fds(sock, [data], [descriptor])


def receive_with_descriptors(
    sock: socket.socket, on_descriptor: Callable[[int | None], None]
) -> Callable[[int], bytes]:
    """Return what receives data as `socket.recv` does, and tells each descriptor passed with it;
    None for one that this process had no room for."""

    def receive(size: int) -> bytes:
        space = socket.CMSG_SPACE(_DESCRIPTOR_SIZE_BYTES)
        data, ancillary, flags, _ = sock.recvmsg(size, space, _NOT_INHERITED)
        for _, _, passed in ancillary:
            on_descriptor(array.array("i", passed)[0])
        if flags & socket.MSG_CTRUNC and not ancillary:
            on_descriptor(None)
        return data

    return receive


def copy_into(pid: int, descriptor: int) -> int:
    """Copy the handle of a file into another process, where descriptors cannot be passed.

    Returns:
        The copy; 0 if descriptors can be passed.
    """
    return 0


def open_copy(handle: int) -> int:
    """Return a descriptor for what `copy_into` has made.

    Raises:
        OSError: always, since nothing is copied here.
    """
    raise OSError(errno.EBADF, "no handles are copied on this system")


def limit_unsent(fd: int, size: int) -> None:
    """Have a connection be ready for writing only while fewer than `size` bytes wait in it
    (TCP_NOTSENT_LOWAT of tcp(7)).

    What is on its way does not count, so the connection is as fast as before. Nothing happens where
    the system has no such option, or where the socket is not one of TCP, as with HTTP/3.
    """
    if _NOTSENT_LOWAT is None or fd < 0:
        return
    with contextlib.suppress(OSError):
        connection = socket.socket(fileno=fd)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, size)
        finally:
            connection.detach()


# Files


def configuration_directory() -> str:
    """Return the directory in which programs keep the configuration of a user."""
    return os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser(os.path.join("~", ".config"))


def create_locked_file(path: str) -> int:
    """Create a file that no other process writes, in place of one that nobody locks any more, since
    the process is gone that did. No symbolic link is followed.

    Returns:
        A descriptor. The lock is gone when all of its copies are closed.

    Raises:
        OSError: another process has locked such a file, or the system refuses a new one.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, _FILE_MODE)
    except FileExistsError:
        _remove_abandoned(path)
        descriptor = os.open(path, flags, _FILE_MODE)
    if not _lock(descriptor):
        os.close(descriptor)
        raise OSError(_IS_WRITTEN.format(path))
    return descriptor


def _remove_abandoned(path: str) -> None:
    # NFS locks no file that is only read.
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not _lock(descriptor):
            raise OSError(_IS_WRITTEN.format(path))
        os.unlink(path)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock a file, where the file system can; return False if another process has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
