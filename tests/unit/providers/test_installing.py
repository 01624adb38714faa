"""Installing: complete or not at all, by integrity hash, and never altered unnoticed.

The package is made here and lies beside its lock, so that npm asks no registry.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading

import pytest

from antechamber.errors import Code, OperatorError
from antechamber.providers import ProviderSpec, install
from antechamber.providers.definition import Definition


def package(program=b"#!/bin/sh\necho DUMMY\n"):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        about = {"name": "tool", "version": "1.0.0", "scripts": {"postinstall": "touch ran"}}
        for name, content in (("package.json", json.dumps(about).encode()), ("bin/tool", program)):
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def spec(tmp_path, definition_of, monkeypatch):
    """A provider of one tiny package, and a cache of npm that has never seen it."""
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    packed = package()
    npm = tmp_path / "definitions" / "npm"
    npm.mkdir(parents=True)
    (tmp_path / "tool.tgz").write_bytes(packed)
    digest = base64.b64encode(hashlib.sha512(packed).digest()).decode()
    where = f"file:{tmp_path}/tool.tgz"
    entry = {"version": "1.0.0", "resolved": where, "integrity": f"sha512-{digest}", "hasInstallScript": True}
    wanted = {"name": "x", "private": True, "dependencies": {"tool": where}}
    lock = {"name": "x", "lockfileVersion": 3, "requires": True, "packages": {"": wanted, "node_modules/tool": entry}}
    (npm / "package.json").write_text(json.dumps(wanted))
    (npm / "package-lock.json").write_text(json.dumps(lock))
    table = definition_of("codex")
    table["install"].update(npm="npm", version="1.0.0", program="node_modules/tool/bin/tool", unpacked_mib=1)
    return ProviderSpec(Definition.model_validate(table), npm.parent)


@pytest.fixture
def shared(tmp_path):
    return tmp_path / "shared"


def code_of(call):
    with pytest.raises(OperatorError) as caught:
        call()
    return caught.value.code


def test_f082_an_installed_tool_is_readable_by_all_and_proves_what_it_is(spec, shared):
    seen = []
    done = install.install(spec, shared, lambda now, total: seen.append((now, total)))
    program = spec.program_in(done.folder)
    assert program.stat().st_mode & 0o777 == 0o755
    assert done == install.verify(spec, shared)
    assert done.version == "1.0.0"
    assert len(done.sha256) == 64
    assert all(folder.stat().st_mode & 0o777 == 0o755 for folder in (done.folder, shared, shared / "cli"))
    assert seen
    assert all(0 <= now <= total == 2**20 for now, total in seen)


def test_no_install_script_runs(spec, shared):
    done = install.install(spec, shared)
    assert not list(done.folder.rglob("ran"))


def test_a_package_that_does_not_match_its_hash_is_not_installed_and_leaves_nothing(spec, shared, tmp_path):
    (tmp_path / "tool.tgz").write_bytes(package(b"#!/bin/sh\necho planted\n"))
    assert code_of(lambda: install.install(spec, shared)) is Code.PROVIDER_NOT_INSTALLED
    assert [path.name for path in (shared / "cli").iterdir()] == [".codex.lock"]


def test_a_package_without_the_program_is_not_installed(spec, shared, tmp_path, definition_of):
    table = spec.definition.model_dump(by_alias=True, exclude_none=True)
    table["install"]["program"] = "node_modules/tool/bin/other"
    other = ProviderSpec(Definition.model_validate(table), spec.folder)
    assert code_of(lambda: install.install(other, shared)) is Code.PROVIDER_NOT_INSTALLED
    assert [path.name for path in (shared / "cli").iterdir()] == [".codex.lock"]


def test_a_tool_that_was_never_installed_is_told_apart_from_an_altered_one(spec, shared):
    assert code_of(lambda: install.verify(spec, shared)) is Code.PROVIDER_NOT_INSTALLED
    done = install.install(spec, shared)
    spec.program_in(done.folder).write_bytes(b"#!/bin/sh\necho planted\n")
    assert code_of(lambda: install.verify(spec, shared)) is Code.PROVIDER_ALTERED
    assert code_of(lambda: install.install(spec, shared)) is Code.PROVIDER_ALTERED


def test_an_altered_tool_is_made_whole_when_it_is_installed_again(spec, shared):
    first = install.install(spec, shared)
    spec.program_in(first.folder).unlink()
    again = install.install(spec, shared, again=True)
    assert again == first
    assert sorted(path.name for path in (shared / "cli").iterdir()) == [".codex.lock", first.folder.name]


def test_what_a_killed_installation_left_is_removed_by_the_next(spec, shared):
    (shared / "cli" / ".codex-half" / "made").mkdir(parents=True)
    done = install.install(spec, shared)
    assert sorted(path.name for path in (shared / "cli").iterdir()) == [".codex.lock", done.folder.name]


def test_two_installations_at_once_make_one_folder(spec, shared):
    found = []
    threads = [threading.Thread(target=lambda: found.append(install.install(spec, shared))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert found[0] == found[1]


def test_a_place_that_cannot_be_written_is_the_operators_matter(spec, tmp_path):
    (tmp_path / "file").write_text("")
    assert code_of(lambda: install.install(spec, tmp_path / "file")) is Code.PROVIDER_NOT_INSTALLED


def test_another_lock_is_another_folder(spec, shared):
    before = install.cli_folder(spec, shared)
    lock = spec.npm_folder / "package-lock.json"
    lock.write_text(lock.read_text() + "\n")
    assert install.cli_folder(spec, shared) != before


def test_f082_node_is_copied_once_and_again_when_it_is_altered(shared):
    folder = install.node(shared)
    binary = folder / "bin" / "node"
    assert binary.stat().st_mode & 0o777 == 0o755
    first = binary.stat().st_ino
    assert install.node(shared) == folder
    assert binary.stat().st_ino == first
    binary.write_bytes(b"planted")
    assert install.node(shared) == folder
    assert binary.stat().st_size > 10**7
