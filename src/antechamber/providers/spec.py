"""A provider as the rest of Antechamber sees it: its definition, its jobs, its parser."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from antechamber.errors import Code, OperatorError
from antechamber.providers import capture, job

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from antechamber.providers.capture import CapturedFile, Parsed
    from antechamber.providers.definition import Definition, Terms

_NPM_ARCHITECTURE: Final = {"x86_64": "x64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """One provider, from a valid definition."""

    definition: Definition
    folder: Path
    """The folder of the definition file, below which its npm folder lies."""

    @property
    def id(self) -> str:
        """The canonical id, such as `claude_code`."""
        return self.definition.id

    @property
    def name(self) -> str:
        """What people call the tool."""
        return self.definition.name

    @property
    def vendor(self) -> str:
        """Who makes the tool."""
        return self.definition.vendor

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other ids that callers use for it."""
        return tuple(self.definition.aliases)

    @property
    def notices(self) -> tuple[str, ...]:
        """What the person must know before Connect, in sentences."""
        return tuple(self.definition.notices)

    @property
    def captures(self) -> tuple[str, ...]:
        """What is captured, in sentences, for the consent text."""
        return tuple(self.definition.captures)

    @property
    def sign_in_hosts(self) -> tuple[str, ...]:
        """Hosts that a sign-in is known to need; `*.` in front means every subdomain."""
        return tuple(self.definition.sign_in.hosts)

    @property
    def background_hosts(self) -> tuple[str, ...]:
        """Hosts that the tool asks for besides."""
        return tuple(self.definition.sign_in.background_hosts)

    @property
    def run_hosts(self) -> tuple[str, ...]:
        """The only hosts that a run reaches."""
        return tuple(self.definition.run.hosts)

    @property
    def renewal_hosts(self) -> tuple[str, ...]:
        """Those of them at which the tool renews its credential."""
        return tuple(self.definition.run.renewal_hosts)

    @property
    def terminal(self) -> Literal["write", "read", "none"]:
        """Whether a person can see what the tool writes (`read`), and type into its terminal (`write`)."""
        match self.definition.sign_in.drive.how:
            case "pty":
                return "write"
            case "plain":
                return "read"
            case _:
                # what a tool says by ACP is no text for people
                return "none"

    @property
    def revoke_url(self) -> str:
        """Where the person ends the sign-in at the vendor."""
        return self.definition.revoke_url

    @property
    def terms(self) -> Terms:
        """The vendor's terms; `read_on` is None while nobody has read the live page."""
        return self.definition.terms

    @property
    def version(self) -> str:
        """The pinned version of the tool."""
        return self.definition.install.version

    @property
    def needs_node(self) -> bool:
        """Whether machines of this provider need Node at /opt/node."""
        return self.definition.install.needs_node

    @property
    def npm_folder(self) -> Path | None:
        """The folder with package.json and package-lock.json; None where npm does not bring the tool."""
        npm = self.definition.install.npm
        return None if npm is None else self.folder / npm

    @property
    def tool_folder(self) -> Path | None:
        """The operator's own folder with the tool; None where npm brings it."""
        folder = self.definition.install.folder
        return None if folder is None else self.folder / folder

    @property
    def unpacked_bytes(self) -> int:
        """About how large the installed tool is."""
        return self.definition.install.unpacked_mib * 2**20

    @property
    def program(self) -> str:
        """The program's path inside the installed folder, on this computer; raises OperatorError on a foreign one."""
        return self.program_for(platform.machine())

    def program_for(self, machine: str) -> str:
        """Return the program's path on a computer whose processor `uname -m` calls so; raises OperatorError."""
        if machine not in _NPM_ARCHITECTURE:
            raise OperatorError(
                Code.PROVIDER_NOT_INSTALLED,
                message=f"{self.name} has no program for this computer's processor.",
                next_step="Use a glibc Linux on x86_64 or arm64.",
                detail=machine,
            )
        text = self.definition.install.program
        return text.replace("{arch}", _NPM_ARCHITECTURE[machine]).replace("{machine}", machine)

    def program_in(self, folder: Path) -> Path:
        """Return the program's path when the tool is installed in that folder."""
        return folder / self.program

    @property
    def offline_check(self) -> str:
        """What says whether a stored credential is taken: the tool's own command, or our reading of its file."""
        arguments = self.definition.check.arguments
        return f"{self.id} file" if arguments is None else " ".join([self.program.rsplit("/", 1)[-1], *arguments])

    def job(self) -> dict[str, Any]:
        """Return the guest's job for a sign-in."""
        return job.sign_in(self)

    def check_job(self, bundle: bytes) -> dict[str, Any]:
        """Return the guest's job that asks the tool, offline, whether it accepts a stored credential.

        The job holds the credential. Raises ProviderError (credential_malformed) for a bundle of another provider.
        """
        return job.check(self, bundle)

    def run_job(
        self,
        bundle: bytes,
        arguments: Sequence[str],
        *,
        terminal: bool,
        held: bool,
        given: bytes | None = None,
        folder: str | None = None,
    ) -> dict[str, Any]:
        """Return the guest's job that runs the tool with a stored credential and these arguments.

        `terminal`: it has a terminal; `held`: it waits for its reader; `given`: all of its input, None where its reader
        types it; `folder`: where in the machine it works, None: in an empty folder. The job holds the credential.
        Raises ProviderError (credential_malformed) for a bundle of another provider.
        """
        return job.run(self, bundle, arguments, terminal=terminal, held=held, given=given, folder=folder)

    def parse(self, files: Mapping[str, CapturedFile]) -> Parsed:
        """Judge captured files and return what is to be sealed, with its claims; raises ProviderError."""
        return capture.parse(self, files)
