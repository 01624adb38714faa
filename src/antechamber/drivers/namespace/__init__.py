"""Machines as namespaces of this host: bubblewrap, seccomp, a keeper each."""

from antechamber.drivers.namespace.driver import NamespaceDriver

__all__ = ["NamespaceDriver"]
