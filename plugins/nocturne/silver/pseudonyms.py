"""Pseudonyms: `listener_key` is HMAC-SHA256(tenant key, listener_id), in lower-case hexadecimal (RFC 2104)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from nocturne.settings import Settings
from nocturne.tenants import Tenant

_BLOCK: Final = 64  # of SHA-256, in bytes


def tenant_key(settings: Settings, tenant: Tenant) -> bytes:
    """The key that a tenant's pseudonyms are made with."""
    return settings.derive("listener", tenant.slug)


def key_id(key: bytes) -> str:
    """Tell one key from another without telling the key."""
    return hashlib.sha256(b"key id" + key).hexdigest()[:16]


def pseudonym(key: bytes, identifier: str) -> str:
    """The pseudonym of one identifier."""
    return hmac.new(key, identifier.encode(), hashlib.sha256).hexdigest()


def pseudonym_sql(key: bytes, identifier: str) -> str:
    """SQL of the pseudonym of the SQL text `identifier`; `key` has at most 64 bytes."""
    padded = key.ljust(_BLOCK, b"\0")
    inner = bytes(byte ^ 0x36 for byte in padded).hex()
    outer = bytes(byte ^ 0x5C for byte in padded).hex()
    return f"sha256(unhex('{outer}') || unhex(sha256(unhex('{inner}') || encode({identifier}))))"
