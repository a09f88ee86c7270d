"""Whether the configuration's files are good: as a start would find them, and as the lint does."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Final

from ims_gateway.doctor.finding import Finding, fail, ok, warn
from ims_gateway.policy.findings import Severity
from ims_gateway.policy.lint import lint
from ims_gateway.policy.suites import Examiner
from ims_gateway.settings import Settings
from ims_gateway.tenancy.directory import Directory
from ims_gateway.tenancy.loading import load
from ims_gateway.tenancy.reading import ConfigurationError, Fault

FILES: Final = "files"
PEPPER: Final = "key pepper"
# Of a random text of 32 characters there are nearly always more.
FEWEST_CHARACTERS: Final = 10


def check_files(settings: Settings) -> tuple[Directory | None, list[Finding]]:
    """Read the files as a start does. Returns what it would begin with, if it would."""
    try:
        loaded = load(settings.config_dir, Examiner().read)
    except ConfigurationError as error:
        advice = "Correct it: no gateway starts with this."
        return None, [fail(FILES, fault.file, _spelled(fault), advice) for fault in error.faults]
    faulty = [
        fail(FILES, fault.file, _spelled(fault), "Correct it: the file is not taken as it is.")
        for faults in loaded.faults.values()
        for fault in faults
    ]
    directory = loaded.directory
    found = f"tenants: {len(directory)}, accounts: {len(directory.accounts)}"
    return directory, [ok(FILES, settings.config_dir.name, found), *faulty]


def check_policy(settings: Settings) -> list[Finding]:
    """Sum up what `imsgw policy lint` finds, but for what keeps files from being taken."""
    found = [each for each in lint(settings.config_dir) if each.code != "malformed"]
    if not found:
        return [ok("policy", "lint", "nothing")]
    errors = sum(each.kind.severity is Severity.ERROR for each in found)
    codes = Counter(each.code for each in found)
    named = ", ".join(f"{code} ({count})" for code, count in codes.most_common(4))
    text = f"errors: {errors}, warnings: {len(found) - errors}; {named}"
    return [warn("policy", "lint", text, "`imsgw policy lint` says where, and how to mend it.")]


def check_pepper(settings: Settings) -> list[Finding]:
    """Say whether the pepper looks like a secret that somebody made."""
    pepper = settings.key_pepper.get_secret_value()
    if len(set(pepper)) < FEWEST_CHARACTERS:
        found = "set, with hardly any different characters"
        advice = "Make a random one, such as of `openssl rand -hex 32`, and all API keys anew."
        return [warn(PEPPER, "IMSGW_KEY_PEPPER", found, advice)]
    return [ok(PEPPER, "IMSGW_KEY_PEPPER", f"set, {len(pepper)} characters")]


def check_decision_log(settings: Settings) -> list[Finding]:
    """Say whether the file of the decision log can be written."""
    target = settings.decision_log
    if target in ("", "-"):
        where = "standard output" if target else "off"
        return [ok("decision log", "IMSGW_DECISION_LOG", where)]
    file = Path(target)
    if os.access(file if file.exists() else file.parent, os.W_OK):
        return [ok("decision log", "IMSGW_DECISION_LOG", target)]
    advice = "Let the gateway's user write there, or log to standard output: '-'."
    return [fail("decision log", "IMSGW_DECISION_LOG", f"{target} cannot be written", advice)]


def _spelled(fault: Fault) -> str:
    return f"line {fault.line}: {fault.message}" if fault.line else fault.message
