"""The algorithms: one row each, in the order of the contract.

Decides, for every algorithm, how its parameters are spelled and how its result is typed (API page,
wire facts). This is the only module of logic that names an algorithm; a new one is a new row.
"""

from __future__ import annotations

from typing import Final

from ims_gateway.algorithms import decoding
from ims_gateway.algorithms.algorithm import Algorithm, Parameter, TypedMember, always
from ims_gateway.algorithms.encoding import (
    assignments,
    box,
    boxes,
    comma_joined,
    edges,
    in_json,
    named,
    objects,
    time_ranges,
)
from imsgateway.v1.algorithms_pb2 import (
    CAPTION_TRACK_MAIN,
    CaptionExtraction,
    Cover,
    FaceBeauty,
    HybridCaptionExtraction,
    VideoDelogo,
    VideoDetext,
    VideoGreenScreenMatting,
)


def _cover_file(cover: Cover) -> str:
    file_type = "gif" if cover.format == Cover.FORMAT_GIF else "png"
    return f"{{source}}-{{timestamp}}-{{sequenceId}}.{file_type}"


def _matte_file(matting: VideoGreenScreenMatting) -> str:
    file_type = "mp4" if matting.background_image_uri else "webm"
    return f"{{source}}-{{timestamp}}-matte.{file_type}"


# Default files of two algorithms never share a name: {timestamp} does not tell apart two jobs that
# end within one second, and the second one would overwrite the paid result of the first.
TABLE: Final = (
    Algorithm(
        "cover",
        "Cover",
        _cover_file,
        parameters=(Parameter("Model", "format", named({Cover.FORMAT_GIF: "gif"})),),
        files_field="images",
    ),
    Algorithm(
        "video_clip",
        "VideoClip",
        always("{source}-{timestamp}-clip.mp4"),
        files_field="files",
        typed_members=(TypedMember("segments", decoding.time_ranges("VideoSummaryList")),),
    ),
    Algorithm(
        "video_delogo",
        "VideoDelogo",
        always("{source}-{timestamp}-delogo.mp4"),
        parameters=(
            Parameter(
                "LogoModel",
                "logo_models",
                comma_joined(
                    {VideoDelogo.LOGO_MODEL_TV: "tv", VideoDelogo.LOGO_MODEL_INTERNET: "internet"}
                ),
            ),
            # A string here and a list in the next row: so the API page has it.
            Parameter("Boxes", "boxes", in_json(boxes)),
        ),
        files_field="videos",
    ),
    Algorithm(
        "video_detext",
        "VideoDetext",
        always("{source}-{timestamp}-detext.mp4"),
        parameters=(
            Parameter("LimitRegion", "limit_regions", boxes),
            Parameter("Time", "time_ranges", time_ranges),
        ),
        model=Parameter(
            "ModelId", "model", named({VideoDetext.MODEL_NEW: "algo-video-detext-new"})
        ),
        files_field="videos",
    ),
    Algorithm(
        "caption_extraction",
        "CaptionExtraction",
        always("{source}-{timestamp}-captions.srt"),
        parameters=(
            Parameter("fps", "fps"),
            Parameter("roi", "roi", edges),
            Parameter(
                "lang",
                "language",
                named(
                    {
                        CaptionExtraction.LANGUAGE_CHINESE: "ch",
                        CaptionExtraction.LANGUAGE_ENGLISH: "en",
                        CaptionExtraction.LANGUAGE_CHINESE_ENGLISH: "ch_ml",
                    }
                ),
            ),
            Parameter("track", "track", named({CAPTION_TRACK_MAIN: "main"})),
        ),
        files_field="captions",
    ),
    Algorithm(
        "hybrid_caption_extraction",
        "HybridCaptionExtraction",
        always("{source}-{timestamp}-hybrid-captions.srt"),
        parameters=(
            Parameter("fps", "fps"),
            Parameter("roi", "roi", box),
            Parameter(
                "lang",
                "language",
                # zh, where the extraction from pictures says ch.
                named(
                    {
                        HybridCaptionExtraction.LANGUAGE_CHINESE: "zh",
                        HybridCaptionExtraction.LANGUAGE_ENGLISH: "en",
                    }
                ),
            ),
            Parameter("track", "track", named({CAPTION_TRACK_MAIN: "main"})),
        ),
        files_field="captions",
    ),
    Algorithm(
        "video_green_screen_matting",
        "VideoGreenScreenMatting",
        _matte_file,
        parameters=(Parameter("bgimage", "background_image_uri"),),
        files_field="videos",
    ),
    Algorithm(
        "face_beauty",
        "FaceBeauty",
        always("{source}-{timestamp}-beauty.mp4"),
        parameters=(
            Parameter(
                "beauty_params",
                "parameters",
                assignments(
                    {
                        "detect_mode": {
                            FaceBeauty.Parameters.DETECT_MODE_VIDEO: "0",
                            FaceBeauty.Parameters.DETECT_MODE_IMAGE: "1",
                        }
                    }
                ),
            ),
        ),
        files_field="videos",
    ),
    Algorithm(
        "video_h2v",
        "VideoH2V",
        always("{source}-{timestamp}-vertical.mp4"),
        files_field="videos",
    ),
    Algorithm(
        "music_segment_detect",
        "MusicSegmentDetect",
        always("{source}-{timestamp}-chorus.json"),
        files_field="detections",
    ),
    Algorithm(
        "audio_beat_detection",
        "AudioBeatDetection",
        always("{source}-{timestamp}-beats.json"),
        files_field="detections",
    ),
    Algorithm(
        "audio_quality_assessment",
        "AudioQualityAssessment",
        # Nothing is written there; the API page demands Output of every function.
        always("{source}-{timestamp}-quality.json"),
        typed_members=(TypedMember("assessment", decoding.whole),),
    ),
    Algorithm(
        "speech_denoise",
        "SpeechDenoise",
        always("{source}-{timestamp}-denoised.wav"),
        files_field="recordings",
    ),
    Algorithm(
        "audio_mixing",
        "AudioMixing",
        always("{source}-{timestamp}-mix.wav"),
        parameters=(Parameter("inputs", "tracks", objects({"file": "file_uri"})),),
        files_field="mixes",
    ),
    Algorithm(
        "music_demix",
        "MusicDemix",
        # The API page names no file type; WAV is what it says of every other audio output, and it
        # loses nothing if the service writes another format under this name.
        always("{source}-{timestamp}-{resultType}.wav"),
        files_field="stems",
    ),
)
