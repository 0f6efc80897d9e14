"""Data sets as answers, in the JSON or in the XML model, whichever the client takes.

References
----------
DICOM PS3.18 sections 8.7.5 (media types of data sets) and F.2; PS3.19 section A.1 (XML).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from app.http.accept import DICOM_XML, accept_of, asked_model
from app.http.multipart import joined
from kernel.ids import fresh


def given(
    request: Request,
    data_sets: Sequence[dict[str, Any]],
    headers: Mapping[str, str] | None = None,
    *,
    single: bool = False,
) -> Response:
    """Give data sets as the client takes them.

    Parameters
    ----------
    single
        It is one by its nature, and so may come alone in XML.

    Raises
    ------
    NotAcceptable
        It takes neither model.
    """
    model = asked_model(accept_of(request), single=single)
    if model.multipart:
        return as_xml(data_sets, headers)
    if model.is_xml:
        from dicom_node.dicom_xml import native_model

        (body,) = map(native_model, data_sets)
    else:
        body = json.dumps(data_sets, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(body, headers=dict(headers or {}), media_type=model.media_type)


def given_written(
    request: Request, data_sets: Sequence[str], headers: Mapping[str, str] | None = None
) -> Response:
    """Give data sets that are written in the JSON model already; as `given`.

    Raises
    ------
    NotAcceptable
        The client takes neither model.
    """
    model = asked_model(accept_of(request))
    if model.is_xml:
        return given(request, [json.loads(each) for each in data_sets], headers)
    body = f"[{','.join(data_sets)}]".encode()
    return Response(body, headers=dict(headers or {}), media_type=model.media_type)


def as_xml(
    data_sets: Iterable[dict[str, Any]], headers: Mapping[str, str] | None = None
) -> Response:
    """Give data sets in the XML model, each as a part."""
    from dicom_node.dicom_xml import native_model

    boundary = f"telerad-{fresh()}"

    def parts() -> Iterator[tuple[str, bytes]]:
        for data_set in data_sets:
            yield DICOM_XML, native_model(data_set)

    return StreamingResponse(
        joined(boundary, parts()),
        headers=dict(headers or {}),
        media_type=f'multipart/related; type="{DICOM_XML}"; boundary="{boundary}"',
    )


def base_of(request: Request) -> str:
    """Return the address of the service as the client knows it."""
    return str(request.base_url).rstrip("/") + "/dicomweb"
