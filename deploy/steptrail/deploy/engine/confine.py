"""The operating system's fence around the engine (Landlock): its own directory, and no way out to other machines.

It holds whatever a statement finds to say. It needs Linux 5.13 (the network part 6.7); where the kernel has none,
the checks of access.py and fence.py stand alone.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls, the same on every architecture
_PATH_BENEATH = 1
_NO_NEW_PRIVS = 38
_EXECUTE, _WRITE, _READ, _READ_DIR = 1, 2, 4, 8
_ALL = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
_BIND, _CONNECT = 1, 2
_FILES_ONLY = _EXECUTE | _WRITE | _READ | 1 << 14
_SYSTEM = ("/usr", "/lib", "/lib64", "/proc", "/sys", "/etc/localtime", "/etc/timezone", "/etc/ld.so.cache")


def confine(directory: Path, *more: Path) -> int:
    """Close this thread, and all that it starts, into `directory` and `more`; what Python is made of stays readable.

    Returns the kernel's Landlock version, 0 where there is none and nothing was done. Ports that listen already go on;
    no TCP connection can be opened. It cannot be taken back. Raises OSError where the kernel has it and refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = int(libc.syscall(_CREATE, None, ctypes.c_size_t(0), 1))
    if version <= 0:
        return 0
    os.environ["TMPDIR"] = str(directory)  # the engine makes a folder there when it is loaded
    files = _ALL[min(version, 3)]
    network = _BIND | _CONNECT if version >= 4 else 0
    attributes = struct.pack("=QQ", files, network)[: 16 if version >= 4 else 8]
    ruleset = _call(libc, _CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    try:
        read = _EXECUTE | _READ | _READ_DIR
        # `python -m` puts the current directory first: that may be a home.
        readable = {*_SYSTEM, sys.prefix, sys.base_prefix, *sys.path} - {"", os.getcwd()}
        allowed = [(path, read) for path in readable] + [
            ("/dev/null", _READ | _WRITE),
            ("/dev/urandom", _READ),
            *((str(each), files) for each in (directory, *more)),
        ]
        for path, rights in allowed:
            _allow(libc, ruleset, path, rights & files)
        if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
        _call(libc, _RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no right
    try:
        if not os.path.isdir(path):
            rights &= _FILES_ONLY
        _call(libc, _ADD, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def _call(libc: ctypes.CDLL, number: int, *arguments: object) -> int:
    result = int(libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"landlock: {os.strerror(code)}")
    return result
