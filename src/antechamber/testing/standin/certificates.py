"""A certificate authority in this process's memory, and a TLS context that makes a certificate for each name."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = "Antechamber practice vendor"


class Authority:
    """Signs certificates for the names that are served; its key is never written anywhere."""

    def __init__(self, serves: Callable[[str], bool]) -> None:
        """Make a new key; `serves` says which names get a certificate."""
        self._ca = trustme.CA(organization_name=_NAME, organization_unit_name="DUMMY, for practice only")
        self._serves = serves
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.refused: list[str] = []
        """Names that were asked for by TLS and are not served."""

    @property
    def pem(self) -> str:
        """The CA's certificate."""
        return self._ca.cert_pem.bytes().decode("ascii")

    def context(self) -> ssl.SSLContext:
        """Return the context to listen with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = self._by_name
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _by_name(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        if name is None or not self._serves(name):
            if name is not None and len(self.refused) < 1000:
                self.refused.append(name)
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = self._of(name)
        return None

    def _of(self, name: str) -> ssl.SSLContext:
        if name not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.set_alpn_protocols(["http/1.1"])
            leaf = self._ca.issue_cert(name, organization_name=_NAME)
            chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
            # the ssl module loads keys from paths only; a memory file keeps this one off the disk
            memory = os.memfd_create("leaf", os.MFD_CLOEXEC)
            try:
                os.write(memory, leaf.private_key_pem.bytes() + chain)
                context.load_cert_chain(f"/proc/self/fd/{memory}")
            finally:
                os.close(memory)
            self._contexts[name] = context
        return self._contexts[name]
