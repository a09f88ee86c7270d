"""A job as a YAML or JSON file: the protobuf JSON mapping of Job, in camelCase or snake_case.

Decides nothing about the job: what it says goes to the gateway.
"""

import sys
from pathlib import Path

import typer
import yaml
from google.protobuf import json_format

from imsgateway.v1.job_pb2 import Job


def read_job(path: str) -> Job:
    """Return the job of a file, of standard input for "-".

    Raises typer.BadParameter where it cannot be read or is no job.
    """
    try:
        written = yaml.safe_load(sys.stdin if path == "-" else Path(path).read_text("utf-8"))
        return json_format.ParseDict(written, Job())
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise typer.BadParameter(f"{path} is neither YAML nor JSON: {error}") from None
    except (json_format.ParseError, AttributeError, TypeError) as error:
        raise typer.BadParameter(f"{path} is not a Job: {error}") from None
