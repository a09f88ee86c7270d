"""Which tenant a credential belongs to, for all tenants on file.

Decides nothing about a credential itself: it names the tenant whose file has the rest. The empty
name stands for the platform, whose principals are its operators.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any, Final

from ims_gateway.tenancy.tenant import Credentials

PLATFORM: Final = ""
# A token that lists a thousand groups is looked up with the first ones only.
MOST_COMBINATIONS: Final = 1024
Claims = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Entries:
    """What an index has of an owner: hashes of keys, SPIFFE ids, issuers with claims."""

    keys: tuple[bytes, ...]
    spiffe_ids: tuple[str, ...] = ()
    tokens: tuple[tuple[str, Claims], ...] = ()


def entries_of(credentials: Credentials) -> Entries:
    """Return the entries that credentials make."""
    return Entries(
        tuple(bytes.fromhex(key.hash) for key in credentials.keys),
        tuple(credentials.spiffe_ids),
        tuple((token.issuer, token.claims) for token in credentials.tokens),
    )


@dataclass(slots=True)
class Index:
    """Owners by the hash of an API key, by SPIFFE id, and by an issuer's claims."""

    keys: dict[bytes, str] = field(default_factory=dict)
    spiffe_ids: dict[str, str] = field(default_factory=dict)
    tokens: dict[tuple[str, Claims], str] = field(default_factory=dict)
    # The sets of claims that somebody of an issuer is recognized by.
    shapes: dict[str, frozenset[tuple[str, ...]]] = field(default_factory=dict)

    def copy(self) -> Index:
        """Return a copy to change."""
        return Index(
            self.keys.copy(), self.spiffe_ids.copy(), self.tokens.copy(), self.shapes.copy()
        )

    def add(self, owner: str, entries: Entries) -> None:
        """Let the entries belong to an owner."""
        for table, keys in self._tables(entries):
            table.update(dict.fromkeys(keys, owner))
        for issuer, claims in entries.tokens:
            shape = tuple(name for name, _ in claims)
            self.shapes[issuer] = self.shapes.get(issuer, frozenset()) | {shape}

    def remove(self, owner: str, entries: Entries) -> None:
        """Let what belongs to the owner belong to nobody."""
        for table, keys in self._tables(entries):
            for key in keys:
                if table.get(key) == owner:
                    del table[key]

    def owners(self, entries: Entries) -> list[str]:
        """Return whose the entries are already."""
        found = {
            table[key] for table, keys in self._tables(entries) for key in keys if key in table
        }
        return sorted(found)

    def by_claims(self, issuer: str, claims: Mapping[str, Any]) -> set[tuple[str, Claims]]:
        """Return the owners that recognize somebody by the claims, with those claims.

        A claim that is a list counts as each of its members.
        """
        return {
            (owner, wanted)
            for wanted in self._candidates(issuer, claims)
            if (owner := self.tokens.get((issuer, wanted))) is not None
        }

    def _candidates(self, issuer: str, claims: Mapping[str, Any]) -> Iterator[Claims]:
        for shape in self.shapes.get(issuer, ()):
            values = ([(name, text) for text in _texts(claims.get(name))] for name in shape)
            yield from islice(product(*values), MOST_COMBINATIONS)

    def _tables(self, entries: Entries) -> tuple[tuple[dict[Any, str], tuple[Any, ...]], ...]:
        return (
            (self.keys, entries.keys),
            (self.spiffe_ids, entries.spiffe_ids),
            (self.tokens, entries.tokens),
        )


def _texts(claim: Any) -> Iterable[str]:
    members = claim if isinstance(claim, list) else [claim]
    return [member for member in members if isinstance(member, str)]
