"""Instances that lie side by side in a pack, read at once: one look-up and one read for many."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from kernel.errors import EngineError
from storage.archive import Archive
from storage.digests import digest_of
from storage.objects import ObjectStoreUnavailable
from storage.series_queries import Held

MAX_GAP = 4096
"""Between two instances lies the head that the pack gives the second; this much is read over."""


def read_together(
    archive: Archive, instances: Sequence[Held], room: memoryview | None = None
) -> dict[str, memoryview | ObjectStoreUnavailable]:
    """Return the verified files of those that lie side by side, by instance UID.

    One that lies by itself is among them where there is room for it.

    The caller bounds their bytes.  What is not in the answer is read alone: that tells why it
    cannot be read, or reads it from where it lies now.  Where a store does not answer, the answer
    says so in place of the files: to ask it for each of them would only take longer.

    Parameters
    ----------
    room
        Memory for them, as far as it suffices: what is given anew for each reading has to be taken
        from the machine, page by page.
    """
    found: dict[str, memoryview | ObjectStoreUnavailable] = {}
    for run in _runs(instances):
        if not run or run[0].pack_key is None:
            continue
        length = run[-1].offset + run[-1].length - run[0].offset
        here = room[:length] if room is not None and length <= len(room) else None
        if len(run) > 1 or here is not None:
            found.update(_read(archive, run, length, here))
            room = room[length:] if room is not None and here is not None else room
    return found


def _runs(instances: Sequence[Held]) -> Iterator[list[Held]]:
    run = list(instances[:1])
    for before, each in pairwise(instances):
        gap = each.offset - before.offset - before.length
        if each.pack_key is None or each.pack_key != before.pack_key or not 0 <= gap <= MAX_GAP:
            yield run
            run = []
        run.append(each)
    yield run


def _read(
    archive: Archive, run: Sequence[Held], length: int, room: memoryview | None
) -> Iterator[tuple[str, memoryview | ObjectStoreUnavailable]]:
    start, key = run[0].offset, run[0].pack_key or ""
    try:
        if room is None:
            data = memoryview(archive.objects.get(key, start=start, length=length))
        else:
            data = room[: archive.objects.get_into(key, room, start=start)]
    except ObjectStoreUnavailable as silence:
        yield from ((each.instance_uid, silence) for each in run)
        return
    except EngineError:
        return
    for each in run:
        file = data[each.offset - start :][: each.length]
        if digest_of(file, like=each.digest) == each.digest:
            yield each.instance_uid, file
