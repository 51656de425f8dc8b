"""The kinds whose lists are measured as they grow: their records, and the ways into their lists."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from rollcall.v1 import agent_session_pb2 as agents
from rollcall.v1 import robot_pb2 as robots
from rollcall.v1 import session_pb2 as sessions
from rollcall.v1 import user_session_pb2 as users

from bench import kinds
from server.page_tokens import page_tokens_of
from server.records import robot
from server.records.times import from_proto, sortable
from server.rest.agent_session import PAGES_OF
from server.settings import Settings

PAGE = 20
HEAVY = "user sessions"
"""Whose list is measured at tens of megabytes."""


@dataclass(frozen=True, slots=True)
class Grown:
    """A kind: its records, its typed list, and its documented list, if that has pages.

    `far_path` and `far_fields` go a number of records down without a token, if a list can;
    `path_behind` continues the documented list behind a typed record, if that has keyset pages.
    """

    name: str
    collection: str
    lines: Callable[[int], Iterator[kinds.Line]]
    method: str
    request: type[Message]
    response: type[Message]
    fields: Mapping[str, Any] = field(default_factory=dict)
    path: str | None = None
    far_path: Callable[[int], str] | None = None
    far_fields: Callable[[int], Mapping[str, int]] | None = None
    path_behind: Callable[[Any, Settings], str] | None = None
    counted: bool = False
    """Whether its first page says how many there are."""

    def asked(self, **fields: Any) -> Message:
        """Return a request of the typed list."""
        return self.request(**self.fields, **fields)


_AGENTS_PATH = f"/api/v2/aipAgents/agents/allSessions?preview=true&pageSize={PAGE}"
_MESSAGES_PATH = f"/robots/sessions/{kinds.MESSAGES_SESSION}?limit={PAGE}"


def _behind_agent_session(last: Any, settings: Settings) -> str:
    position = sortable(from_proto(last.metadata.updated_time)), last.rid
    token = page_tokens_of(settings).seal(position, PAGES_OF, kinds.USER, kinds.CLIENT)
    return f"{_AGENTS_PATH}&pageToken={token}"


KINDS = (
    Grown(
        HEAVY,
        "user_sessions",
        kinds.user_sessions,
        "rollcall.v1.UserSessionService/ListUserSessions",
        users.ListUserSessionsRequest,
        users.ListUserSessionsResponse,
        # `GET /session` has no pages.
    ),
    Grown(
        "sessions",
        "sessions",
        kinds.sessions,
        "rollcall.v1.SessionService/ListSessions",
        sessions.ListSessionsRequest,
        sessions.ListSessionsResponse,
        path=f"/sessions?limit={PAGE}",
        far_path=lambda depth: f"/sessions?limit={PAGE}&offset={depth}",
        far_fields=lambda depth: {"offset": depth, "page_size": PAGE},
    ),
    Grown(
        "robot sessions",
        "robot_sessions",
        kinds.robot_sessions,
        "rollcall.v1.RobotService/ListRobotSessions",
        robots.ListRobotSessionsRequest,
        robots.ListRobotSessionsResponse,
        path="/robots/sessions",
        far_path=lambda depth: f"/robots/sessions?page={depth // PAGE + 1}",
        far_fields=lambda depth: {"page": depth // PAGE + 1},
        counted=True,
    ),
    Grown(
        "messages of a robot session",
        "robot_messages",
        kinds.robot_messages,
        "rollcall.v1.RobotService/ListRobotMessages",
        robots.ListRobotMessagesRequest,
        robots.ListRobotMessagesResponse,
        fields={"session_id": kinds.MESSAGES_SESSION},
        path=_MESSAGES_PATH,
        path_behind=lambda last, _: f"{_MESSAGES_PATH}&before={last.id}",
    ),
    Grown(
        "robots",
        "robots",
        kinds.robots,
        "rollcall.v1.RobotService/ListRobots",
        robots.ListRobotsRequest,
        robots.ListRobotsResponse,
        path="/robots",
        far_path=lambda depth: f"/robots?page={depth // robot.PAGE + 1}",
        far_fields=lambda depth: {"page": depth // robot.PAGE + 1},
        counted=True,
    ),
    Grown(
        "agent sessions",
        "agent_sessions",
        kinds.agent_sessions,
        "rollcall.v1.AgentSessionService/ListAgentSessions",
        agents.ListAgentSessionsRequest,
        agents.ListAgentSessionsResponse,
        path=_AGENTS_PATH,
        path_behind=_behind_agent_session,
    ),
)
