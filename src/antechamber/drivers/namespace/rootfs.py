"""The machine's /etc: written whole for each machine, so that nothing of the host's own configuration shows in it.

Only what has no secret and is needed as it is (fonts, alternatives, public certificates) is bound from the host.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

USER: Final = "user"
HOME: Final = "/home/user"
HOSTNAME: Final = "antechamber"
INNER_ID: Final = 1000
"""Uid and gid inside the machine."""

FROM_HOST: Final = ("alternatives", "fonts", "ssl/certs", "ssl/openssl.cnf", "ld.so.cache")
"""What of the host's /etc is bound read-only."""

_PUBLIC_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"

_FILES: Final = {
    "passwd": f"root:x:0:0:root:/:/usr/sbin/nologin\n{USER}:x:{INNER_ID}:{INNER_ID}:{USER}:{HOME}:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "group": f"root:x:0:\n{USER}:x:{INNER_ID}:\nnogroup:x:65534:\n",
    # the agent's own DNS; one try is enough on loopback
    "resolv.conf": "nameserver 127.0.0.1\noptions timeout:10 attempts:2\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "hosts": f"127.0.0.1 localhost {HOSTNAME}\n",
    "hostname": f"{HOSTNAME}\n",
    # Debian's launcher reads every file here and fails without one. The host's own files stay out: they load extensions
    # and carry Debian's API keys. "no" is Chromium's word for "without keys, and do not complain"
    "chromium.d/antechamber": 'export CHROMIUM_FLAGS="$CHROMIUM_FLAGS --disable-pings --media-router=0"\n'
    "export GOOGLE_API_KEY=no GOOGLE_DEFAULT_CLIENT_ID=no GOOGLE_DEFAULT_CLIENT_SECRET=no\n",
}

MANAGED_POLICY: Final[dict[str, Any]] = {
    "BrowserSignin": 0,
    "SyncDisabled": True,
    "PasswordManagerEnabled": False,
    # else each password that is sent off is asked about at Google, by its hash, as soon as the sign-in went well
    "PasswordLeakDetectionEnabled": False,
    "AutofillAddressEnabled": False,
    "AutofillCreditCardEnabled": False,
    "DeveloperToolsAvailability": 2,
    "RemoteDebuggingAllowed": False,
    "ExtensionInstallBlocklist": ["*"],
    # sign-in pages use popups: 1 is "allow"
    "DefaultPopupsSetting": 1,
    "DefaultNotificationsSetting": 2,
    "DefaultGeolocationSetting": 2,
    "AudioCaptureAllowed": False,
    "VideoCaptureAllowed": False,
    "DefaultWebUsbGuardSetting": 2,
    "DefaultSerialGuardSetting": 2,
    "DefaultWebBluetoothGuardSetting": 2,
    "DefaultWebHidGuardSetting": 2,
    "DefaultSensorsSetting": 2,
    "ScreenCaptureAllowed": False,
    "DownloadRestrictions": 3,
    "AllowFileSelectionDialogs": False,
    "PrintingEnabled": False,
    "URLBlocklist": ["file://*", "chrome://*", "devtools://*", "view-source:*"],
    "IncognitoModeAvailability": 1,
    "TranslateEnabled": False,
    "SearchSuggestEnabled": False,
    "MetricsReportingEnabled": False,
    "BackgroundModeEnabled": False,
    "PromotionsEnabled": False,
    "BrowserNetworkTimeQueriesEnabled": False,
    "ComponentUpdatesEnabled": False,
    "QuicAllowed": False,
    "DNSInterceptionChecksEnabled": False,
    "DnsOverHttpsMode": "off",
    # the way out reads the name in the ClientHello, and cannot see one that is encrypted
    "EncryptedClientHelloEnabled": False,
}
"""Chromium's managed policy; `https://chromeenterprise.google/policies/` says what each entry means."""

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


def managed_policy(trust_anchors: Sequence[str]) -> dict[str, Any]:
    """Return the policy of a machine that trusts these PEM certificates besides the public ones."""
    anchors = ["".join(found.split()) for pem in trust_anchors for found in _PEM.findall(pem)]
    return MANAGED_POLICY | ({"CACertificates": anchors} if anchors else {})


def write(etc: Path, trust_anchors: Sequence[str]) -> None:
    """Write the machine's /etc into that folder, which must not exist; what is bound gets its place to be bound on."""
    etc.mkdir()
    for name, content in _FILES.items():
        _write(etc / name, content)
    _write(etc / "machine-id", secrets.token_hex(16) + "\n")
    _write(etc / "chromium/policies/managed/antechamber.json", json.dumps(managed_policy(trust_anchors), indent=1))
    _write_anchors(etc / "antechamber", trust_anchors)
    for name in FROM_HOST:
        source, place = Path("/etc", name), etc / name
        if source.is_dir():
            place.mkdir(parents=True)
        elif source.exists():
            _write(place, "")
    for path in (etc, *etc.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def _write_anchors(folder: Path, trust_anchors: Sequence[str]) -> None:
    folder.mkdir()
    if not trust_anchors:
        (folder / "bundle.pem").symlink_to(_PUBLIC_CERTIFICATES)
        return
    anchors = "".join(pem.strip() + "\n" for pem in trust_anchors)
    _write(folder / "ca.pem", anchors)
    public = Path(_PUBLIC_CERTIFICATES)
    _write(folder / "bundle.pem", (public.read_text() if public.exists() else "") + anchors)


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
