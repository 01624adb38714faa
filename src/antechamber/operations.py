"""What the control socket offers, as plain JSON, whether a service runs or the command line opens the store itself."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, overload

from antechamber.credential_life import CredentialFact
from antechamber.errors import CallerError, Code
from antechamber.model import DEFAULT_APPLICATION, Actor, ApiScope, IdPrefix, Owner, application_meant, is_id
from antechamber.nodes import give_up
from antechamber.owners import unnamed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from antechamber.applications import Applications
    from antechamber.auditing import Shortened
    from antechamber.control import Operation
    from antechamber.credentials import Said
    from antechamber.keys import Keys
    from antechamber.machine_logs import MachineLogs
    from antechamber.model import (
        ApiKey,
        AuditLine,
        AuthSession,
        Credential,
        CredentialEvent,
        Event,
        MachineRow,
        Operator,
        Run,
    )
    from antechamber.owners import Owners, Progress
    from antechamber.providers import Providers
    from antechamber.reconciler.errands import Verdict
    from antechamber.revealing import Revealing
    from antechamber.signin import SignIn
    from antechamber.store import Store

_ROWS: Final = 50
_MOST_ROWS: Final = 500
_MOST_DAYS: Final = 3650
_SAID: Final[dict[str, Said]] = {
    "revoked": CredentialFact.SAID_REVOKED,
    "vendor_refused": CredentialFact.VENDOR_REFUSED,
}


def of(signin: SignIn, providers: Providers, status: Callable[[], Mapping[str, Any]]) -> dict[str, Operation]:
    """Return the operations over these use cases."""

    async def ping(_: Mapping[str, Any]) -> Any:
        return {}

    async def show_status(_: Mapping[str, Any]) -> Any:
        return dict(status())

    async def list_providers(_: Mapping[str, Any]) -> Any:
        return [{"id": spec.id, "name": spec.name, "version": spec.version} for spec in providers.all()]

    async def list_sessions(arguments: Mapping[str, Any]) -> Any:
        user_id, application = _asked(arguments)
        found = await signin.sessions(user_id=user_id, application=application, limit=_limit(arguments))
        return [session_view(session) for session in found]

    async def show_session(arguments: Mapping[str, Any]) -> Any:
        session = await signin.session(_id(arguments, IdPrefix.SESSION))
        return {
            **session_view(session),
            "place_in_line": await signin.place_in_line(session),
            "detail": session.detail,
            "cli_said": session.cli_said.splitlines(),
            "machine": await machine_story(signin, session.id),
            "destinations": await signin.connections(session.id),
            "events": [event_view(event) for event in await signin.events(session.id, machines=True)],
        }

    return {
        "ping": ping,
        "status": show_status,
        "providers.list": list_providers,
        "sessions.list": list_sessions,
        "sessions.show": show_session,
        **_of_credentials(signin),
        **_of_revealing(signin.revealing),
        **_of_audit(signin),
    }


def _of_revealing(revealing: Revealing) -> dict[str, Operation]:
    async def allowed(arguments: Mapping[str, Any]) -> Any:
        if (named := _text(arguments, "provider", needed=False)) is not None:
            try:
                day = date.fromisoformat(_text(arguments, "terms_read_on"))
            except ValueError:
                raise CallerError(Code.BAD_REQUEST, message="`terms_read_on` is a day, such as 2026-01-31.") from None
            await revealing.allow(named, day, by=Actor.COMMAND_LINE)
        return [
            {"provider": one.provider, "since": one.since, "terms_read_on": one.terms_read_on.isoformat()}
            for one in (await revealing.allowed()).values()
        ]

    async def forbid(arguments: Mapping[str, Any]) -> Any:
        return {"changed": await revealing.forbid(_text(arguments, "provider"), by=Actor.COMMAND_LINE)}

    async def reveal(arguments: Mapping[str, Any]) -> Any:
        reason, by = _text(arguments, "reason", needed=False), Actor.COMMAND_LINE
        given = await revealing.reveal(_id(arguments, IdPrefix.CREDENTIAL), reason, by=by)
        files = {name: dict(file) for name, file in given.files.items()}
        return {"credential": credential_view(given.credential), "files": files}

    return {"providers.reveal": allowed, "providers.forbid": forbid, "credentials.reveal": reveal}


def _of_credentials(signin: SignIn) -> dict[str, Operation]:
    async def list_credentials(arguments: Mapping[str, Any]) -> Any:
        return [credential_view(found) for found in await signin.credentials(*_asked(arguments))]

    async def show_credential(arguments: Mapping[str, Any]) -> Any:
        credential = await signin.credential(_id(arguments, IdPrefix.CREDENTIAL))
        story = [happening_view(event) for event in (await signin.life.story(credential.id))[1]]
        return {**credential_view(credential), "story": story}

    async def say_of_credential(arguments: Mapping[str, Any]) -> Any:
        word = _SAID.get(_text(arguments, "said"))
        if word is None:
            raise CallerError(Code.BAD_REQUEST, message=f"`said` is one of {', '.join(_SAID)}.")
        return credential_view(await signin.life.say(_id(arguments, IdPrefix.CREDENTIAL), word))

    async def delete_credential(arguments: Mapping[str, Any]) -> Any:
        by = Actor.COMMAND_LINE
        return credential_view(await signin.delete_credential(_id(arguments, IdPrefix.CREDENTIAL), by=by))

    return {
        "credentials.list": list_credentials,
        "credentials.show": show_credential,
        "credentials.say": say_of_credential,
        "credentials.delete": delete_credential,
    }


def _of_audit(signin: SignIn) -> dict[str, Operation]:
    async def list_audit(arguments: Mapping[str, Any]) -> Any:
        after, limit = arguments.get("after", 0), _limit(arguments)
        if type(after) is not int or not 0 <= after < 2**63:
            raise CallerError(Code.BAD_REQUEST, message="`after` is the `seq` of a line, or 0.")
        owner = _asked_owner(arguments)
        return [audit_view(line) for line in await signin.audit(after=after, limit=limit, owner=owner)]

    async def list_cuts(_: Mapping[str, Any]) -> Any:
        return [asdict(cut) for cut in await signin.auditing.cuts()]

    async def exported(arguments: Mapping[str, Any]) -> Any:
        up_to = arguments.get("up_to")
        if up_to is not None and (type(up_to) is not int or not 0 <= up_to < 2**63):
            raise CallerError(Code.BAD_REQUEST, message="`up_to` is the `seq` of a line.")
        return {"up_to": await signin.auditing.exported(up_to)}

    async def prune(arguments: Mapping[str, Any]) -> Any:
        before = _text(arguments, "before", needed=False)
        return shortened_view(await signin.auditing.prune(by=Actor.COMMAND_LINE, before=before))

    return {"audit.list": list_audit, "audit.cuts": list_cuts, "audit.exported": exported, "audit.prune": prune}


def shortened_view(shortened: Shortened) -> dict[str, Any]:
    """Return what of the audit was deleted."""
    return {"lines": shortened.lines, "cut": asdict(shortened.cut) if shortened.cut else None}


def of_nodes(store: Store) -> dict[str, Operation]:
    """Return the operations on the nodes of an installation."""

    async def list_nodes(_: Mapping[str, Any]) -> Any:
        return [
            {
                "id": node.id,
                "name": node.name,
                "url": node.url,
                "seen_at": node.seen_at,
                "machines": running,
            }
            for node, running in await store.nodes.list()
        ]

    async def forget_node(arguments: Mapping[str, Any]) -> Any:
        return {"machines": await give_up(store, _id(arguments, IdPrefix.NODE))}

    return {"nodes.list": list_nodes, "nodes.forget": forget_node}


def of_applications(applications: Applications) -> dict[str, Operation]:
    """Return the operations on applications and their keys; a key is told once, when it is made."""

    async def list_applications(_: Mapping[str, Any]) -> Any:
        return [asdict(one) for one in await applications.list()]

    async def add(arguments: Mapping[str, Any]) -> Any:
        url = _text(arguments, "bind_url", needed=False)
        limits = {name: arguments[name] for name in ("live", "starts_an_hour") if name in arguments}
        _require_kinds(limits, dict.fromkeys(limits, int))
        return asdict(await applications.add(_text(arguments, "name"), bind_url=url, **limits))

    async def change(arguments: Mapping[str, Any]) -> Any:
        kinds = {"name": str, "bind_url": str | None, "disabled": bool, "live": int, "starts_an_hour": int}
        changes = {name: arguments[name] for name in kinds if name in arguments}
        _require_kinds(changes, kinds)
        return asdict(await applications.change(_id(arguments, IdPrefix.APPLICATION), changes))

    return {
        "applications.list": list_applications,
        "applications.add": add,
        "applications.change": change,
    } | _of_api_keys(applications)


def _require_kinds(given: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    for name, value in given.items():
        # a bool is an int to Python
        if not isinstance(value, kinds[name]) or (kinds[name] is int and isinstance(value, bool)):
            raise CallerError(Code.BAD_REQUEST, message=f"`{name}` is not of its kind.")


def _of_api_keys(applications: Applications) -> dict[str, Operation]:
    async def list_keys(arguments: Mapping[str, Any]) -> Any:
        of = None if arguments.get("id") is None else (await applications.get(_id(arguments, IdPrefix.APPLICATION))).id
        return [api_key_view(key) for key in await applications.keys(of)]

    async def add_key(arguments: Mapping[str, Any]) -> Any:
        days = arguments.get("days")
        if days is not None and (type(days) is not int or not 1 <= days <= _MOST_DAYS):
            raise CallerError(Code.BAD_REQUEST, message=f"`days` is a number from 1 to {_MOST_DAYS}.")
        made = await applications.add_key(
            _id(arguments, IdPrefix.APPLICATION),
            name=_text(arguments, "name"),
            scopes=_scopes(arguments),
            lasts=None if days is None else timedelta(days=days),
        )
        return {**api_key_view(made.key), "secret": made.secret.reveal()}

    async def revoke_key(arguments: Mapping[str, Any]) -> Any:
        return api_key_view(await applications.revoke(_id(arguments, IdPrefix.API_KEY)))

    return {"api_keys.list": list_keys, "api_keys.add": add_key, "api_keys.revoke": revoke_key}


def _scopes(arguments: Mapping[str, Any]) -> list[ApiScope]:
    given = arguments.get("scopes")
    try:
        return [ApiScope(word) for word in given] if isinstance(given, list) else []
    except ValueError:
        message = f"`scopes` are some of {', '.join(ApiScope)}."
        raise CallerError(Code.BAD_REQUEST, message=message) from None


def api_key_view(key: ApiKey) -> dict[str, Any]:
    """Return what is known of a key, without what it is."""
    return {**asdict(key), "scopes": sorted(map(str, key.scopes))}


def of_keys(keys: Keys) -> dict[str, Operation]:
    """Return the operations on the vault's keys; none of them answers with a key."""

    async def list_keys(_: Mapping[str, Any]) -> Any:
        return [asdict(key) for key in await keys.list()]

    async def add_key(_: Mapping[str, Any]) -> Any:
        added = await keys.add()
        return {"id": added, "root": keys.root_of(added)}

    async def rotate(_: Mapping[str, Any]) -> Any:
        return {"id": await keys.rotate()}

    async def rewrap(arguments: Mapping[str, Any]) -> Any:
        return asdict(await keys.rewrap(by=Actor.COMMAND_LINE, after=_text(arguments, "after")))

    async def retire(arguments: Mapping[str, Any]) -> Any:
        await keys.retire(_text(arguments, "id"))
        return {}

    return {
        "keys.list": list_keys,
        "keys.add": add_key,
        "keys.rotate": rotate,
        "keys.rewrap": rewrap,
        "keys.retire": retire,
    }


def of_logs(signin: SignIn, logs: MachineLogs, node: str) -> dict[str, Operation]:
    """Return the operation on what failed machines printed; `node` is where these logs lie."""

    async def show_log(arguments: Mapping[str, Any]) -> Any:
        session = await signin.session(_id(arguments, IdPrefix.SESSION))
        machine = await signin.machine(session.id)
        lines = logs.read(session.machine_id)
        return {
            "machine": session.machine_id,
            "node": machine.node if machine else None,
            "here": machine is None or machine.node in {None, node},
            "path": str(logs.path(session.machine_id)) if lines else None,
            "lines": lines,
        }

    return {"sessions.logs": show_log}


def of_owners(owners: Owners, *, carry_out: bool) -> dict[str, Operation]:
    """Return the operations on what is kept of one person.

    With `carry_out` each of them goes on with what is under way: where no service runs, nobody else does.
    """

    async def show_owner(arguments: Mapping[str, Any]) -> Any:
        owner = _owner(arguments)
        if carry_out:
            await owners.go_on()
        about = await owners.about(owner)
        return {
            "application": owner.application,
            "user_id": owner.user_id,
            "live_sessions": about.holdings.live_sessions,
            "sessions": about.holdings.sessions,
            "machines": about.holdings.machines,
            "credentials": about.holdings.credentials,
            "tombstones": about.holdings.tombstones,
            "erasing": _progress(about.erasing) if about.erasing else None,
        }

    async def erase_owner(arguments: Mapping[str, Any]) -> Any:
        progress = await owners.erase(_owner(arguments), by=Actor.COMMAND_LINE)
        return await _gone_on(progress.erasure.id)

    async def show_erasure(arguments: Mapping[str, Any]) -> Any:
        return await _gone_on(_id(arguments, IdPrefix.ERASURE))

    async def _gone_on(erasure_id: str) -> dict[str, Any]:
        if carry_out:
            await owners.go_on()
        return _progress(await owners.erasure(erasure_id))

    return {"owners.show": show_owner, "owners.delete": erase_owner, "owners.erasure": show_erasure}


def _progress(progress: Progress) -> dict[str, Any]:
    erasure = progress.erasure
    return {
        "id": erasure.id,
        "application": erasure.application,
        "asked_by": str(erasure.asked_by),
        "operator": operator_view(erasure.operator),
        "asked_at": erasure.asked_at,
        "finished_at": erasure.finished_at,
        "waits_for": [{"id": row.id, "state": str(row.state), "node": row.node} for row in progress.waits_for],
        "sessions": erasure.sessions,
        "machines": erasure.machines,
        "credentials": erasure.credentials,
        "events": erasure.events,
    }


class Check(Protocol):
    """Lets a CLI say whether it takes a credential."""

    async def __call__(self, owner: Owner, provider: str, *, by: Actor) -> Verdict:
        """Open it for that, on record."""


def check_with(check: Check) -> Operation:
    """Return the operation that lets a CLI say whether it takes a credential; only a running service can do that."""

    async def run(arguments: Mapping[str, Any]) -> Any:
        verdict = await check(_owner(arguments), _text(arguments, "provider"), by=Actor.COMMAND_LINE)
        return {"accepted": verdict.accepted, "by": verdict.by, "detail": verdict.detail}

    return run


@overload
def _text(arguments: Mapping[str, Any], name: str, *, needed: Literal[False]) -> str | None: ...
@overload
def _text(arguments: Mapping[str, Any], name: str) -> str: ...
def _text(arguments: Mapping[str, Any], name: str, *, needed: bool = True) -> str | None:
    given = arguments.get(name)
    if isinstance(given, str) or (given is None and not needed):
        return given
    raise CallerError(Code.BAD_REQUEST, message=f"`{name}` is a text.")


def _owner(arguments: Mapping[str, Any]) -> Owner:
    application = _text(arguments, "application", needed=False)
    return Owner(_text(arguments, "user_id"), application or DEFAULT_APPLICATION)


def _asked(arguments: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return which user's and which application's rows are wanted; a user alone is one of the operator's own."""
    user_id, application = (_text(arguments, name, needed=False) for name in ("user_id", "application"))
    return user_id, application_meant(application, user_id)


def _asked_owner(arguments: Mapping[str, Any]) -> Owner | None:
    if arguments.get("user_id") is not None:
        return _owner(arguments)
    if arguments.get("application") is not None:
        raise unnamed()
    return None


def _limit(arguments: Mapping[str, Any]) -> int:
    limit = arguments.get("limit", _ROWS)
    if type(limit) is not int or not 1 <= limit <= _MOST_ROWS:
        raise CallerError(Code.BAD_REQUEST, message=f"`limit` is a number from 1 to {_MOST_ROWS}.")
    return limit


def _id(arguments: Mapping[str, Any], prefix: IdPrefix) -> str:
    text = str(arguments.get("id", ""))
    if not is_id(text, prefix):
        raise CallerError(Code.MALFORMED_ID)
    return text


def audit_view(line: AuditLine) -> dict[str, Any]:
    """Return a line of the audit as whoever exports it reads it."""
    told = {
        name: value if value is None or isinstance(value, int | datetime | dict) else str(value)
        for name, value in asdict(line).items()
    }
    return told | {"operator": operator_view(line.operator)}


def operator_view(operator: Operator | None) -> dict[str, str] | None:
    """Return which operator did something, by their issuer's word."""
    return {"issuer": operator.issuer, "subject": operator.subject} if operator else None


def session_view(session: AuthSession) -> dict[str, Any]:
    """Return what an operator may see of a session."""
    return {
        "id": session.id,
        "application": session.owner.application,
        "user_id": session.owner.user_id,
        "display_name": session.fields.display_name,
        "purpose": session.fields.purpose,
        "provider": session.provider,
        "status": str(session.status),
        "reason": str(session.reason) if session.reason else None,
        "created_at": session.created_at,
        "status_at": session.status_at,
        "expires_at": session.expires_at,
        "opened_at": session.opened_at,
        "consented_at": session.consented_at,
        "screen_seen_at": session.screen_seen_at,
        "ended_at": session.ended_at,
        "credential_id": session.captured_credential_id,
        "credential_version": session.captured_version,
    }


def machine_view(machine: MachineRow | None) -> dict[str, Any] | None:
    """Return what an operator may see of a machine."""
    if machine is None:
        return None
    return {
        "id": machine.id,
        "state": str(machine.state),
        "driver": machine.driver,
        "node": machine.node,
        "exit_code": machine.exit_code,
        "ended_at": machine.ended_at,
        "detail": machine.end_detail,
    }


async def machine_story(signin: SignIn, session_id: str) -> dict[str, Any] | None:
    """Return what an operator may see of a session's machine, with when its node was last heard of while it runs."""
    machine = await signin.machine(session_id)
    told = machine_view(machine)
    if machine is not None and told is not None:
        node = None if machine.state.ended else await signin.node(session_id)
        told |= {"started_at": machine.created_at, "node_name": node.name if node else None}
        told["node_seen_at"] = node.seen_at if node else None
    return told


def event_view(event: Event) -> dict[str, Any]:
    """Return one event."""
    return {
        "about": "machine" if event.machine_id else "session",
        "at": event.at,
        "kind": event.kind,
        "before": event.before,
        "after": event.after,
        "reason": str(event.reason) if event.reason else None,
        "fields": dict(event.fields),
    }


def happening_view(event: CredentialEvent) -> dict[str, Any]:
    """Return one event of a credential's story."""
    return {
        "at": event.at,
        "kind": event.kind,
        "version": event.version,
        "before": str(event.before) if event.before else None,
        "after": str(event.after),
        "reason": str(event.reason) if event.reason else None,
        "session_id": event.session_id,
        "fields": dict(event.fields),
    }


def run_view(run: Run) -> dict[str, Any]:
    """Return what an operator may see of a run; never what it was asked."""
    return {
        "id": run.id,
        "application": run.owner.application,
        "user_id": run.owner.user_id,
        "provider": run.provider,
        "credential_id": run.credential_id,
        "status": str(run.status),
        "reason": str(run.reason) if run.reason else None,
        "exit_code": run.exit_code,
        "redacted": run.redacted,
        "asked_by": str(run.asked_by),
        "created_at": run.created_at,
        "expires_at": run.expires_at,
        "ended_at": run.ended_at,
        "detail": run.detail,
    }


def credential_view(credential: Credential) -> dict[str, Any]:
    """Return a credential's metadata; the secret is not here to be returned."""
    return {
        "id": credential.id,
        "application": credential.owner.application,
        "user_id": credential.owner.user_id,
        "provider": credential.provider,
        "status": str(credential.status),
        "status_reason": str(credential.status_reason),
        "status_at": credential.status_at,
        "version": credential.version,
        "account": credential.claims.account,
        "plan": credential.claims.plan,
        "expires_at": credential.claims.expires_at,
        "renewable": credential.claims.renewable,
        "ends_at": credential.claims.ends_at,
        "stored_at": credential.stored_at,
        "session_id": credential.session_id,
        "deleted_at": credential.deleted_at,
    }
