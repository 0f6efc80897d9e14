"""An MP4 with H.264: what of it an object must say, read from its boxes within bounds.

References
----------
ISO/IEC 14496-12 sections 4.2, 8 (boxes) and 14496-15 section 5.3.3 (avcC); DICOM PS3.5 sections
8.2.7 and A.4.6 (MPEG-4 AVC/H.264, the MP4 container is allowed), PS3.6 table A-1.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from dicom_node.errors import FileRefused

MAX_BYTES = 512 << 20
HIGH_4_1 = "1.2.840.10008.1.2.4.102"
HIGH_4_2 = "1.2.840.10008.1.2.4.104"
_MAX_BOXES = 5_000
_MAX_FRAMES = 1_000_000
_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_VISUAL_ENTRY = 78
# A decoder of the High profile decodes these (H.264 A.2.4): constrained Baseline, Main, High.
_PROFILES = {66: "Baseline", 77: "Main", 100: "High"}
_CONSTRAINED = 0x40


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """What a video is: pixels, frames, seconds, and the transfer syntax that allows it."""

    rows: int
    columns: int
    frames: int
    duration_s: float
    transfer_syntax_uid: str
    turned: bool

    @property
    def frame_time_ms(self) -> float:
        """The nominal time of one frame in milliseconds."""
        return self.duration_s * 1000 / self.frames


@dataclass(slots=True)
class _Track:
    handler: bytes = b""
    timescale: int = 0
    duration: int = 0
    frames: int = 0
    entry: bytes = b""
    rows: int = 0
    columns: int = 0
    avc: bytes = b""
    turned: bool = False


@dataclass(slots=True)
class _Found:
    tracks: list[_Track] = field(default_factory=list)
    kinds: set[bytes] = field(default_factory=set)


def is_mp4(data: bytes) -> bool:
    """Say whether bytes begin as an MP4 does (14496-12 section 4.3)."""
    return data[4:8] == b"ftyp"


def read(data: bytes) -> Video:
    """Read what an MP4 says of its video.

    Raises
    ------
    FileRefused
        It is no whole MP4 with exactly one video of H.264 that a transfer syntax of DICOM allows.
    """
    if len(data) > MAX_BYTES:
        raise FileRefused(f"a video has at most {MAX_BYTES >> 20} MiB")
    if not is_mp4(data):
        raise FileRefused("the file does not begin as an MP4 does (ISO/IEC 14496-12, 4.3)")
    found = _walked(memoryview(data))
    if b"moof" in found.kinds:
        raise FileRefused("a fragmented MP4 is not taken: its frames are not counted in one place")
    if not {b"moov", b"mdat"} <= found.kinds:
        raise FileRefused("the MP4 is cut short: it has no index or no content")
    videos = [track for track in found.tracks if track.handler == b"vide"]
    if len(videos) != 1:
        raise FileRefused(f"an MP4 with one video is taken, not with {len(videos)}")
    for track in found.tracks:
        if track.handler == b"soun" and track.entry != b"mp4a":
            raise FileRefused("the sound of a video is AAC or none (DICOM PS3.5, 8.2.12)")
    return _judged(videos[0])


def _judged(track: _Track) -> Video:
    if track.entry not in (b"avc1", b"avc3"):
        raise FileRefused(
            f"the video is coded as '{track.entry.decode('ascii', 'replace')}': H.264 is taken"
        )
    if not (track.timescale and track.duration and track.rows and track.columns):
        raise FileRefused("the MP4 does not say how large or how long its video is")
    if not 0 < track.frames <= _MAX_FRAMES:
        raise FileRefused(f"a video has 1 to {_MAX_FRAMES} frames")
    return Video(
        rows=track.rows,
        columns=track.columns,
        frames=track.frames,
        duration_s=track.duration / track.timescale,
        transfer_syntax_uid=_transfer_syntax(track.avc),
        turned=track.turned,
    )


def _transfer_syntax(avc: bytes) -> str:
    if len(avc) < 4:
        raise FileRefused("the MP4 does not say which profile its video has (14496-15, 5.3.3)")
    profile, compatible, level = avc[1], avc[2], avc[3]
    fits = profile in (77, 100) or (profile == 66 and compatible & _CONSTRAINED)
    if not fits:
        name = _PROFILES.get(profile, str(profile))
        raise FileRefused(f"H.264 of the profile {name} has no transfer syntax: High is the limit")
    if level <= 41:
        return HIGH_4_1
    if level == 42:
        return HIGH_4_2
    raise FileRefused(f"H.264 of level {level / 10:g} has no transfer syntax: 4.2 is the limit")


def _walked(data: memoryview) -> _Found:
    found = _Found()
    for count, (kind, body) in enumerate(_boxes(data, ())):
        if count >= _MAX_BOXES:
            raise FileRefused("the MP4 has more boxes than a video needs")
        _noted(found, kind, body)
    return found


def _boxes(data: memoryview, path: tuple[bytes, ...]) -> Iterator[tuple[bytes, memoryview]]:
    position = 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        head = 8
        if size == 1 and position + 16 <= len(data):
            size, head = struct.unpack_from(">Q", data, position + 8)[0], 16
        elif size == 0:
            size = len(data) - position
        if size < head or size > len(data) - position:
            raise FileRefused("the MP4 is cut short, or a box of it lies about its size")
        body = data[position + head : position + size]
        yield kind, body
        if kind in _CONTAINERS and len(path) < len(_CONTAINERS):
            yield from _boxes(body, (*path, kind))
        position += size


def _noted(found: _Found, kind: bytes, body: memoryview) -> None:
    found.kinds.add(kind)
    if kind == b"trak":
        found.tracks.append(_Track())
    if not found.tracks:
        return
    track = found.tracks[-1]
    try:
        _told(track, kind, body)
    except (struct.error, IndexError) as error:
        raise FileRefused("a box of the MP4 is too short") from error


def _told(track: _Track, kind: bytes, body: memoryview) -> None:
    if kind == b"hdlr":
        track.handler = track.handler or bytes(body[8:12])
    elif kind == b"mdhd":
        form, at = (">IQ", 20) if body[0] else (">II", 12)
        track.timescale, track.duration = struct.unpack_from(form, body, at)
    elif kind == b"stsz":
        track.frames = struct.unpack_from(">I", body, 8)[0]
    elif kind == b"tkhd":
        matrix = struct.unpack_from(">9i", body, 52 if body[0] else 40)
        track.turned = (matrix[0], matrix[1], matrix[3], matrix[4]) != (1 << 16, 0, 0, 1 << 16)
    elif kind == b"stsd":
        _entry(track, body)


def _entry(track: _Track, body: memoryview) -> None:
    size, track.entry = struct.unpack_from(">I4s", body, 8)
    if track.entry not in (b"avc1", b"avc3"):
        return
    track.columns, track.rows = struct.unpack_from(">HH", body, 16 + 24)
    inner = body[16 + _VISUAL_ENTRY : 8 + size]
    for kind, content in _boxes(inner, (b"stsd",)):
        if kind == b"avcC":
            track.avc = bytes(content[:4])
