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

    def add(self, owner: str, credentials: Credentials) -> None:
        """Let credentials belong to an owner."""
        for table, credential in self._places(credentials):
            table[credential] = owner
        for token in credentials.tokens:
            shape = tuple(name for name, _ in token.claims)
            self.shapes[token.issuer] = self.shapes.get(token.issuer, frozenset()) | {shape}

    def remove(self, owner: str, credentials: Credentials) -> None:
        """Let what belongs to the owner belong to nobody."""
        for table, credential in self._places(credentials):
            if table.get(credential) == owner:
                del table[credential]

    def owners(self, credentials: Credentials) -> list[str]:
        """Return whose the credentials are already."""
        found = {table.get(credential) for table, credential in self._places(credentials)}
        return sorted(owner for owner in found if owner is not None)

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

    def _places(self, credentials: Credentials) -> Iterator[tuple[dict[Any, str], Any]]:
        for key in credentials.keys:
            yield self.keys, bytes.fromhex(key.hash)
        for spiffe_id in credentials.spiffe_ids:
            yield self.spiffe_ids, spiffe_id
        for token in credentials.tokens:
            yield self.tokens, (token.issuer, token.claims)


def _texts(claim: Any) -> Iterable[str]:
    members = claim if isinstance(claim, list) else [claim]
    return [member for member in members if isinstance(member, str)]
