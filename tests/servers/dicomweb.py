"""The project's own DICOMweb server for tests: QIDO-RS and WADO-RS over a handful of files.

It does what the standard says; `habits` are the odd ways of a server, and what goes wrong on the
line is in `faults`.
"""

import io
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from tests.ingest.films import film_dataset
from tests.servers.faults import FaultyLayer
from tests.servers.running import running
from tests.servers.tokens import Tokens, add_tokens

__all__ = ["DicomHabits", "DicomServer", "Held", "dicom_server"]

BOUNDARY = "b0undary-of-parts"


@dataclass(kw_only=True)
class DicomHabits:
    """What kind of server it is."""

    page_size: int | None = None
    """Entries on a page, however many are asked for."""

    paging: bool = True
    """Or it gives everything each time."""

    endless: bool = False
    """Lists of instances never end, each page with new UIDs."""

    counts: bool = True
    """A series says how many instances it has."""

    hidden: frozenset[str] = frozenset()
    """SOP Instance UIDs that are counted and not listed."""

    no_content: bool = False
    """An empty list is 204."""

    unknown: int = 404
    """How it answers for a study that it does not have; 200 is an empty list."""

    boundary: str = BOUNDARY
    """That the header names."""

    single_part: bool = False
    chunked: bool = False
    """The body comes without a length, and the last delimiter is followed by an epilogue."""

    unfinished: bool = False
    """The last delimiter looks as if another part came."""

    whole_series: bool = False
    """It gives a series in one answer."""

    instead: str | None = None
    """A SOP Instance UID that is given whatever is asked for."""


@dataclass(frozen=True, kw_only=True)
class Held:
    study: str
    series: str
    sop: str
    modality: str
    sop_class: str
    content: bytes


@dataclass
class DicomServer:
    """What the server holds and saw."""

    held: dict[str, Held] = field(default_factory=dict)
    habits: DicomHabits = field(default_factory=DicomHabits)
    tokens: Tokens | None = None
    origin: str = ""
    layer: FaultyLayer = field(init=False)

    @property
    def url(self) -> str:
        return f"{self.origin}/dicom-web"

    def film(self, study: str, series: str, sop: str, **tags: Any) -> Held:
        """Make a film and hold it; UIDs are given as their last parts."""
        values = np.random.default_rng(len(self.held)).integers(0, 4000, (16, 16), dtype="<u2")
        uids = {
            "StudyInstanceUID": f"1.2.840.99.{study}",
            "SeriesInstanceUID": f"1.2.840.99.{study}.{series}",
            "SOPInstanceUID": f"1.2.840.99.{study}.{series}.{sop}",
        }
        film = film_dataset(values, **{**uids, **tags})
        film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
        out = io.BytesIO()
        film.save_as(out, enforce_file_format=True)
        made = Held(
            study=film.StudyInstanceUID,
            series=film.SeriesInstanceUID,
            sop=film.SOPInstanceUID,
            modality=film.Modality,
            sop_class=film.SOPClassUID,
            content=out.getvalue(),
        )
        self.held[made.sop] = made
        return made

    def ward(self, studies: int = 3, series: int = 2, instances: int = 3) -> list[Held]:
        """Hold films of so many studies, series of each and instances of each."""
        numbers = itertools.product(range(studies), range(series), range(instances))
        return [self.film(str(1 + a), str(1 + b), str(1 + c)) for a, b, c in numbers]


def _app(server: DicomServer) -> FastAPI:
    app = FastAPI()
    if server.tokens is not None:
        add_tokens(app, server)  # type: ignore[arg-type]

    def listed(entries: list[dict[str, Any]], request: Request) -> Response:
        habits, query = server.habits, request.query_params
        if habits.paging:
            size = habits.page_size or int(query.get("limit", "1000"))
            begin = int(query.get("offset", "0"))
            entries = entries[begin : begin + min(size, int(query.get("limit", "1000")))]
        if not entries and habits.no_content:
            return Response(status_code=204)
        return Response(json.dumps(entries), media_type="application/dicom+json")

    def of_study(study: str) -> list[Held]:
        return [one for one in server.held.values() if one.study == study]

    def unknown() -> Response:
        content = "[]" if server.habits.unknown == 200 else ""
        return Response(content, server.habits.unknown, media_type="application/dicom+json")

    @app.get("/dicom-web/studies")
    def studies(request: Request) -> Response:
        wanted = request.query_params.get("ModalitiesInStudy")
        found = {one.study for one in server.held.values() if wanted in (None, one.modality)}
        return listed([{"0020000D": _value("UI", study)} for study in sorted(found)], request)

    @app.get("/dicom-web/studies/{study}/series")
    def series(study: str, request: Request) -> Response:
        found: dict[str, list[Held]] = {}
        for one in of_study(study):
            found.setdefault(one.series, []).append(one)
        if not found:
            return unknown()
        entries = [
            {
                "0020000E": _value("UI", uid),
                "00080060": _value("CS", held[0].modality),
                **({"00201209": _value("IS", len(held))} if server.habits.counts else {}),
            }
            for uid, held in found.items()
        ]
        return listed(entries, request)

    @app.get("/dicom-web/studies/{study}/series/{uid}/instances")
    def instances(study: str, uid: str, request: Request) -> Response:
        entries = [
            {"00080018": _value("UI", one.sop), "00080016": _value("UI", one.sop_class)}
            for one in of_study(study)
            if one.series == uid and one.sop not in server.habits.hidden
        ]
        if server.habits.endless:
            begin = int(request.query_params.get("offset", "0"))
            entries = [{"00080018": _value("UI", f"{uid}.{begin + n}")} for n in range(10)]
            return Response(json.dumps(entries), media_type="application/dicom+json")
        return listed(entries, request) if entries else unknown()

    def given(held: list[Held], request: Request) -> Response:
        if "transfer-syntax=*" not in request.headers.get("accept", ""):
            return Response("", 406)
        if server.habits.single_part:
            return Response(held[0].content, media_type="application/dicom")
        head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body = b"".join(head + one.content + b"\r\n" for one in held)
        body += f"--{BOUNDARY}{'' if server.habits.unfinished else '--'}\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary="{server.habits.boundary}"'
        if not server.habits.chunked:
            return Response(body, media_type=kind)
        body = b"a preamble\r\n" + body + b"an epilogue\r\n"
        chunks = (body[at : at + 100] for at in range(0, len(body), 100))
        return StreamingResponse(chunks, media_type=kind)

    @app.get("/dicom-web/studies/{study}/series/{uid}")
    def whole(study: str, uid: str, request: Request) -> Response:
        if not server.habits.whole_series:
            return Response("", 501)
        return given([one for one in of_study(study) if one.series == uid], request)

    @app.get("/dicom-web/studies/{study}/series/{series}/instances/{sop}")
    def instance(study: str, series: str, sop: str, request: Request) -> Response:
        one = server.held.get(server.habits.instead or sop)
        return Response("", 404) if one is None else given([one], request)

    return app


def _value(vr: str, value: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _label(method: str, path: str) -> str:
    parts = path.strip("/").split("/")
    return {2: "studies", 4: "series", 5: "whole", 6: "instances", 7: "instance"}.get(
        len(parts), parts[-1]
    )


@contextmanager
def dicom_server(
    *, habits: DicomHabits | None = None, tokens: Tokens | None = None
) -> Iterator[DicomServer]:
    """Serve on a port of its own until the end of the block."""
    server = DicomServer(habits=habits or DicomHabits(), tokens=tokens)
    app = _app(server)
    server.layer = FaultyLayer(tokens.guard(app) if tokens is not None else app, _label)
    with running(server.layer) as origin:
        server.origin = origin
        yield server
