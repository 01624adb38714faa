"""Rows of the tables as the frozen records of `model`."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from antechamber.model import (
    Actor,
    ApiKey,
    ApiScope,
    Application,
    AuditAction,
    AuditLine,
    AuditOutcome,
    AuthSession,
    Claims,
    Credential,
    CredentialEvent,
    CredentialReason,
    CredentialStatus,
    Destination,
    Erasure,
    Event,
    Fields,
    Lease,
    MachineKind,
    MachineRow,
    MachineState,
    NodeRow,
    Operator,
    Owner,
    Purpose,
    Reason,
    Run,
    RunReason,
    RunStatus,
    Sealed,
    SessionStatus,
)

if TYPE_CHECKING:
    from sqlalchemy import Row


def session_of(row: Row[Any]) -> AuthSession:
    """Return the session of a row of `auth_sessions`."""
    return AuthSession(
        id=row.id,
        owner=Owner(user_id=row.user_id, application=row.application),
        provider=row.provider,
        status=SessionStatus(row.status),
        fields=Fields(display_name=row.display_name, purpose=row.purpose, return_url=row.return_url),
        created_at=row.created_at,
        status_at=row.status_at,
        expires_at=row.expires_at,
        machine_id=row.machine_id,
        reason=_reason(row.reason),
        detail=row.detail,
        opened_at=row.opened_at,
        consented_at=row.consented_at,
        screen_seen_at=row.screen_seen_at,
        success_shown_at=row.success_shown_at,
        rejected_at=row.rejected_at,
        ended_at=row.ended_at,
        captured_credential_id=row.captured_credential_id,
        captured_version=row.captured_version,
        attempt=row.attempt,
        gave_up_at=row.gave_up_at,
        cli_said=row.cli_said,
        replace_account=row.replace_account,
        binds=row.binds,
    )


def machine_of(row: Row[Any]) -> MachineRow:
    """Return the machine of a row of `machines`."""
    return MachineRow(
        id=row.id,
        kind=MachineKind(row.kind),
        session_id=row.session_id,
        state=MachineState(row.state),
        driver=row.driver,
        incarnation=row.incarnation,
        created_at=row.created_at,
        state_at=row.state_at,
        expires_at=row.expires_at,
        handle=row.handle,
        host_uid=row.host_uid,
        exit_code=row.exit_code,
        end_detail=row.end_detail,
        ended_at=row.ended_at,
        node=row.node,
        claimed_until=row.claimed_until,
        credential_id=row.credential_id,
        run_id=row.run_id,
    )


def run_of(row: Row[Any]) -> Run:
    """Return the run of a row of `runs`."""
    return Run(
        id=row.id,
        owner=Owner(user_id=row.user_id, application=row.application),
        provider=row.provider,
        credential_id=row.credential_id,
        status=RunStatus(row.status),
        terminal=row.terminal,
        held=row.held,
        seconds=row.seconds,
        node=row.node,
        asked_by=Actor(row.asked_by),
        created_at=row.created_at,
        status_at=row.status_at,
        arguments=tuple((row.request or {}).get("arguments", ())),
        given=_bytes((row.request or {}).get("input")),
        workspace=(row.request or {}).get("workspace"),
        expires_at=row.expires_at,
        reason=None if row.reason is None else RunReason(row.reason),
        exit_code=row.exit_code,
        redacted=row.redacted,
        detail=row.detail,
        machine_id=row.machine_id,
        ended_at=row.ended_at,
        api_key=row.api_key,
    )


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def lease_of(row: Row[Any]) -> Lease:
    """Return the lease of a row of `leases`."""
    return Lease(
        id=row.id,
        credential_id=row.credential_id,
        run_id=row.run_id,
        version=row.version,
        granted_at=row.granted_at,
        renewing_at=row.renewing_at,
        ended_at=row.ended_at,
    )


def audit_line_of(row: Row[Any]) -> AuditLine:
    """Return the line of a row of `audit`."""
    return AuditLine(
        seq=row.seq,
        id=row.id,
        at=row.at,
        actor=Actor(row.actor),
        action=AuditAction(row.action),
        outcome=AuditOutcome(row.outcome),
        owner=row.owner,
        purpose=None if row.purpose is None else Purpose(row.purpose),
        provider=row.provider,
        credential_id=row.credential_id,
        version=row.version,
        session_id=row.session_id,
        refused=row.refused,
        api_key=row.api_key,
        reason=row.reason,
        fields=row.fields,
        operator=_operator_of(row),
    )


def application_of(row: Row[Any]) -> Application:
    """Return the application of a row of `applications`."""
    return Application(
        id=row.id,
        name=row.name,
        bind_url=row.bind_url,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        live=row.live,
        starts_an_hour=row.starts_an_hour,
    )


def api_key_of(row: Row[Any]) -> ApiKey:
    """Return the key of a row of `api_keys`."""
    return ApiKey(
        id=row.id,
        application=row.application,
        name=row.name,
        scopes=frozenset(ApiScope(word) for word in row.scopes.split()),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )


def node_of(row: Row[Any]) -> NodeRow:
    """Return the node of a row of `nodes`."""
    return NodeRow(id=row.id, name=row.name, url=row.url, joined_at=row.joined_at, seen_at=row.seen_at)


def credential_of(row: Row[Any]) -> Credential:
    """Return the metadata of a row of `provider_credentials`."""
    return Credential(
        id=row.id,
        owner=Owner(user_id=row.user_id, application=row.application),
        provider=row.provider,
        version=row.version,
        claims=Claims(
            account=row.account,
            plan=row.plan,
            expires_at=row.claimed_expiry,
            renewable=row.renewable,
            ends_at=row.ends_at,
        ),
        session_id=row.session_id,
        created_at=row.created_at,
        stored_at=row.stored_at,
        status=CredentialStatus(row.status),
        status_reason=CredentialReason(row.status_reason),
        status_at=row.status_at,
        deleted_at=row.deleted_at,
    )


def sealed_of(row: Row[Any]) -> Sealed:
    """Return what is sealed in a row of `provider_credentials` that is no tombstone."""
    return Sealed(
        ciphertext=row.ciphertext,
        wrapped_key=row.wrapped_key,
        key_id=row.key_id,
        format_version=row.format_version,
    )


def event_of(row: Row[Any]) -> Event:
    """Return the event of a row of `events`."""
    return Event(
        seq=row.seq,
        id=row.id,
        session_id=row.session_id,
        machine_id=row.machine_id,
        kind=row.kind,
        before=row.before,
        after=row.after,
        reason=_reason(row.reason),
        at=row.at,
        fields=row.fields,
    )


def erasure_of(row: Row[Any]) -> Erasure:
    """Return the erasure of a row of `erasures`."""
    return Erasure(
        id=row.id,
        application=row.application,
        user_id=row.user_id,
        asked_by=Actor(row.asked_by),
        api_key=row.api_key,
        operator=_operator_of(row),
        asked_at=row.asked_at,
        finished_at=row.finished_at,
        sessions=row.sessions,
        machines=row.machines,
        credentials=row.credentials,
        events=row.events,
    )


def credential_event_of(row: Row[Any]) -> CredentialEvent:
    """Return the event of a row of `credential_events`."""
    return CredentialEvent(
        seq=row.seq,
        credential_id=row.credential_id,
        version=row.version,
        kind=row.kind,
        before=None if row.before is None else CredentialStatus(row.before),
        after=CredentialStatus(row.after),
        reason=None if row.reason is None else CredentialReason(row.reason),
        at=row.at,
        session_id=row.session_id,
        fields=row.fields,
    )


def destination_of(row: Row[Any]) -> Destination:
    """Return the destination of a row of `destinations`."""
    return Destination(
        session_id=row.session_id,
        name=row.name,
        port=row.port,
        verdict=row.verdict,
        bytes_out=row.bytes_out,
        bytes_in=row.bytes_in,
        connections=row.connections,
        first_at=row.first_at,
        last_at=row.last_at,
    )


def _operator_of(row: Row[Any]) -> Operator | None:
    return None if row.operator_issuer is None else Operator(row.operator_issuer, row.operator_subject)


def _reason(word: str | None) -> Reason | None:
    return None if word is None else Reason(word)
