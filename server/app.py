"""The composition root: every kind, every contract, every service, one server."""

import asyncio
import contextlib
import logging
import resource
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health as grpc_health
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from rollcall.v1 import agent_session_pb2, rest_pb2, robot_pb2, session_pb2, user_session_pb2

from server import allocator, readiness, tls
from server.admission import Capacity, Gate
from server.auth.authenticator import Authenticator, authenticator_of
from server.background import told
from server.calls import Limits
from server.errors import RollcallError
from server.first_message import FirstMessage
from server.health import LIVE, bracketed
from server.interceptors import chain, counting
from server.observability import metrics as observed
from server.observability import pulse
from server.observability.activity import Activity
from server.observability.inner_metrics import inner_metrics
from server.observability.store_pool import StorePool
from server.page_tokens import PageTokens, page_tokens_of
from server.records import agent, agent_session, robot, robot_message, robot_session, session, user_session
from server.records.kind import Kind
from server.rest import service as rest
from server.rest.agent_session import AgentSessionRest
from server.rest.robot import RobotRest
from server.rest.session import SessionRest
from server.rest.site import SiteRest
from server.rest.user_session import UserSessionRest
from server.services import binding as typed
from server.services.agent_session import AgentSessionService
from server.services.paging import Pages
from server.services.robot import RobotService
from server.services.session import SessionService
from server.services.user_session import UserSessionService
from server.settings import Settings, SettingsError
from server.stopping import Stop, within
from server.store import driver, indexes
from server.store.api_keys import StoredKeys
from server.store.reads import Reads
from server.store.writes import Writes

if TYPE_CHECKING:
    from server.observability.traces import Traces

KINDS: tuple[Kind, ...] = (
    user_session.KIND,
    session.KIND,
    robot.KIND,
    robot_session.KIND,
    robot_message.KIND,
    agent.KIND,
    agent_session.KIND,
)

REST_SERVICE = rest_pb2.DESCRIPTOR.services_by_name["RestService"]
TYPED_SERVICES = (
    (user_session_pb2.DESCRIPTOR.services_by_name["UserSessionService"], UserSessionService),
    (session_pb2.DESCRIPTOR.services_by_name["SessionService"], SessionService),
    (robot_pb2.DESCRIPTOR.services_by_name["RobotService"], RobotService),
    (agent_session_pb2.DESCRIPTOR.services_by_name["AgentSessionService"], AgentSessionService),
)
SERVICES = (REST_SERVICE.full_name, *(service.full_name for service, _ in TYPED_SERVICES))

MESSAGE_BYTES = 16 << 20
METADATA_BYTES = 256 << 10
GRACE_SECONDS = 8.0
"""How long calls in flight may take once the server takes no more."""
REFUSING_SECONDS = 0.5
"""How long at most those who still call are told to go elsewhere, before their connections end."""
RETRY_SECONDS = 1.0

CONNECTIONS = 10_000
"""How many connections a server process has at most: strangers can hold them, for 10 to 20 KB each."""
SPARE_FILES = 256
"""Open files that connections leave to all else, such as MongoDB's."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", -1),
    # Tokens and queries of tens of kilobytes are legal.
    ("grpc.max_metadata_size", METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", METADATA_BYTES),
    # One connection cannot queue more: its caller waits.
    ("grpc.max_concurrent_streams", 256),
    # Envoy pings an idle connection every 10 s; the default allows one in 5 minutes.
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
)

log = logging.getLogger(__name__)


def routes(
    authenticator: Authenticator, tokens: PageTokens, reads: Reads, activity: Callable[[], bytes]
) -> dict[str, rest.Route]:
    """Return what answers each RPC of RestService."""
    users = UserSessionRest(reads, authenticator)
    sessions = SessionRest(reads, authenticator)
    robots = RobotRest(reads, authenticator)
    agents = AgentSessionRest(reads, authenticator, tokens)
    site = SiteRest(users, authenticator, activity)
    return {
        "ListUserSessions": rest.Route(users, users.list_user_sessions),
        "ListSessions": rest.Route(sessions, sessions.list_sessions),
        "ListRobotSessions": rest.Route(robots, robots.list_robot_sessions),
        "GetRobotSession": rest.Route(robots, robots.get_robot_session),
        "ListRobots": rest.Route(robots, robots.list_robots),
        "GetRobot": rest.Route(robots, robots.get_robot),
        "ListAllAgentSessions": rest.Route(agents, agents.list_all_agent_sessions),
        "GetOpenApi": rest.Route(site, site.get_open_api),
        "GetDocs": rest.Route(site, site.get_docs),
        "GetDocsFile": rest.Route(site, site.get_docs_file),
        "GetConsole": rest.Route(site, site.get_console),
        "GetActivity": rest.Route(site, site.get_activity),
        "GetConsoleFile": rest.Route(site, site.get_console_file),
    }


def _typed_handlers(
    pages: Pages, writes: Writes, authenticator: Authenticator, limits: Limits
) -> Iterator[grpc.GenericRpcHandler]:
    for descriptor, service in TYPED_SERVICES:
        yield typed.handlers(descriptor, service(pages, writes), authenticator, limits)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, of which a second one ends the drain.

    Raises SettingsError if the settings do not allow a start.
    """
    stop = Stop()
    async with running(settings, stop.hurried):
        allocator.collect_rarely()
        await stop.asked.wait()


@contextlib.asynccontextmanager
async def running(settings: Settings, hurried: asyncio.Event | None = None) -> AsyncIterator[None]:
    """Run a server inside the block.

    Leaving it, health goes down first; after the drain, or once `hurried`, no calls are taken any
    more, and those in flight end.
    """
    traces = _traces_of(settings)
    pool = StorePool() if observed.are_served(settings) else None
    # A trace has what the driver says of its commands.
    connection = driver.connect(settings, _listeners(pool, traces), pages=traces is None)
    shielded = driver.must_not_be_cancelled(settings)
    reads = Reads(connection.database, connection.direct, shields=shielded)
    health = grpc_health.aio.HealthServicer()
    metrics = observed.call_metrics()
    activity = Activity(metrics)
    gate = Gate(_capacity(settings), metrics)
    authenticator = authenticator_of(settings, StoredKeys(connection.database))
    tokens = page_tokens_of(settings)
    limits = Limits(settings.request_seconds, settings.mongodb_seconds, gate, shielded=shielded)
    answers = routes(authenticator, tokens, reads, activity.body)
    typed_handlers = _typed_handlers(Pages(reads, tokens), Writes(connection), authenticator, limits)
    tracer = None if traces is None else traces.tracer
    counted = counting(metrics, rest.contracts(answers))
    # The documented paths are shed in their contracts' words.
    first_message = FirstMessage(gate, {service.full_name for service, _ in TYPED_SERVICES}, counted)
    interceptors = chain(counted, first_message, tracer)
    server = grpc.aio.server(interceptors=interceptors, options=_options_of(settings))
    server.add_generic_rpc_handlers((rest.handlers(answers, limits), *typed_handlers))
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    names = (*SERVICES, grpc_health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    await readiness.set_status(health, SERVICES, ready=False)
    await health.set(LIVE, health_pb2.HealthCheckResponse.SERVING)
    address = _listen(server, settings)
    await server.start()
    log.info("listening on %s", address)

    async def ready() -> None:
        await _make_indexes(settings)
        await readiness.follow(health, SERVICES, reads.ping, metrics)

    beats = [activity.beat, *_store_beats(connection, pool)]
    try:
        async with _beside(pulse.follow(metrics, beats), first_message.follow()):
            try:
                async with _beside(ready()):
                    yield
            finally:
                await _drain(server, health, gate, settings.drain_seconds, hurried or asyncio.Event())
    finally:
        async with contextlib.AsyncExitStack() as last:
            if traces is not None:
                last.push_async_callback(asyncio.to_thread, traces.stop)
            last.push_async_callback(connection.close)
            last.push_async_callback(authenticator.close)


async def _drain(
    server: grpc.aio.Server,
    health: grpc_health.aio.HealthServicer,
    gate: Gate,
    seconds: float,
    hurried: asyncio.Event,
) -> None:
    await health.enter_graceful_shutdown()
    # Balancers look at health now and then: until they have, calls go on as before.
    await within(seconds, hurried.wait())
    gate.close()
    await within(REFUSING_SECONDS, gate.idle())
    await server.stop(GRACE_SECONDS)


@contextlib.asynccontextmanager
async def _beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do works that never end while the block lasts."""
    tasks = [told(asyncio.create_task(work), "a part of the server has failed") for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _store_beats(connection: driver.Connection, pool: StorePool | None) -> Iterator[Callable[[], None]]:
    if pool is not None:
        direct = connection.direct
        yield lambda: inner_metrics().take(pool, 0 if direct is None else direct.connections)


def _listen(server: grpc.aio.Server, settings: Settings) -> str:
    """Return the address that the server will listen on; raise SettingsError if it cannot."""
    address = f"{bracketed(settings.grpc_host)}:{settings.grpc_port}"
    credentials = tls.server_credentials_of(settings)
    try:
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, credentials)
    except RuntimeError:
        raise SettingsError(f"ROLLCALL_GRPC_PORT: cannot listen on {address}") from None
    return address


def _traces_of(settings: Settings) -> "Traces | None":
    if settings.otlp_endpoint is None:
        return None
    from server.observability.traces import Traces  # noqa: PLC0415 # the extra `otel`

    return Traces(settings)


def _listeners(pool: StorePool | None, traces: "Traces | None") -> list[driver.Listener]:
    listeners: list[driver.Listener] = [] if pool is None else [pool]
    if traces is not None:
        from server.observability.store_spans import StoreSpans  # noqa: PLC0415 # as above

        listeners.append(StoreSpans(traces.tracer))
    return listeners


def _options_of(settings: Settings) -> tuple[tuple[str, int], ...]:
    return (
        *_OPTIONS,
        # Two servers on one port must be a decision, not an accident.
        ("grpc.so_reuseport", int(settings.share_port)),
        ("grpc.max_allowed_incoming_connections", _connections()),
    )


def _connections() -> int:
    """Return how many connections the open files that this process may have allow."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if files == resource.RLIM_INFINITY else min(CONNECTIONS, max(1, files - SPARE_FILES))


def _capacity(settings: Settings) -> Capacity:
    stream_bytes = settings.max_stream_mb << 20
    return Capacity(settings.max_calls, settings.max_waiting, settings.wait_seconds, stream_bytes)


async def _make_indexes(settings: Settings) -> None:
    while True:
        try:
            await indexes.make_for(settings, KINDS)
        except RollcallError as error:
            log.warning("waiting for MongoDB: %s", error.message)
        except Exception:
            # Such as a wrong password: the operator may mend it while the server tries.
            log.exception("the indexes cannot be made")
        else:
            return
        await asyncio.sleep(RETRY_SECONDS)
