"""Project on Ray (extra `scale`): the same work on the same batches, by workers on many cores.

A batch of lines goes to a worker with what its projection needs to know; events, outcomes and what
else came of it come back and are added to the tables here. Each piece of work starts with tables of
its own and leaves nothing behind, so one whose worker died is done again, by another, to the same
end; and what comes out does not depend on who did what or when.

Without an address Ray is started on this machine, with its files in a directory of ours that is
deleted at the end: what passes through it is patients' data. Ray listens on every interface (it
can't be told not to); who speaks to it needs a token, made anew for each process. A cluster
(`RAY_ADDRESS`) is as safe as it was set up; every node needs this version of Medweave.
"""

import contextlib
import os
import secrets
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ingest.conventions import Conventions
from ingest.errors import UsageError
from ingest.projection import Piece, create_tables

__all__ = ["RayHands", "ray_hands"]

_MADE = ("projected", "outcome", "undated", "imaging_study", "patient_identifier", "doubtful")
"""What a projection adds to; all other tables it only reads."""

_KEPT_HERE = ("resolved", "trace", "depend", "provide")
"""What workers don't get: of `resolved` a batch's part goes with it, the rest is the index's."""

_TRIES = 20


class RayHands:
    """Do pieces of work on Ray, in place of the threads of this process."""

    def __init__(self, ray: Any, workers: int, conventions: Conventions) -> None:
        self._ray = ray
        self._workers = workers
        self._conventions = conventions.to_json()
        # Ray does a task again where its worker died; what is wrong with the work itself is raised.
        self._work = ray.remote(num_cpus=1, max_retries=_TRIES)(_work)

    def do(
        self,
        con: duckdb.DuckDBPyConnection,
        piece: Piece,
        batches: Iterable[tuple[int, Any]],
    ) -> Iterator[tuple[int, Any]]:
        """Give what `work` gave of each batch; what came of it is then in the tables of `con`."""
        known, views = {"landed": con.table("landed").to_arrow_table()}, []
        if piece is Piece.PROJECT:
            known = {
                name: con.table(name).to_arrow_table()
                for name in _tables(con)
                if name not in (*_MADE, *_KEPT_HERE)
            }
            views = [sql for (sql,) in con.execute(_VIEWS).fetchall()]
        given = self._ray.put((known, views))
        at_work: dict[Any, int] = {}
        for number, batch in batches:
            if len(at_work) > self._workers:  # no more in memory than that
                yield self._gather(con, at_work)
            about = None
            if piece is Piece.PROJECT:
                about = con.table("resolved").filter(f"batch = {number:d}").to_arrow_table()
            asked = (piece.value, number, batch, about, given, self._conventions)
            at_work[self._work.remote(*asked)] = number
        while at_work:
            yield self._gather(con, at_work)

    def _gather(self, con: duckdb.DuckDBPyConnection, at_work: dict[Any, int]) -> tuple[int, Any]:
        [done], _ = self._ray.wait(list(at_work), num_returns=1)
        number = at_work.pop(done)
        told, tables = self._ray.get(done)
        for name, table in tables.items():
            con.register("made", table)
            con.execute(f"INSERT INTO {name} BY NAME SELECT * FROM made")
            con.unregister("made")
        return number, told


@contextlib.contextmanager
def ray_hands(workers: int, conventions: Conventions) -> Iterator[RayHands]:
    """Start Ray on this machine with so many workers, or join the cluster at RAY_ADDRESS.

    Raises:
        UsageError: Ray is not installed, or was loaded unguarded, or no worker is asked for.
    """
    if workers < 1:
        raise UsageError(f"workers must be at least 1; got {workers}")
    joins = bool(os.environ.get("RAY_ADDRESS"))
    ray = _import_ray(joins=joins)
    with tempfile.TemporaryDirectory(prefix="mw-", ignore_cleanup_errors=True) as place:
        if joins:
            ray.init(log_to_driver=False, configure_logging=False)
        else:
            ray.init(
                num_cpus=workers,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                _temp_dir=place,  # short: the path of a socket has an end
            )
        try:
            yield RayHands(ray, workers, conventions)
        finally:
            ray.shutdown()


def _import_ray(*, joins: bool) -> Any:
    """Import Ray, with a token set first: it reads how to guard itself once, when it is loaded."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it would tell a host of its makers
    if not joins and "RAY_AUTH_MODE" not in os.environ:
        if "ray" in sys.modules:
            raise UsageError(
                "Ray was loaded without a guard: set RAY_AUTH_MODE=token before it is imported"
            )
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        import ray
    except ImportError:
        raise UsageError("workers need Ray; install medweave with its extra `scale`") from None
    return ray


_VIEWS = """
SELECT sql FROM duckdb_views() WHERE NOT internal AND NOT temporary ORDER BY view_oid
"""


def _tables(con: duckdb.DuckDBPyConnection) -> list[str]:
    rows = con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE NOT temporary AND NOT internal ORDER BY ALL"
    ).fetchall()
    return [name for (name,) in rows]


def _work(
    piece: str,
    number: int,
    batch: Any,
    about: pa.Table | None,
    given: tuple[dict[str, pa.Table], list[str]],
    conventions: dict[str, Any],
) -> tuple[Any, dict[str, pa.Table]]:
    """Do one piece of work in a worker: tables in, tables out, beside what `Piece.work` gives."""
    known, views = given
    with tempfile.TemporaryDirectory(prefix="mw-work-") as place:
        config = {"threads": 1, "memory_limit": "1GiB", "temp_directory": str(Path(place))}
        with duckdb.connect(config=config) as con:
            settled = Conventions.of_json(conventions)
            create_tables(con, settled)
            there = set(_tables(con))
            for name, table in known.items():
                con.register("known", table)
                how = f"INSERT INTO {name} BY NAME" if name in there else f"CREATE TABLE {name} AS"
                con.execute(f"{how} SELECT * FROM known")
                con.unregister("known")
            if about is not None:
                con.register("about", about)
                con.execute("CREATE TABLE resolved AS SELECT * FROM about")
                con.unregister("about")
                for sql in views:
                    con.execute(sql)
            told = Piece(piece).work(con, number, batch, settled)
            made = [name for name in _tables(con) if name != "landed"] if about is None else _MADE
            tables = {name: con.table(name).to_arrow_table() for name in made}
    return told, {name: table for name, table in tables.items() if table.num_rows}
