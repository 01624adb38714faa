"""The jobs of a guest: what it starts, drives, waits for and puts in place. Their form is the guest's protocol."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from antechamber.errors import Code, ProviderError
from antechamber.providers.capture import open_bundle
from antechamber.providers.definition import CREDENTIAL
from antechamber.providers.paths import NotJsonError, merge, read_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from antechamber.providers.definition import Seed
    from antechamber.providers.spec import ProviderSpec

CLI_AT: Final = "/opt/cli"
"""Where a machine sees the installed tool."""

NODE_AT: Final = "/opt/node"
"""Where a machine sees Node."""


def sign_in(spec: ProviderSpec) -> dict[str, Any]:
    """Return the job of a sign-in."""
    form = spec.definition.sign_in
    return {
        "kind": "sign_in",
        "argv": [*program(spec), *form.arguments],
        "drive": _drive(spec),
        "cli_version": spec.version,
        "env": dict(form.env),
        "clear_env": list(form.clear_env),
        "screen": True,
        "browser": True,
        "seed": [_seed(seed.path, seed.mode, _content(seed)) for seed in form.seed],
        "files": _files(spec),
        "companion_wait_ms": form.companion_wait_ms,
        "page_wait_s": form.page_wait_s,
    }


def check(spec: ProviderSpec, bundle: bytes) -> dict[str, Any]:
    """Return the job of an offline check; the bundle's files are its seeds."""
    form = spec.definition
    argv = [] if form.check.arguments is None else [*program(spec), *form.check.arguments]
    if form.check.parse is not None:
        how: dict[str, Any] = {"parse": form.check.parse}
    else:
        how = {"argv": argv, "accept_code": form.check.accept_code}
        if form.check.accept_json:
            how["accept_json"] = dict(form.check.accept_json)
    return {"kind": "check", "argv": argv, "check": how, **_signed_in(spec, bundle)}


def run(
    spec: ProviderSpec,
    bundle: bytes,
    arguments: Sequence[str],
    *,
    terminal: bool,
    held: bool,
    given: bytes | None,
    folder: str | None,
) -> dict[str, Any]:
    """Return the job of a run with a stored credential; the bundle's files are its seeds."""
    form = spec.definition
    whole = {} if given is None else {"input": base64.b64encode(given).decode()}
    where = {} if folder is None else {"folder": folder}
    return {
        "kind": "run",
        "argv": [*program(spec), *form.run.arguments, *arguments],
        "streams": {"terminal": terminal, "held": held, **whole},
        "companion_wait_ms": form.sign_in.companion_wait_ms,
        **where,
        **_signed_in(spec, bundle),
    }


def _signed_in(spec: ProviderSpec, bundle: bytes) -> dict[str, Any]:
    """Return what of a job has the tool signed in already, and nobody at a screen."""
    form = spec.definition
    return {
        "drive": {"how": "plain", "answers": []},
        "cli_version": spec.version,
        "env": dict(form.run.env),
        "clear_env": list(form.sign_in.clear_env),
        "screen": False,
        "browser": False,
        "seed": _home(spec, bundle),
        "files": _files(spec),
    }


def program(spec: ProviderSpec) -> list[str]:
    """Return what starts the tool in a machine, before its arguments."""
    file = f"{CLI_AT}/{spec.program}"
    return [f"{NODE_AT}/bin/node", file] if spec.needs_node else [file]


def _drive(spec: ProviderSpec) -> dict[str, Any]:
    form = spec.definition.sign_in.drive
    drive: dict[str, Any] = {
        "how": form.how,
        "answers": [{"expect": answer.expect, "send": answer.send} for answer in form.answers],
    }
    if form.acp_method is not None:
        drive["acp_method"] = form.acp_method
    return drive


def _files(spec: ProviderSpec) -> dict[str, dict[str, Any]]:
    form = spec.definition
    credential = form.credential
    files = {
        CREDENTIAL: {
            "path": credential.path,
            "required": [field.path for field in credential.shapes[0].fields if field.required],
            "max_bytes": credential.max_bytes,
            "written": credential.written,
        }
    }
    for name, companion in form.companions.items():
        files[name] = {
            "path": companion.path,
            "required": [kept.path for kept in companion.keep if kept.required],
            "max_bytes": companion.max_bytes,
            "written": companion.written,
        }
    return files


def _home(spec: ProviderSpec, bundle: bytes) -> list[dict[str, Any]]:
    """Return the seeds of a signed-in home; where a captured companion and a seed of ours are one file, ours wins."""
    seeds = {seed.path: _seed(seed.path, seed.mode, _content(seed)) for seed in spec.definition.run.seed}
    for name, file in open_bundle(spec.id, bundle).items():
        path, mode, content = file["path"], file["mode"], file["content"]
        if path in seeds and name != CREDENTIAL:
            try:
                captured, ours = read_object(content.encode()), read_object(str(seeds[path]["content"]).encode())
            except NotJsonError as error:
                raise ProviderError(Code.CREDENTIAL_MALFORMED, detail=f"stored companion {name}: {error}") from error
            content = json.dumps(merge(captured, ours))
        seeds[path] = _seed(path, mode, content)
    return list(seeds.values())


def _seed(path: str, mode: int, content: str) -> dict[str, Any]:
    return {"path": path, "content": content, "mode": mode}


def _content(seed: Seed) -> str:
    return json.dumps(seed.json_) if seed.text is None else seed.text
