"""What an emulator is told when it starts: region, keys, listeners, pace and clock.

Decides which settings make no sense. Reads neither environment nor files.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One access key of the account that the emulator bills.

    secret: what calls are signed with.
    security_token: set for an STS key; calls must then carry it, signed.
    active: False stands for a key that was switched off.
    expires_at: of an STS key, in seconds since the epoch; None for one that does not end.
    account_id: keys of one account see each other's jobs, keys of two accounts do not.
    """

    secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    active: bool = True
    account_id: str = "1000000000000001"
    expires_at: float | None = None

    def __post_init__(self) -> None:
        if not self.secret:
            raise ValueError("an access key needs a secret")
        if self.security_token == "":
            raise ValueError("a security token is either absent or not empty")


@dataclass(frozen=True, slots=True)
class EmulatorSettings:
    """Everything an emulator can be told.

    access_keys: by access key id.
    region: whose endpoint this stands in for; addresses of buckets elsewhere are refused.
    job_seconds: from acceptance to the end of a job; 0 ends it before the first query.
    host: IP address to listen on. http_port, https_port: 0 takes a free one, None is no listener.
    certificates_folder: where the throw-away certificates go; None is a temporary folder.
    nonce_window_seconds: how far a date may be off, and so how long a nonce is remembered.
    cancelled_status: what a cancelled job reports. Unverified upstream, hence a setting.
    clock: seconds since the epoch. Everything except TLS reads the time here.
    """

    access_keys: Mapping[str, AccessKey]
    region: str = "cn-shanghai"
    job_seconds: float = 1.0
    host: str = "127.0.0.1"
    http_port: int | None = 0
    https_port: int | None = None
    certificates_folder: Path | None = None
    nonce_window_seconds: int = 900
    cancelled_status: str = "Fail"
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if not self.access_keys:
            raise ValueError("without access keys no call could ever be verified")
        if not self.region:
            raise ValueError("region is empty")
        if self.http_port is None and self.https_port is None:
            raise ValueError("at least one of http_port and https_port is needed")
        if self.job_seconds < 0:
            raise ValueError("job_seconds is negative")
        if self.nonce_window_seconds <= 0:
            raise ValueError("nonce_window_seconds is not positive")
