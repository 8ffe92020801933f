"""The project's own FHIR server for tests: pages, includes, $everything, $export, tokens.

It holds a handful of patients and does what the specification says; `misbehave` makes it do
otherwise. Its odd habits as a server (a page that comes twice, next links in a ring) are options of
`Habits`; what goes wrong on the line is in `faults`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from starlette.datastructures import QueryParams

from tests.servers.bulk import TRANSACTION_TIME, Job, add_export
from tests.servers.faults import FaultyLayer
from tests.servers.running import running
from tests.servers.tokens import Tokens, add_tokens

__all__ = ["FhirServer", "Habits", "fhir_server"]

Resource = dict[str, Any]


@dataclass(kw_only=True)
class Habits:
    """What kind of server it is."""

    everything: bool = True
    includes: bool = True
    page_size: int = 3
    """However many are asked for."""

    next_origin: str | None = None
    """Next links lead there."""

    ring: bool = False
    """The last page's next link leads back to the first."""

    twice: bool = False
    """Every page comes twice, under two URLs."""

    endless: bool = False
    """The last page comes for ever, each time under another URL."""

    next_links: bool = True
    raw_binaries: bool = False
    """A Binary is answered by its content, whatever is asked for."""

    export_polls: int = 2
    ranges: bool = True
    gzip: bool = False
    requires_token: bool = True
    file_origin: str | None = None
    """Where the manifest says the files are."""


@dataclass
class FhirServer:
    """What the server holds and saw."""

    resources: dict[str, dict[str, Resource]] = field(default_factory=dict)
    attachments: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Path under /files → content type and content."""

    gone: set[str] = field(default_factory=set)
    """`Type/id` of what was deleted."""

    withheld: set[str] = field(default_factory=set)
    """Ids of patients about whom nobody may ask, and types that nobody may search for: 403."""

    habits: Habits = field(default_factory=Habits)
    tokens: Tokens | None = None
    origin: str = ""
    now: str = TRANSACTION_TIME
    jobs: dict[str, Job] = field(default_factory=dict)
    layer: FaultyLayer = field(init=False)

    @property
    def url(self) -> str:
        return f"{self.origin}/fhir"

    def put(self, *resources: Resource) -> None:
        for resource in resources:
            self.resources.setdefault(resource["resourceType"], {})[resource["id"]] = resource

    def all(self) -> dict[str, Resource]:
        return {f"{t}/{k}": r for t, held in self.resources.items() for k, r in held.items()}

    def changed(self, resource: Resource, since: str) -> bool:
        """Say whether it was written since; what does not say so was, long ago."""
        said = resource.get("meta", {}).get("lastUpdated", "2020-01-01T00:00:00+00:00")
        return datetime.fromisoformat(said) >= datetime.fromisoformat(since)

    def compartment(self, patient: str) -> list[Resource]:
        mine = [r for r in self.all().values() if _patient_of(r) == patient]
        return mine + _referred(self, mine)


def _patient_of(resource: Resource) -> str | None:
    if resource["resourceType"] == "Patient":
        return resource["id"]
    reference = (resource.get("subject") or resource.get("patient") or {}).get("reference", "")
    return reference.removeprefix("Patient/") or None


def _referred(server: FhirServer, resources: list[Resource]) -> list[Resource]:
    """What these refer to by medicationReference and location."""
    keys: dict[str, None] = {}
    for resource in resources:
        drug = resource.get("medicationReference", {}).get("reference")
        stays = resource.get("location", []) if resource["resourceType"] == "Encounter" else []
        places = [place["location"].get("reference") for place in stays]
        keys.update(dict.fromkeys(key for key in (drug, *places) if key))
    return [server.all()[key] for key in keys if key in server.all()]


def _included(server: FhirServer, resources: list[Resource], clauses: list[str]) -> list[Resource]:
    """What these refer to by the search parameters of `Type:parameter`."""
    keys: dict[str, None] = {}
    for clause in clauses:
        kind, name = clause.split(":")[:2]
        field_name = {"medication": "medicationReference"}.get(name, name)
        for resource in resources:
            held = resource.get(field_name, []) if resource["resourceType"] == kind else []
            for one in held if isinstance(held, list) else [held]:
                keys[(one.get(name) or one).get("reference", "")] = None
    return [server.all()[key] for key in keys if key in server.all()]


def _capabilities(server: FhirServer) -> Resource:
    types = []
    for kind in sorted({*server.resources, "Patient"} - {"Binary"}):
        entry: Resource = {
            "type": kind,
            "interaction": [{"code": "read"}, {"code": "search-type"}],
            "searchParam": [{"name": n} for n in ("_id", "patient", "identifier", "_lastUpdated")],
            "searchInclude": [f"{kind}:medication", f"{kind}:location"],
        }
        if kind == "Patient" and server.habits.everything:
            definition = "http://hl7.org/fhir/OperationDefinition/Patient-everything"
            entry["operation"] = [{"name": "everything", "definition": definition}]
        types.append(entry)
    rest = [{"mode": "server", "resource": types}]
    return {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": rest}


def _matches(server: FhirServer, kind: str, query: QueryParams) -> list[Resource]:
    found = list(server.resources.get(kind, {}).values())
    if "_id" in query:
        found = [r for r in found if r["id"] in query["_id"].split(",")]
    if "patient" in query:
        found = [r for r in found if _patient_of(r) == query["patient"].removeprefix("Patient/")]
    if "gender" in query:
        found = [r for r in found if r.get("gender") == query["gender"]]
    if "identifier" in query:
        system, _, value = query["identifier"].partition("|")
        wanted = {"system": system, "value": value}
        found = [r for r in found if wanted in r.get("identifier", [])]
    if "_lastUpdated" in query:
        since = query["_lastUpdated"].removeprefix("ge")
        found = [r for r in found if server.changed(r, since)]
    return found


def _json(document: Any, status: int = 200) -> Response:
    return Response(json.dumps(document), status, media_type="application/fhir+json")


def _outcome(status: int, code: str) -> Response:
    issue = {"severity": "error", "code": code, "diagnostics": "Erika Mustermann is not here"}
    return _json({"resourceType": "OperationOutcome", "issue": [issue]}, status)


def _bundle(server: FhirServer, path: str, query: QueryParams, found: list[Resource]) -> Response:
    """A page of a searchset; `page` counts from 0, and each page says what comes next."""
    habits = server.habits
    size, page = habits.page_size, int(query.get("page", "0"))
    copies = 2 if habits.twice else 1
    last = max(-(-len(found) // size), 1) * copies - 1
    place = min(page, last) // copies
    shown = found[place * size : (place + 1) * size]
    entries = [
        {
            "fullUrl": f"{server.url}/{r['resourceType']}/{r['id']}",
            "resource": r,
            "search": {"mode": "match"},
        }
        for r in shown
    ]
    if habits.includes and "_include" in query:
        entries += [
            {"resource": r, "search": {"mode": "include"}}
            for r in _included(server, shown, query.getlist("_include"))
        ]
    if "_revinclude" in query:
        source = query["_revinclude"].split(":")[0]
        keys = {f"{r['resourceType']}/{r['id']}" for r in shown}
        for r in server.resources.get(source, {}).values():
            if r["target"][0]["reference"] in keys:
                entries.append({"resource": r, "search": {"mode": "include"}})
    if page == 0:
        issue = {"severity": "information", "code": "informational"}
        note = {"resourceType": "OperationOutcome", "issue": [issue]}
        entries.append({"resource": note, "search": {"mode": "outcome"}})
    links = [{"relation": "self", "url": f"{server.url}/{path}"}]
    following = page + 1 if page < last or habits.endless else 0
    if habits.next_links and (following or habits.ring):
        kept = urlencode([(k, v) for k, v in query.multi_items() if k != "page"])
        origin = habits.next_origin or server.origin
        links.append({"relation": "next", "url": f"{origin}/fhir/{path}?{kept}&page={following}"})
    return _json(
        {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": len(found),
            "link": links,
            "entry": entries,
        }
    )


def _app(server: FhirServer) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/fhir/metadata")
    def metadata() -> Response:
        answer = _json(_capabilities(server))
        answer.headers["Date"] = format_datetime(
            datetime.fromisoformat(server.now).astimezone(UTC), usegmt=True
        )
        answer.headers["Set-Cookie"] = "session=of-this-server"
        return answer

    add_export(app, server)
    if server.tokens is not None:
        add_tokens(app, server)

    @app.get("/fhir/Patient/{name}/$everything")
    def everything(name: str, request: Request) -> Response:
        if f"Patient/{name}" in server.gone:
            return _outcome(410, "deleted")
        if name in server.withheld:
            return _outcome(403, "forbidden")
        if name not in server.resources.get("Patient", {}):
            return _outcome(404, "not-found")
        query = request.query_params
        found, since = server.compartment(name), query.get("_since")
        found = [r for r in found if since is None or server.changed(r, since)]
        return _bundle(server, f"Patient/{name}/$everything", query, found)

    @app.get("/fhir/{kind}/{name}")
    def read(kind: str, name: str) -> Response:
        found = server.resources.get(kind, {}).get(name)
        if found is None:
            return _outcome(404, "not-found")
        if kind == "Binary" and server.habits.raw_binaries:
            return Response(found["content"], media_type=found["contentType"])
        return _json({k: v for k, v in found.items() if k != "content"})

    @app.get("/fhir/{kind}")
    def search(kind: str, request: Request) -> Response:
        query = request.query_params
        about = query.get("patient", query.get("_id", "")).removeprefix("Patient/")
        if server.withheld & {about, kind}:
            return _outcome(403, "forbidden")
        return _bundle(server, kind, query, _matches(server, kind, query))

    @app.get("/files/{path:path}")
    def attachment(path: str) -> Response:
        if path not in server.attachments:
            return Response("not here", 404)
        kind, content = server.attachments[path]
        return Response(content, media_type=kind)

    return app


def _label(method: str, path: str) -> str:
    parts = path.removeprefix("/fhir/").strip("/").split("/")
    if path.startswith(("/files/", "/export/", "/jobs/")):
        return {"files": "attachment", "export": "file"}.get(
            path.split("/")[1], "status" if method == "GET" else "delete"
        )
    if parts[-1] in ("$everything", "$export", "metadata", "token"):
        return parts[-1].strip("$")
    if parts[0] == ".well-known":
        return "discovery"
    return "search" if len(parts) == 1 else "read"


@contextmanager
def fhir_server(
    *, habits: Habits | None = None, tokens: Tokens | None = None
) -> Iterator[FhirServer]:
    """Serve on a port of its own until the end of the block."""
    server = FhirServer(habits=habits or Habits(), tokens=tokens)
    app = _app(server)
    inner = tokens.guard(app) if tokens is not None else app
    server.layer = FaultyLayer(inner, _label)
    with running(server.layer) as origin:
        server.origin = origin
        yield server
