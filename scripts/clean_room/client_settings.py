"""How this computer reaches the package registries: what of that a clean room is given.

Only how to get there goes along (sources of Debian 12, proxies, authorities, indexes), never a package or a tool.
Nothing of it is written anywhere but into the room.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SUITES: Final = re.compile(r"bookworm(?:-updates|-security|/updates)?")
_APT: Final = re.compile(r"Acquire::(?:https?|Check-Date|Check-Valid-Until|Retries|ForceIPv[46])\b")
_ENVIRONMENT: Final = re.compile(
    r"(?:PIP_|NPM_CONFIG_|SSL_CERT_|NODE_EXTRA_CA_CERTS$|REQUESTS_CA_BUNDLE$|CURL_CA_BUNDLE$|(?:HTTPS?|ALL|NO)_PROXY$)",
    re.IGNORECASE,
)
_FILES: Final = (
    "/etc/apt/auth.conf",
    "/etc/apt/auth.conf.d",
    "/etc/pip.conf",
    "/etc/xdg/pip",
    "/etc/npmrc",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/usr/local/share/ca-certificates",
)
_HOME_FILES: Final = (".config/pip/pip.conf", ".pip/pip.conf", ".npmrc")
_BUNDLE: Final = Path("/etc/ssl/certs/ca-certificates.crt")
"""Made in the room by its own package, from the authorities above."""
_PATH: Final = re.compile(r"(?<![\w.:/])(?:file://)?(/[\w.+@-]+(?:/[\w.+@-]+)+)")


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What the clients of one computer are told."""

    sources: str
    """Of Debian 12's archive, in the form of a .sources file; empty when this computer has none."""
    apt: str
    """Lines of an apt.conf."""
    environment: dict[str, str]
    home: Path
    folders: tuple[Path, ...]
    """Local indexes and such that the settings name; a room sees them read-only."""
    files: tuple[Path, ...]

    def write_apt(self, root: Path) -> None:
        """Give a room's apt its sources and the way to them."""
        for path in (root / "etc/apt/sources.list", *(root / "etc/apt/sources.list.d").iterdir()):
            path.unlink(missing_ok=True)
        (root / "etc/apt/sources.list.d/clean-room.sources").write_text(self.sources)
        (root / "etc/apt/apt.conf.d/90clean-room").write_text(self.apt)

    def write(self, root: Path) -> None:
        """Copy every file to the same place in the room, and what is root's own also into root's home there."""
        self.write_apt(root)
        for path in self.files:
            copy(path, root)
        self.write_home(root / "root")

    def write_home(self, home: Path) -> None:
        """Copy what this account's home says into another home."""
        for name in _HOME_FILES:
            if (self.home / name).is_file():
                (home / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.home / name, home / name)


def of_this_computer() -> ClientSettings:
    """Read the settings of apt, pip and npm, of this account and of everybody."""
    home = Path.home()
    environment = {name: value for name, value in os.environ.items() if _ENVIRONMENT.match(name)}
    sources = "\n\n".join(_debian_sources(Path("/etc/apt")))
    dumped = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    apt = "".join(f"{line}\n" for line in dumped.splitlines() if _APT.match(line))
    files = [Path(name) for name in _FILES if Path(name).exists()]
    written = [path for path in files if path.is_file() and path.suffix in {".conf", ""}]
    written += [path for folder in files if folder.is_dir() for path in folder.rglob("*") if path.is_file()]
    written += [home / name for name in _HOME_FILES if (home / name).is_file()]
    read = [path.read_text() for path in written if path.name in {"pip.conf", "npmrc", ".npmrc"}]
    named = {Path(found) for text in (*read, *environment.values(), apt, sources) for found in _PATH.findall(text)}
    inside = [path for path in named - {_BUNDLE} if path.exists() and path != _BUNDLE.parent]
    files += [path for path in inside if path.is_file() and not any(path.is_relative_to(known) for known in files)]
    folders = [path for path in inside if path.is_dir() and not path.is_relative_to("/etc") and path != Path("/usr")]
    # what a local index lists lies beside it
    folders = [path.parent if path.name == "simple" else path for path in folders]
    return ClientSettings(sources, apt, environment, home, tuple(sorted(set(folders))), tuple(files))


def copy(path: Path, root: Path) -> None:
    """Copy a file or a folder to the same place below another root."""
    target = root / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    else:
        target.unlink(missing_ok=True)
        shutil.copy(path, target)


def _debian_sources(apt: Path) -> list[str]:
    """Return a paragraph for each source of Debian 12's main archive; other vendors and releases stay outside."""
    found: list[str] = []
    for path in sorted(apt.glob("sources.list.d/*.sources")):
        for paragraph in re.split(r"\n\s*\n", path.read_text()):
            lines = [line for line in paragraph.splitlines() if not line.startswith("#")]
            fields = dict(line.split(":", 1) for line in lines if re.match(r"[\w-]+:", line))
            said = {name.lower(): value.strip() for name, value in fields.items()}
            if said.get("enabled", "yes").lower() != "no" and "deb" in said.get("types", "").split():
                found += _paragraph(said.get("uris", ""), said.get("suites", ""), said.get("signed-by", ""))
    for path in (apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))):
        for line in path.read_text().splitlines() if path.is_file() else ():
            if one := re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s", f"{line} "):
                options = dict(option.split("=", 1) for option in (one[1] or "").split() if "=" in option)
                found += _paragraph(one[2], one[3], options.get("signed-by", ""))
    return found


def _paragraph(uris: str, suites: str, signed_by: str) -> list[str]:
    ours = [suite for suite in suites.split() if SUITES.fullmatch(suite)]
    if not ours:
        return []
    key = f"Signed-By: {signed_by}\n" if signed_by.startswith("/") else ""
    return [f"Types: deb\nURIs: {uris}\nSuites: {' '.join(ours)}\nComponents: main\n{key}"]
