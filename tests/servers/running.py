"""Run an ASGI application on a real socket of this machine, in a thread.

uvicorn's protocol on a loop of our own: its `Server` looks every tenth of a second whether it is to
end, which over a hundred tests is most of their time.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

__all__ = ["running"]


@contextmanager
def running(app: Callable[..., Any]) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 and give the origin."""
    # With its protocol named, or asyncio leaves Nagle's algorithm on and each answer takes 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none")
    config.load()
    state = ServerState()
    loop, ready = asyncio.new_event_loop(), threading.Event()

    def protocol() -> asyncio.Protocol:
        return config.http_protocol_class(config=config, server_state=state, app_state={})

    def serve() -> None:
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(loop.create_server(protocol, sock=listening))
        loop.call_soon(ready.set)
        loop.run_forever()
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(20), "the test server did not start"
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        listening.close()
