"""The namespace driver: machines of user namespaces, with Chromium's own sandbox inside, without root and with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from antechamber.drivers import keepers, locks
from antechamber.drivers.doors import UnixDoors
from antechamber.drivers.keepers import KeptFolder
from antechamber.drivers.namespace import bwrap, checks, rootfs, seccomp, uids
from antechamber.drivers.namespace.machine import NamespaceMachine
from antechamber.drivers.namespace.subordinate import let_use
from antechamber.errors import Code, MachineError
from antechamber.machine import Capabilities, Check, Door, Handle, Machine, MachineEnd, MachineSpec
from antechamber.model import IdPrefix, is_id, new_secret
from antechamber.points import Point, point

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from antechamber.settings import Settings

_MEMORY: Final = 512 * 2**20
"""Of one machine in use: alone it takes 500 to 700 MiB, each of many that share their pages 200 to 350."""
_HALF_MADE: Final = "."
_MARK: Final = "mark.json"
_HALF_MADE_KEPT_S: Final = 3600.0
_OTHERS_KEPT_S: Final = 7 * 86_400.0
"""How long the folder of another installation's ended machine is left for a service of it to come back."""
_LISTENS_S: Final = 0.05
_LAST_BREATH_S: Final = 5.0
"""How long the end of a keeper may be ahead of the end of what it kept."""


class NamespaceDriver:
    """Starts machines as namespaces of this host; see `docs` and the modules beside this one for each part."""

    def __init__(self, *, run_dir: Path, settings: Settings, installation: str, node: str) -> None:
        """Look at what uids can be had; `run_dir` is made, traversable and not listable for others.

        Several services of one installation may share it: what is found is the node's own.
        """
        self._run_dir = run_dir
        self._settings = settings
        self._installation = installation
        self._node = node
        run_dir.mkdir(parents=True, exist_ok=True)
        self._uids = uids.decide(settings.first_machine_uid, settings.machine_uids, run_dir)
        self._uid_locks = uids.UidLocks()
        self._reserved: dict[int, int] = {}
        """The locks' descriptors of uids whose machines are about to start."""
        self._one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        if run_dir.stat().st_uid == os.geteuid():
            run_dir.chmod(0o711 if self._uids.pool else 0o700)

    @property
    def name(self) -> str:
        """`namespace`."""
        return "namespace"

    @property
    def capabilities(self) -> Capabilities:
        """What it can do on this host."""
        own_uids = bool(self._uids.pool)
        return Capabilities(isolation="namespaces", own_uids=own_uids, memory_bytes=_MEMORY)

    async def check(self) -> Sequence[Check]:
        """Start a tiny machine and look at what it could do; each thing with its remedy."""
        return await checks.run(self, self._uids)

    def host_uids(self) -> Sequence[int]:
        """Return the uids that machines may take and that no other installation on this host uses now."""
        return self._uid_locks.free(self._uids.pool)

    def reserve(self, host_uid: int) -> bool:
        """Take the uid's lock before the machine is written down, so that what is written can be started."""
        descriptor = self._uid_locks.try_take(host_uid)
        if descriptor is None:
            return False
        self._reserved[host_uid] = descriptor
        return True

    def give_back(self, host_uid: int) -> None:
        """Let go of a lock that no machine has taken over."""
        if (descriptor := self._reserved.pop(host_uid, None)) is not None:
            os.close(descriptor)

    def plan(self, machine_id: str, incarnation: str, *, host_uid: int | None) -> Handle:
        """Return the handle of that incarnation; raises ValueError for a malformed id, which would become a path."""
        if not is_id(incarnation, IdPrefix.INCARNATION):
            message = f"not an incarnation: {incarnation!r}"
            raise ValueError(message)
        return {
            "driver": self.name,
            "machine": machine_id,
            "incarnation": incarnation,
            "installation": self._installation,
            "node": self._node,
            "folder": os.fspath(self._run_dir / incarnation),
            "uid": host_uid,
        }

    async def start(self, spec: MachineSpec, handle: Handle) -> Machine:
        """Start the machine of a planned handle; a second call for the same incarnation attaches."""
        folder = _folder(handle)
        if spec.incarnation != handle["incarnation"]:
            raise MachineError(Code.MACHINE_DID_NOT_START, detail="the handle is another incarnation's")
        async with self._one_at_a_time[spec.incarnation]:
            if await asyncio.to_thread(folder.path.exists):
                found = await self._attach(handle, folder)
                if not isinstance(found, MachineEnd):
                    return found
                if await asyncio.to_thread(folder.started):
                    raise MachineError(Code.MACHINE_ENDED, detail=found.detail)
                await self._remove(folder, handle["uid"])
            return await self._start(spec, handle, folder)

    async def attach(self, handle: Handle) -> Machine | MachineEnd:
        """Find a started machine again, or say how it ended."""
        folder = _folder(handle)
        async with self._one_at_a_time[handle["incarnation"]]:
            return await self._attach(handle, folder)

    async def printed(self, handle: Handle) -> Mapping[str, str]:
        """Return what the machine and its keeper printed, as it came."""
        return await asyncio.to_thread(_folder(handle).printed)

    async def reap(self, handle: Handle) -> None:
        """Remove what an ended machine left behind; raises MachineError while it runs."""
        folder = _folder(handle)
        async with self._one_at_a_time[handle["incarnation"]]:
            if not await folder.nothing_left(0):
                raise MachineError(Code.INTERNAL, detail="a running machine is not reaped")
            await self._remove(folder, handle["uid"])
        self._one_at_a_time.pop(handle["incarnation"], None)

    async def found(self) -> Sequence[Handle]:
        """Return the handles of all of this node's machines.

        Clears away what a crash left half-made and, after a week, what is left of ended machines for which no service
        of their own installation has come. What runs and is another's is not touched, ever.
        """
        return await asyncio.to_thread(self._found)

    # --- start

    async def _start(self, spec: MachineSpec, handle: Handle, folder: KeptFolder) -> Machine:
        taken: list[int] = []
        doors: UnixDoors | None = None
        try:
            if (uid := handle["uid"]) is not None:
                reserved = self._reserved.pop(uid, None)
                taken.append(self._uid_locks.take(uid) if reserved is None else reserved)
            await keepers.to_its_end("machine folder", self._make_folder, spec, handle, folder, taken)
            point(Point.FOLDER_MADE)
            doors = UnixDoors(folder.doors, spec.doors, give=self._giver(handle))
            point(Point.DOORS_OPEN)
            await keepers.start_keeper(folder, taken[0], taken[1:])
            _let_go(taken)  # from now on the keeper alone holds them
            point(Point.KEEPER_STARTED)
            claim = await keepers.claim_started(folder)
        except (OSError, ImportError) as error:
            await self._undo(taken, doors, folder, handle)
            raise MachineError(Code.MACHINE_DID_NOT_START, detail=str(error)) from error
        except BaseException:
            await self._undo(taken, doors, folder, handle)
            raise
        return NamespaceMachine(handle, doors, claim)

    async def _undo(self, taken: list[int], doors: UnixDoors | None, folder: KeptFolder, handle: Handle) -> None:
        _let_go(taken)
        if doors is not None:
            await doors.close()
        # a keeper that has just been started does not listen at once
        deadline = time.monotonic() + _LAST_BREATH_S
        while not (gone := await folder.nothing_left(_LISTENS_S)) and time.monotonic() < deadline:
            with contextlib.suppress(OSError, MachineError):
                claim = await keepers.claim(folder)
                await claim.stop()
                await claim.release()
        if gone:
            await self._remove(folder, handle["uid"])

    def _make_folder(self, spec: MachineSpec, handle: Handle, folder: KeptFolder, taken: list[int]) -> None:
        """Make the folder under another name and rename it when it is whole; its held lock goes first into `taken`."""
        making = KeptFolder(folder.path.with_name(_HALF_MADE + folder.path.name))
        shutil.rmtree(making.path, ignore_errors=True)
        making.path.mkdir(mode=0o700)
        alive = locks.take(making.alive)
        if alive is None:
            raise MachineError(Code.MACHINE_DID_NOT_START, detail="its folder is being made by another service")
        taken.insert(0, alive)
        try:
            _write(making.path / _MARK, json.dumps(dict(handle)).encode())
            point(Point.FOLDER_HALF_MADE)
            _write(making.secret, new_secret().reveal().encode())
            making.doors.mkdir()
            making.doors.chmod(0o755)
            rootfs.write(making.path / "etc", spec.trust_anchors)
            _write(making.path / "seccomp.bpf", seccomp.program())
            _write(making.plan, json.dumps(self._plan(spec, handle, folder)).encode())
            # what is bound lies in here, and bubblewrap looks for it as the machine's uid
            making.path.chmod(0o711)
            making.path.rename(folder.path)
        except BaseException:
            shutil.rmtree(making.path, ignore_errors=True)
            raise

    def _plan(self, spec: MachineSpec, handle: Handle, folder: KeptFolder) -> dict[str, Any]:
        return {
            "incarnation": spec.incarnation,
            "argv": bwrap.command(spec),
            "options": bwrap.options(spec, folder),
            "seccomp": os.fspath(folder.path / "seccomp.bpf"),
            **self._plan_of_uid(handle["uid"]),
            "unclaimed_s": self._settings.unclaimed_s,
            "memory_bytes": spec.limits.memory_bytes,
            "doors": sorted(spec.doors),
        }

    def _plan_of_uid(self, uid: int | None) -> dict[str, Any]:
        ranges = self._uids.subordinate
        if uid is None or ranges is None:
            return {"uid": uid, "subordinate": None}
        return {"uid": ranges.inner(uid), "subordinate": {"uids": ranges.uids, "gids": ranges.gids}}

    def _giver(self, handle: Handle) -> Callable[[Path], None] | None:
        """Return what lets the machine's uid use a socket of this service."""
        uid: int | None = handle["uid"]
        if uid is None:
            return None
        if os.geteuid() == 0:
            return lambda path: os.chown(path, uid, uid)
        return lambda path: let_use(path, uid)

    # --- attach, reap, found

    async def _attach(self, handle: Handle, folder: KeptFolder) -> Machine | MachineEnd:
        if not await asyncio.to_thread(folder.path.exists):
            return MachineEnd(None, None)
        if not folder.lives():
            return folder.end() or MachineEnd(None, None, "nothing of it runs, and nobody recorded its end")
        try:
            claim = await keepers.claim(folder)
        except TimeoutError as error:
            raise MachineError(Code.INTERNAL, detail="the machine's keeper does not answer in time") from error
        except (OSError, MachineError) as error:
            # on its way out, or its keeper was killed a moment ago: then the lock is free soon
            if await folder.nothing_left(_LAST_BREATH_S):
                return folder.end() or MachineEnd(None, None, "its keeper was killed")
            raise MachineError(Code.INTERNAL, detail=f"the machine's keeper does not answer: {error}") from error
        try:
            plan = json.loads(await asyncio.to_thread(folder.plan.read_bytes))
            doors = UnixDoors(folder.doors, [Door(door) for door in plan["doors"]], give=self._giver(handle))
        except BaseException:
            await claim.release()
            raise
        return NamespaceMachine(handle, doors, claim)

    async def _remove(self, folder: KeptFolder, uid: int | None) -> None:
        # at a second try the uid may be the next machine's already
        if uid is not None and folder.path.exists():
            self.give_back(uid)
            self._uid_locks.forget(uid)
        await asyncio.to_thread(_remove_tree, folder.path)

    def _found(self) -> Sequence[Handle]:
        handles: list[Handle] = []
        self._uid_locks.sweep(self._uids.pool)
        for path in sorted(self._run_dir.iterdir()):
            half_made = path.name.startswith(_HALF_MADE)
            if not is_id(path.name.removeprefix(_HALF_MADE), IdPrefix.INCARNATION):
                continue
            folder = KeptFolder(path)
            try:
                mark = json.loads((path / _MARK).read_bytes())
            except (OSError, ValueError):
                mark = None
            if half_made or mark is None:
                ours = mark is not None and self._is_ours(mark)
                if not locks.held(folder.alive) and (ours or _older(path, _HALF_MADE_KEPT_S)):
                    _remove_tree(path)
            elif self._is_ours(mark):
                handles.append(mark)
            elif _older(path / "exit.json", _OTHERS_KEPT_S) and not folder.lives():
                # another installation's, whose end nobody came to learn: its data directory is gone, most likely
                _remove_tree(path)
        return handles

    def _is_ours(self, mark: Mapping[str, Any]) -> bool:
        # a mark without a node was made before there were nodes, by the one service that the installation had
        return mark.get("installation") == self._installation and mark.get("node", self._node) == self._node


def _folder(handle: Handle) -> KeptFolder:
    folder = Path(handle["folder"])
    if not is_id(handle["incarnation"], IdPrefix.INCARNATION) or folder.name != handle["incarnation"]:
        raise MachineError(Code.INTERNAL, detail="this is no handle of the namespace driver")
    return KeptFolder(folder)


def _let_go(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def _remove_tree(path: Path) -> None:
    """Remove a machine's folder so that what a kill leaves of it is found again: hidden first, its mark last."""
    hidden = path if path.name.startswith(_HALF_MADE) else path.with_name(_HALF_MADE + path.name)
    if hidden != path and path.exists():
        shutil.rmtree(hidden, ignore_errors=True)
        path.rename(hidden)
        point(Point.FOLDER_HIDDEN)
    # a try that was cut off has hidden it already
    if not hidden.exists():
        return
    for entry in list(hidden.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != _MARK:
            entry.unlink()
    shutil.rmtree(hidden)


def _older(path: Path, seconds: float) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > seconds
    return False


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
