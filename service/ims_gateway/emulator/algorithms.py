"""The fifteen algorithms, one row each: what the API page lets a job say and what it makes.

A sixteenth algorithm is a sixteenth row. Decides nothing by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ims_gateway.emulator.job_params import (
    Check,
    address,
    assignments,
    box,
    boxes_in_string,
    list_of_boxes,
    one_of,
    one_track,
    some_of,
    time_ranges,
    vertical_and_horizontal_span,
    whole_number,
)

# Elsewhere the answer is InvalidParameter.FunctionNotSupported (wire facts, "Traps").
REGIONS = frozenset({"cn-shanghai", "cn-beijing", "cn-hangzhou"})

_DETEXT_NEW = "algo-video-detext-new"

# Wire facts: names, ranges. Only threshold is a fraction.
_BEAUTY_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("skin_beauty_enable", "shape_beauty_enable", "skin_model"), (0, 1)),
    **dict.fromkeys(("whiten", "smooth", "detail"), (0, 100)),
    **dict.fromkeys(("cheek_thin", "face_cut", "face_thin", "smile"), (0, 100)),
    **dict.fromkeys(("chin_thin", "eye_size"), (0, 100)),
    **dict.fromkeys(("face_length", "chin_length", "eye_corner1", "eye_distance"), (-100, 100)),
    **dict.fromkeys(("nose_thin", "nose_wing", "nose_length", "mouth_size"), (-100, 100)),
    **dict.fromkeys(("mouth_position", "lip_thickness", "hair_line"), (-100, 100)),
    "detect_mode": (0, 1),
    "detect_level": (0, 2),
    "detect_interval": (1, 65535),
    "threshold": (0, 1),
    "max_face_num": (0, 32),
    "min_face": (10, 1024),
}


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One algorithm.

    name: FunctionName. files: the {resultType} of each file that a job makes, in order.
    suffix: of the files whose name the upstream chooses. result: makes Result from the keys
    of the files. params: checks by member of JobParams; none means JobParams must be absent.
    required: members that must be there. models: values of ModelId beside the empty one.
    placeholders: those the output path must hold. input_suffix: of the input's name.
    """

    name: str
    files: tuple[str, ...]
    suffix: str = ""
    result: Callable[[Sequence[str]], Any] = lambda _: {}
    params: Mapping[str, Check] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    placeholders: frozenset[str] = frozenset()
    input_suffix: str | None = None


# Of the results below only Cover's list of Score, Time and Url (the query call's page) and
# VideoSummaryList (wire facts) are real shapes. The others, the names for {resultType}, and
# three covers every time are assumptions of this emulator: no client may rely on them.
def _covers(keys: Sequence[str]) -> Any:
    return [
        {"Score": 8.25 - rank, "Time": f"{2500.5 * (rank + 1)}", "Url": key}
        for rank, key in enumerate(keys)
    ]


def _summary(_: Sequence[str]) -> Any:
    return {"VideoSummaryList": [{"StartTime": "0.28", "EndTime": "5.28"}]}


def _chorus(_: Sequence[str]) -> Any:
    return {"Segments": [{"StartTime": "42.5", "EndTime": "71.25"}]}


def _beats(_: Sequence[str]) -> Any:
    return {"Bpm": 120.0, "Beats": ["0.5", "1.0", "1.5", "2.0"]}


def _quality(_: Sequence[str]) -> Any:
    return {"Score": 78.5, "Noise": 3.9, "Coloration": 4.1, "Discontinuity": 4.4, "Loudness": 4.0}


_ROWS = (
    Algorithm(
        "Cover",
        files=("cover", "cover", "cover"),
        suffix="png",
        result=_covers,
        params={"Model": one_of("", "gif")},
    ),
    Algorithm("VideoClip", files=("clip",), suffix="mp4", result=_summary),
    Algorithm(
        "VideoDelogo",
        files=("delogo",),
        suffix="mp4",
        params={"LogoModel": some_of("tv", "internet"), "Boxes": boxes_in_string(most=2)},
    ),
    Algorithm(
        "VideoDetext",
        files=("detext",),
        suffix="mp4",
        params={"LimitRegion": list_of_boxes, "Time": time_ranges(_DETEXT_NEW)},
        models=frozenset({_DETEXT_NEW}),
    ),
    Algorithm(
        "CaptionExtraction",
        files=("caption",),
        suffix="srt",
        params={
            "fps": whole_number(2, 10),
            "roi": vertical_and_horizontal_span,
            "lang": one_of("ch", "en", "ch_ml"),
            "track": one_of("main"),
        },
    ),
    Algorithm(
        "HybridCaptionExtraction",
        files=("caption",),
        suffix="srt",
        params={
            "fps": whole_number(2, 10),
            "roi": box,
            "lang": one_of("zh", "en"),
            "track": one_of("main"),
        },
    ),
    Algorithm(
        "VideoGreenScreenMatting",
        files=("matting",),
        suffix="webm",
        params={"bgimage": address},
    ),
    Algorithm(
        "FaceBeauty",
        files=("beauty",),
        suffix="mp4",
        params={"beauty_params": assignments(_BEAUTY_RANGES, frozenset({"threshold"}))},
    ),
    Algorithm("VideoH2V", files=("vertical",), suffix="mp4"),
    Algorithm("MusicSegmentDetect", files=("segment",), suffix="json", result=_chorus),
    Algorithm("AudioBeatDetection", files=("beat",), suffix="json", result=_beats),
    Algorithm("AudioQualityAssessment", files=(), result=_quality),
    Algorithm("SpeechDenoise", files=("denoise",), suffix="wav", input_suffix=".wav"),
    Algorithm(
        "AudioMixing",
        files=("mix",),
        suffix="wav",
        params={"inputs": one_track},
        required=frozenset({"inputs"}),
    ),
    Algorithm(
        "MusicDemix",
        files=("vocal", "accompaniment"),
        suffix="wav",
        placeholders=frozenset({"resultType"}),
    ),
)

ALGORITHMS: Mapping[str, Algorithm] = {row.name: row for row in _ROWS}
