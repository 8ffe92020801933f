"""Bulk Data export for the tests' FHIR server: kick-off, polling, manifest, files, DELETE."""

import gzip
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response

if TYPE_CHECKING:
    from tests.servers.fhir import FhirServer

__all__ = ["TRANSACTION_TIME", "Job", "add_export"]

TRANSACTION_TIME = "2024-05-06T08:00:00.000Z"


@dataclass
class Job:
    level: str
    query: dict[str, str]
    polls: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)


def add_export(app: FastAPI, server: "FhirServer") -> None:
    """Give the server $export at its three levels."""
    jobs = server.jobs

    def kick_off(level: str, request: Request) -> Response:
        if request.headers.get("prefer") != "respond-async":
            return Response("", 400)
        name = secrets.token_hex(4)
        jobs[name] = Job(level, dict(request.query_params))
        return Response("", 202, headers={"Content-Location": f"{server.origin}/jobs/{name}"})

    @app.get("/fhir/$export")
    def of_system(request: Request) -> Response:
        return kick_off("system", request)

    @app.get("/fhir/Patient/$export")
    def of_patients(request: Request) -> Response:
        return kick_off("patient", request)

    @app.get("/fhir/Group/{name}/$export")
    def of_group(name: str, request: Request) -> Response:
        return kick_off(f"group/{name}", request)

    @app.get("/jobs/{name}")
    def status(name: str) -> Response:
        job = jobs.get(name)
        if job is None:
            return Response("", 404)
        job.polls += 1
        if job.polls <= server.habits.export_polls:
            return Response("", 202, headers={"X-Progress": "working", "Retry-After": "7"})
        if not job.manifest:
            _write(server, name, job)
        return Response(json.dumps(job.manifest), media_type="application/json")

    @app.delete("/jobs/{name}")
    def delete(name: str) -> Response:
        return Response("", 202 if jobs.pop(name, None) else 404)

    @app.get("/export/{name}/{file}")
    def download(name: str, file: str, request: Request) -> Response:
        job = jobs.get(name)
        if job is None or file not in job.files:
            return Response("", 404)
        content = job.files[file]
        headers = {"ETag": f'"{file}"'}
        if server.habits.gzip and "gzip" in request.headers.get("accept-encoding", ""):
            content = gzip.compress(content, mtime=0)
            headers["Content-Encoding"] = "gzip"
        if server.habits.ranges:
            headers["Accept-Ranges"] = "bytes"
            asked = request.headers.get("range", "")
            if asked and request.headers.get("if-range", f'"{file}"') == f'"{file}"':
                begin = int(asked.removeprefix("bytes=").rstrip("-"))
                if begin >= len(content):
                    return Response("", 416)
                headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
                return Response(content[begin:], 206, headers=headers)
        return Response(content, headers=headers, media_type="application/fhir+ndjson")


def _write(server: "FhirServer", name: str, job: Job) -> None:
    """Make the job's files: two for a type of more than one resource."""
    kinds = job.query.get("_type", "").split(",") if job.query.get("_type") else None
    output: list[dict[str, Any]] = []
    place = server.habits.file_origin or server.origin
    since = job.query.get("_since")
    for kind, held in sorted(server.resources.items()):
        if kinds is not None and kind not in kinds:
            continue
        changed = [r for r in held.values() if since is None or server.changed(r, since)]
        lines = [json.dumps(resource) + "\n" for resource in changed]
        half = -(-len(lines) // 2)
        for number, part in enumerate((lines[:half], lines[half:]), start=1):
            if part:
                file = f"{kind}.{number}.ndjson"
                job.files[file] = "".join(part).encode()
                url = f"{place}/export/{name}/{file}"
                output.append({"type": kind, "url": url, "count": len(part)})
    deleted, error = [], []
    if server.gone:
        entries = [{"request": {"method": "DELETE", "url": key}} for key in sorted(server.gone)]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        job.files["deleted.ndjson"] = (json.dumps(bundle) + "\n").encode()
        deleted = [{"type": "Bundle", "url": f"{place}/export/{name}/deleted.ndjson"}]
        issue = {"severity": "warning", "code": "incomplete"}
        job.files["error.ndjson"] = json.dumps(
            {"resourceType": "OperationOutcome", "issue": [issue]}
        ).encode()
        error = [{"type": "OperationOutcome", "url": f"{place}/export/{name}/error.ndjson"}]
    job.manifest = {
        "transactionTime": server.now,
        "request": f"{server.url}/$export",
        "requiresAccessToken": server.habits.requires_token,
        "output": output,
        "deleted": deleted,
        "error": error,
    }
