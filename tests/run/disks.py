"""Disks that go wrong: one that kills its process at a call, and a model of one that forgets what was not fsynced."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

from attrs import define, field

from mtlfn.run.disk import Disk


class Killing(Disk):
    """Kills this process with SIGKILL instead of the ``last``-th call; long writes come in two halves."""

    def __init__(self, last: int) -> None:
        self.left = last

    def _count(self) -> None:
        self.left -= 1
        if self.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, handle: int, data: memoryview) -> int:
        self._count()
        return super().write(handle, data[: max(len(data) // 2, 1)])


def _counted(name: str):
    call = getattr(Disk, name)

    def counted(self, *args):
        self._count()
        return call(self, *args)

    return counted


for _name in ("create", "open_end", "open_folder", "fsync", "close", "mkdir", "rename", "unlink", "rmdir"):
    setattr(Killing, _name, _counted(_name))


@define(eq=False)
class _File:
    data: bytes = b""
    durable: bytes = b""


@define(eq=False)
class _Folder:
    names: dict = field(factory=dict)
    durable: dict = field(factory=dict)
    pending: list = field(factory=list)  # (name, node or None) in order


class Forgetful(Disk):
    """Does everything, and remembers what was fsynced; ``lose`` writes down what a power cut may have left.

    Each change of a name that was not fsynced is there or not, independently; a file's unsynced bytes are there, cut
    off somewhere, or not at all.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._tree = self._read(root)
        self._open: dict[int, _File | _Folder] = {}

    def _read(self, path: Path):
        if path.is_file():
            return _File(path.read_bytes(), path.read_bytes())
        names = {p.name: self._read(p) for p in path.iterdir()}
        return _Folder(names, dict(names))

    def _node(self, path: Path):
        node = self._tree
        for part in path.relative_to(self.root).parts:
            node = node.names[part]
        return node

    def _set(self, path: Path, node) -> None:
        parent = self._node(path.parent)
        parent.pending.append((path.name, node))
        if node is None:
            del parent.names[path.name]
        else:
            parent.names[path.name] = node

    def create(self, path):
        handle = super().create(path)
        if path.name not in self._node(path.parent).names:
            self._set(path, _File())
        self._open[handle] = self._node(path)
        self._open[handle].data = b""
        return handle

    def open_end(self, path):
        handle = super().open_end(path)
        self._open[handle] = self._node(path)
        return handle

    def open_folder(self, path):
        handle = super().open_folder(path)
        self._open[handle] = self._node(path)
        return handle

    def write(self, handle, data):
        written = super().write(handle, data)
        self._open[handle].data += bytes(data[:written])
        return written

    def fsync(self, handle):
        node = self._open[handle]
        if isinstance(node, _File):
            node.durable = node.data
        else:
            node.durable, node.pending = dict(node.names), []

    def mkdir(self, path):
        super().mkdir(path)
        self._set(path, _Folder())

    def rename(self, source, target):
        super().rename(source, target)
        node = self._node(source)
        self._set(source, None)
        self._set(target, node)

    def unlink(self, path):
        super().unlink(path)
        self._set(path, None)

    def rmdir(self, path):
        super().rmdir(path)
        self._set(path, None)

    def lose(self, target: Path, draw: random.Random) -> None:
        """What may be left, written below ``target``."""
        self._lose(self._tree, target, draw)

    def _lose(self, node, target: Path, draw: random.Random) -> None:
        if isinstance(node, _File):
            # Bytes already synced stay, as files are only ever written from their start or added to.
            synced = len(node.durable) if node.data.startswith(node.durable) else 0
            torn = node.data[: draw.randint(synced, len(node.data))]
            target.write_bytes(draw.choice([node.durable, node.data, torn]))
            return
        target.mkdir()
        names = dict(node.durable)
        for name, child in node.pending:
            if draw.random() < 0.5:
                names.pop(name, None) if child is None else names.__setitem__(name, child)
        for name, child in names.items():
            self._lose(child, target / name, draw)


class PowerCut(BaseException):
    """The power went; nothing that follows happens."""


class Cut(Forgetful):
    """A forgetful disk whose power goes instead of the ``last``-th call."""

    def __init__(self, root: Path, last: int) -> None:
        super().__init__(root)
        self.left = last


def _cut(name: str):
    call = getattr(Forgetful, name)

    def cut(self, *args):
        self.left -= 1
        if self.left <= 0 and name != "close":
            raise PowerCut
        return call(self, *args)

    return cut


for _name in ("create", "open_end", "open_folder", "write", "fsync", "mkdir", "rename", "unlink", "rmdir"):
    setattr(Cut, _name, _cut(_name))
