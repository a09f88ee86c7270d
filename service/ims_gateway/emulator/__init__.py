"""An IMS stand-in that verifies signatures and can be told to misbehave.

For development, tests and benchmarks. Shares no code with the rest of the gateway.
"""

from ims_gateway.emulator.faults import FaultKind, FaultPlan
from ims_gateway.emulator.jobs import Job
from ims_gateway.emulator.server import Emulator
from ims_gateway.emulator.settings import AccessKey, EmulatorSettings

__all__ = ["AccessKey", "Emulator", "EmulatorSettings", "FaultKind", "FaultPlan", "Job"]
