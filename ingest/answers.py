"""Read what a server answered, and of its complaints only what cannot name a patient."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from ingest.origins import SourceError
from ingest.patience import Passing

__all__ = ["Answer", "complaint", "parse_json"]

_ERROR_CAP_BYTES = 1 << 16

# The only words of a server's complaint that cannot carry a patient's data: issue types
# (https://hl7.org/fhir/valueset-issue-type.html) and OAuth's errors (RFC 6749 section 5.2, 6750).
_COMPLAINTS = re.compile(
    "invalid|structure|required|value|invariant|security|login|unknown|expired|forbidden|"
    "suppressed|processing|not-supported|duplicate|multiple-matches|not-found|deleted|too-long|"
    "code-invalid|extension|too-costly|business-rule|conflict|transient|lock-error|no-store|"
    "exception|timeout|incomplete|throttled|invalid_request|invalid_client|invalid_grant|"
    "unauthorized_client|unsupported_grant_type|invalid_scope|invalid_token|insufficient_scope"
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Hold a whole answer."""

    url: httpx.URL
    """Where it came from, after redirects."""

    status: int
    headers: httpx.Headers
    content: bytes


def parse_json(content: bytes, what: str, parse_float: Callable[[str], Any] = float) -> Any:
    """Parse what should be JSON; `parse_float` is the json module's.

    Raises:
        Passing: it is not, or it breaks off.
        SourceError: a number or a nesting beyond any limit.
    """
    try:
        return json.loads(content.decode("utf-8-sig"), parse_float=parse_float)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise Passing("answered with broken JSON", status=200) from None
    except (ValueError, RecursionError):
        raise SourceError(f"a number or a nesting beyond any limit in {what}") from None


def complaint(response: httpx.Response) -> str:
    """Give the code of an OperationOutcome or of an OAuth error, where it is a known word."""
    content = b""
    try:
        for part in response.iter_bytes():
            content += part
            if len(content) > _ERROR_CAP_BYTES:
                return ""
        document = json.loads(content)
        code = document["error"] if "error" in document else document["issue"][0]["code"]
        return f" ({code})" if _COMPLAINTS.fullmatch(code) else ""
    except (ValueError, KeyError, IndexError, TypeError, RecursionError, httpx.HTTPError):
        return ""
