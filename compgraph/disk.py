"""The disk beneath the store: locks, flushing, free space, and errors of the system in plain words."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import socket
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from compgraph.errors import CompgraphError, StoreError


def flush_tree(path: Path) -> None:
    """Flush a file, or a folder with everything in it, to the disk."""
    paths = [path]
    for folder, folders, files in os.walk(path):
        paths += [Path(folder, name) for name in [*files, *folders]]
    # Many at a time: the file system then writes its journal once for many files.
    with ThreadPoolExecutor(min(16, len(paths))) as pool:
        list(pool.map(flush, paths))


def flush(path: Path) -> None:
    """Flush one file, or the entries of one folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def prepared(path: Path, text: str) -> Iterator[Path]:
    """Yield a temporary file beside `path` that holds `text`, already on the disk, for the body to rename.

    Its name is always the same, so that a kill leaves no litter: one writer at a time, please.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


_FICLONE = 0x40049409
"""Linux: let one file share another's blocks until either is written."""


def clone(source: Path, target: Path) -> None:
    """Copy a file; where the file system can, without taking space, and never so that they change together."""
    with source.open("rb") as read, target.open("xb") as write:
        try:
            fcntl.ioctl(write.fileno(), _FICLONE, read.fileno())
        except OSError:
            shutil.copyfileobj(read, write, 1 << 20)


class _TakenError(Exception):
    """Another process holds the lock; the argument says which."""


@contextmanager
def partial_path(final: Path, resume: bool) -> Iterator[Path]:
    """Yield a name for the partial payload that no other living writer uses, and sweep up after dead ones."""
    slot = 1
    for leftover in sorted(final.parent.glob(f"{glob.escape(final.name)}.*.partial")):
        with suppress(_TakenError), explained(leftover), lock(_lock_of(leftover), wait=False):
            remove(leftover)
    while True:
        partial = final.with_name(final.name + (".partial" if slot == 1 else f".{slot}.partial"))
        try:
            with explained(partial), lock(_lock_of(partial), wait=False):
                yield partial
            return
        except _TakenError as taken:
            if resume:
                raise StoreError(f"{final} is being written by {taken}; wait for it or stop it") from None
            slot += 1


def remove_leftover(path: Path) -> bool:
    """Remove what an interrupted writer left (a partial payload, a lock, a file half renamed); say whether it is gone.

    What a living writer holds stays.
    """
    if path.name.endswith(".partial"):
        held = _lock_of(path)
    elif path.name.endswith(".lock"):
        held = path  # letting go of a lock removes it
    elif path.name.endswith(".tmp"):
        held = path.with_suffix(".lock")
    else:
        held = path.with_name(f".{Path(path.stem).stem}.json.lock")
    with suppress(_TakenError), explained(path), lock(held, wait=False):
        remove(path)
    return not path.exists()


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


@contextmanager
def lock(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold an advisory lock that the system drops with its owner, however that ends.

    The lock file is removed afterwards; whoever locked a file that no longer has that name tries again.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _take(descriptor, path, wait)
            if _same_file(descriptor, path):
                break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _take(descriptor: int, path: Path, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace")
        raise _TakenError(holder or "another process") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        text = f"{path.parent} is on a disk without locks: let one process at a time write it"
        warnings.warn(text, stacklevel=2)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn a full disk and a lack of permission, whatever library met it, into one sentence."""
    try:
        yield
    except (CompgraphError, _TakenError):
        raise
    except Exception as error:
        causes: list[BaseException] = [error]
        while (cause := causes[-1].__cause__) is not None and cause not in causes:
            causes.append(cause)
        if any(map(_means_full, causes)):
            raise StoreError(f"the disk is full: cannot write {path} ({_free_text(path)})") from error
        if any(isinstance(e, OSError) and e.errno in _FORBIDDEN for e in causes):
            names = [e.filename for e in causes if isinstance(e, OSError) and e.filename is not None]
            where = os.fsdecode(names[0]) if names and not isinstance(names[0], int) else path
            raise StoreError(f"no permission to write {where} ({_free_text(path)})") from error
        raise


def _means_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    # NumPy says "N requested and M written" without an errno; libraries in C++ and Rust wrap the text.
    numpy_style = isinstance(error, OSError) and error.errno is None and "requested and" in str(error)
    return numpy_style or "No space left on device" in str(error)


def free_space(path: str | os.PathLike[str]) -> int:
    """Return the bytes free to this user on the disk of `path` (or of its nearest folder that exists)."""
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_space(path: str | os.PathLike[str], size: int, what: str) -> None:
    """Raise a `StoreError` unless the disk of `path` has `size` bytes free.

    Parameters
    ----------
    path : path
        Where the bytes would go; need not exist.
    size : int
        Bytes needed.
    what : str
        What needs them, for the message.
    """
    free = free_space(path)
    if size > free:
        raise StoreError(
            f"{what} needs about {format_bytes(size)}, and only {format_bytes(free)} are free on the disk of {path}"
        )


def format_bytes(size: float) -> str:
    """Return ``"1.5 GB"`` for 1.5e9 (powers of 1000, as disks are sold)."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _free_text(path: Path) -> str:
    return f"{format_bytes(free_space(path))} free"
