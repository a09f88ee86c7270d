"""How files say who may do what."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from ims_gateway.tenancy.shape import NAME, File, Name, Pattern, Patterns

SUBJECT: Final = rf"^((principal|role)/{NAME}|tenants/{NAME}/principals/{NAME})$"
Priority = Annotated[int, Field(ge=1, le=10)]


class CeilingsFile(File):
    """What a grant allows to be asked for; what is absent is not limited.

    A model, pipeline or template that a job does not name stands as "-".
    """

    priority: tuple[Priority, Priority] | None = None
    models: Patterns = ("*",)
    pipelines: Patterns = ("*",)
    templates: Patterns = ("*",)

    @model_validator(mode="after")
    def _in_order(self) -> CeilingsFile:
        if self.priority and self.priority[0] > self.priority[1]:
            raise ValueError("priority must be [low, high]")
        return self


class GrantFile(File):
    """One grant.

    The subject is `principal/<name>` or `role/<role>` of the tenant, or a principal of another
    tenant that may act for this one: `tenants/<tenant>/principals/<name>`.
    """

    subject: Annotated[str, StringConstraints(pattern=SUBJECT)]
    actions: Annotated[
        tuple[Literal["*", "submit", "get", "list", "watch", "cancel"], ...], Field(min_length=1)
    ]
    algorithms: Patterns = ("*",)
    read: tuple[Pattern, ...] = ()
    write: tuple[Pattern, ...] = ()
    ceilings: CeilingsFile = CeilingsFile()
    effect: Literal["allow", "deny"] = "allow"

    @model_validator(mode="after")
    def _denies_something(self) -> GrantFile:
        of_objects = {"*", "submit"}.intersection(self.actions)
        if self.effect == "deny" and of_objects and not (self.read or self.write):
            raise ValueError('a deny of submit needs read or write; read: ["*"] denies every job')
        return self


def _without_circles(roles: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for role, included in roles.items():
        found, more = set[str](), set(included)
        while more:
            found |= more
            more = {each for name in more for each in roles.get(name, ())} - found
        if role in found:
            raise ValueError(f"role {role} includes itself")
    return roles


# Role -> the roles that whoever has it has as well.
Roles = Annotated[dict[Name, tuple[Name, ...]], AfterValidator(_without_circles)]


class GrantsFile(File):
    """The platform's grants and roles, which every tenant has beside its own.

    In `read` and `write`, {tenant} stands for the tenant's name. `shadow_grants` are on trial: what
    they would decide in the place of `grants` is counted and recorded, and has no effect.
    """

    roles: Roles = Field(default_factory=dict)
    grants: tuple[GrantFile, ...] = ()
    shadow_grants: tuple[GrantFile, ...] | None = None
