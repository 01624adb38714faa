"""The store: the database is the truth, and this is the only place that speaks SQL.

`Store` is opened once; its parts (`sessions`, `attempts`, `machines`, `nodes`, `credentials`, `openings`, `statuses`,
`access`, `logins`, `bindings`, `applications`, `destinations`, `retention`, `erasures`, `audit`, `audit_retention`,
`runs`, `write_backs`) have one file each.
Every move of a state is a compare-and-set with its event in the same transaction; what must never happen is refused by
the database itself (CHECKs, partial unique indexes, `rules`). What differs between databases is behind `dialect`.
"""

from antechamber.store.attempts import CliEnded
from antechamber.store.audit_retention import Cut, NotTaken, canonical
from antechamber.store.changes import CREDENTIALS, ERASURES, MACHINES, RUNS, SESSIONS, Changes, run_topic, session_topic
from antechamber.store.credential_moves import CredentialMoved
from antechamber.store.credentials import Asked, Captured, Rejected, Version
from antechamber.store.dialect import file_url
from antechamber.store.erasures import Holdings
from antechamber.store.limits import Limits, RunLimits
from antechamber.store.logins import Entered
from antechamber.store.moves import Moved
from antechamber.store.nodes import AWAY_AFTER
from antechamber.store.observer import Observer, Recorded, Several
from antechamber.store.openings import Denied
from antechamber.store.retention import Kept, Pruned
from antechamber.store.revisions import Revisions, knows, release_of
from antechamber.store.runs import NewRun, RunMoved
from antechamber.store.sessions import CREATED, Created, Idempotency, NewSession
from antechamber.store.standing import Standing
from antechamber.store.store import About, Store
from antechamber.store.write_backs import NewVersion, WrittenBack

__all__ = [
    "AWAY_AFTER",
    "CREATED",
    "CREDENTIALS",
    "ERASURES",
    "MACHINES",
    "RUNS",
    "SESSIONS",
    "About",
    "Asked",
    "Captured",
    "Changes",
    "CliEnded",
    "Created",
    "CredentialMoved",
    "Cut",
    "Denied",
    "Entered",
    "Holdings",
    "Idempotency",
    "Kept",
    "Limits",
    "Moved",
    "NewRun",
    "NewSession",
    "NewVersion",
    "NotTaken",
    "Observer",
    "Pruned",
    "Recorded",
    "Rejected",
    "Revisions",
    "RunLimits",
    "RunMoved",
    "Several",
    "Standing",
    "Store",
    "Version",
    "WrittenBack",
    "canonical",
    "file_url",
    "knows",
    "release_of",
    "run_topic",
    "session_topic",
]
