"""How files say what a policy must answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from ims_gateway.tenancy.shape import NAME, File, Name

Words = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ExpectFile(File):
    """The answer: allowed or not, and if given, the dimension that fails and the deciding rule."""

    allowed: bool
    dimension: (
        Literal["SUBJECT", "ACTION", "ALGORITHM", "READ", "WRITE", "CEILING", "DENY"] | None
    ) = None
    rule: Words | None = None

    @model_validator(mode="after")
    def _fails_only_where_denied(self) -> ExpectFile:
        if self.allowed and self.dimension:
            raise ValueError("nothing fails where the call is allowed")
        return self


class CaseFile(File):
    """One question. The job is written as `imsctl submit --file` takes it."""

    name: Words
    # The tenant's principal, or one of another tenant: tenants/<tenant>/principals/<name>.
    principal: Annotated[
        str, StringConstraints(pattern=rf"^({NAME}|tenants/{NAME}/principals/{NAME})$")
    ]
    action: Literal["submit", "get", "list", "watch", "cancel"] = "submit"
    # Of the job that is got, watched or cancelled.
    algorithm: Words | None = None
    job: dict[str, Any] | None = None
    expect: ExpectFile

    @model_validator(mode="after")
    def _has_a_job_to_submit(self) -> CaseFile:
        if (self.action == "submit") != (self.job is not None):
            raise ValueError("job goes with action submit")
        if self.algorithm and self.action in ("submit", "list"):
            raise ValueError("algorithm goes with get, watch and cancel")
        return self


class SuiteFile(File):
    """A suite."""

    tenant: Name
    cases: Annotated[tuple[CaseFile, ...], Field(min_length=1)]
