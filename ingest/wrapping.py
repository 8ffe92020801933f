"""Wrap resources as the lines that are kept of a Bundle or a document (records.py says which)."""

import json
from collections.abc import Iterator
from typing import Any

from ingest.depth import TOO_DEEP

__all__ = ["EMPTY", "dump_line", "is_bundle", "wrap_document", "wrap_entry"]

EMPTY = {"skip": "Bundle: without entries"}
"""A search that found nothing is a record all the same."""


def is_bundle(document: Any) -> bool:
    """Say whether a document is a Bundle."""
    return isinstance(document, dict) and document.get("resourceType") == "Bundle"


def dump_line(line: dict[str, Any]) -> str:
    """Write a wrapped record as JSON, without a line end."""
    try:
        return json.dumps(line)
    except RecursionError:  # of what could just be read, since it is one level deeper now
        return json.dumps({"problem": TOO_DEEP})


def wrap_document(document: Any) -> Iterator[dict[str, Any]]:
    """Give a line for each record of a document."""
    if not isinstance(document, dict) or not isinstance(document.get("resourceType"), str):
        yield {"problem": "not a FHIR resource: no resourceType"}
    elif document["resourceType"] == "Bundle":
        entries = document.get("entry", [])
        if not isinstance(entries, list):
            yield {"problem": "Bundle.entry is not a list"}
            return
        # A history is newest first, by the specification; elsewhere what comes last is newest.
        newest_first = document.get("type") == "history"
        for index, entry in enumerate(entries):
            for line in wrap_entry(entry):
                yield {**line, "order": len(entries) - index} if newest_first else line
    else:
        yield {"resource": document}


def wrap_entry(entry: Any) -> Iterator[dict[str, Any]]:
    """Give the lines of a Bundle's entry: one, or of a Bundle in it several."""
    if not isinstance(entry, dict):
        yield {"problem": "Bundle.entry is not an object"}
        return
    request = entry.get("request")
    request = request if isinstance(request, dict) else {}
    response = entry.get("response")
    response = response if isinstance(response, dict) else {}
    if request.get("method") == "DELETE":
        yield {
            "method": "DELETE",
            "url": request.get("url") or entry.get("fullUrl"),
            "modified": response.get("lastModified"),
        }
    elif "resource" not in entry:
        yield {"skip": "Bundle: entry without a resource"}
    else:
        # A Bundle inside a Bundle (a batch's answer to a search) gives its own entries.
        for line in list(wrap_document(entry["resource"])) or [dict(EMPTY)]:
            if "resource" in line and "fullUrl" not in line and entry.get("fullUrl"):
                line["fullUrl"] = entry["fullUrl"]
            yield line
