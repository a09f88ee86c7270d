"""What of a translation the golden cases cannot say: defaults, ceilings, purity."""

from pathlib import Path

import protovalidate
import pytest
import yaml
from google.protobuf import json_format

from ims_gateway.algorithms.translation import (
    Ceilings,
    algorithm_of,
    ceilings,
    submit_parameters,
    with_default_output,
)
from imsgateway.v1 import job_pb2, job_service_pb2

FOLDER = Path(__file__).parents[2] / "cases"
GOOD = {
    f"{path.parent.name}/{path.stem}": document["job"]
    for path in sorted(FOLDER.glob("*/*.yaml"))
    if "upstream" in (document := yaml.safe_load(path.read_text("utf-8")))
}
VIDEO = {"oss_uri": "oss://media-in/e01.mp4"}
PLACE = {"uri": "oss://media-out/{source}.mp4"}


def job(**members):
    """Read a job."""
    return json_format.ParseDict(members, job_pb2.Job())


def task_of(some_job):
    """Return the message of the job's algorithm."""
    return getattr(some_job, some_job.WhichOneof("algorithm"))


@pytest.mark.parametrize("members", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("directory", ["oss://media-out/acme", "oss://media-out/"])
def test_a_default_output_is_valid_and_lies_in_the_folder(members, directory):
    """The filled output passes every rule of the contract, whatever the parameters are."""
    wish = job(**members)
    task_of(wish).ClearField("output")

    filled = with_default_output(wish, directory)

    assert protovalidate.collect_violations(job_service_pb2.SubmitJobRequest(job=filled)) == []
    place = f"{directory.rstrip('/')}/{{source}}-{{timestamp}}-"
    assert submit_parameters(filled)["Output"].startswith(f'{{"Type":"OSS","Media":"{place}')


def test_a_default_output_leaves_the_callers_job_alone():
    """The caller's own body is what a repeated request is compared with."""
    wish = job(video_h2v={"input": VIDEO})
    before = wish.SerializeToString(deterministic=True)

    filled = with_default_output(wish, "oss://media-out")

    assert wish.SerializeToString(deterministic=True) == before
    filled.video_h2v.ClearField("output")
    assert filled == wish


@pytest.mark.parametrize("output", [PLACE, {"media_asset": {}}])
def test_an_output_that_is_given_is_kept(output):
    """A default never replaces a place that the caller names, also if it is no address."""
    wish = job(video_h2v={"input": VIDEO, "output": output})

    assert with_default_output(wish, "oss://elsewhere") == wish


@pytest.mark.parametrize(
    ("task", "file_type"),
    [
        ({"cover": {}}, ".png"),
        ({"cover": {"format": "FORMAT_GIF"}}, ".gif"),
        ({"video_green_screen_matting": {}}, ".webm"),
        ({"video_green_screen_matting": {"background_image_uri": "http://x"}}, ".mp4"),
        ({"music_demix": {}}, "-{resultType}.wav"),
    ],
)
def test_a_default_file_has_the_type_that_the_parameters_make(task, file_type):
    """The type of a default file follows the parameters where they decide it."""
    filled = with_default_output(job(**task), "oss://media-out")

    assert task_of(filled).output.uri.endswith(file_type)


def test_nothing_asked_for_has_no_ceilings():
    """What is not asked for is absent, and not a default of the service."""
    assert ceilings(job(video_detext={})) == Ceilings(None, "", "", "")


def test_ceilings_hold_what_is_asked_for():
    """A grant is compared with the model's upstream id, priority, pipeline and template."""
    wish = job(priority=3, pipeline_id="p", template_id="t", video_detext={"model": "MODEL_NEW"})

    assert ceilings(wish) == Ceilings(3, "algo-video-detext-new", "p", "t")


def test_a_job_without_an_algorithm_has_no_row():
    """Such a job is refused before; here it must not pass for another."""
    with pytest.raises(KeyError):
        algorithm_of(job_pb2.Job())


def test_a_job_without_an_output_is_not_translated():
    """Output is required of every function; leaving it out would be a call that is sure to fail."""
    with pytest.raises(KeyError):
        submit_parameters(job(video_h2v={"input": VIDEO}))


def test_translation_leaves_the_job_alone():
    """Reading a message must not make members that were absent."""
    wish = job(video_detext={"input": VIDEO, "output": PLACE})
    before = wish.SerializeToString(deterministic=True)

    submit_parameters(wish)
    ceilings(wish)

    assert wish.SerializeToString(deterministic=True) == before
