"""The server's certificate, taken anew when its files change.

Decides which pair of certificate and key is good enough to be served: a bad or half-written one is
reported, and the one before stays. Connections that are open stay with the one they began with.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

import grpc
import structlog

from ims_gateway.api.pem import Pem, fault_of, read, read_good
from ims_gateway.tenancy.reading import ConfigurationError

LOOK_SECONDS: Final = 0.5
log = structlog.get_logger()


class ServerCertificate:
    """Certificate and key of the server and, where clients need certificates, their authorities.

    Raises ConfigurationError where they are not good.
    """

    def __init__(
        self, certificate_file: Path, key_file: Path, client_ca_file: Path | None = None
    ) -> None:
        self._files = (certificate_file, key_file, client_ca_file)
        self._served = self._checked = self._handed_out = read_good(*self._files)

    def credentials(self) -> grpc.ServerCredentials:
        """Return what a port is opened with: every new connection gets the present certificate."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._served),
            self._changed,  # type: ignore[arg-type]  # None is documented: no change
            require_client_authentication=self._served.client_ca is not None,
        )

    def seconds_left(self) -> float:
        """Return for how long the present certificate is good; less than 0 where it is not."""
        return self._served.ends.timestamp() - time.time()

    async def run(self) -> None:
        """Look for changed files until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Take the files if they have changed and are good."""
        try:
            found = read(*self._files)
        except ConfigurationError:
            # Somebody is putting another one there; what is gone for good is noticed at a start.
            return
        if found == self._checked:
            return
        self._checked = found
        if fault := fault_of(found):
            log.error("certificate of the server not taken", fault=fault)
            return
        self._served = found
        log.info("certificate of the server taken", expires=found.ends.isoformat())

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the certificate if it is not the last that was returned. Called by gRPC."""
        served = self._served
        if served is self._handed_out:
            return None
        self._handed_out = served
        return _configuration(served)


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.chain)], pem.client_ca)
