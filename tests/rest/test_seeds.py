"""Each system's own example document comes back from its path as its documentation shows it."""

from typing import Any

from server.records.xid import new_xid
from tests.rest import schemas
from tests.rest.schemas import validated
from tests.stack import Stack, lines_of
from tests.strategies import fresh_uuid

# --- Julep: the documented example, with the documented default template ----------------------------

SYSTEM_TEMPLATE = (
    "{%- if agent.name -%}\n"
    'You are {{agent.name}}.{{" "}}\n'
    "{%- endif -%}\n"
    "\n"
    "{%- if agent.about -%}\n"
    'About you: {{agent.about}}.{{" "}}\n'
    "{%- endif -%}\n"
    "\n"
    "{%- if user -%}\n"
    "You are talking to a user\n"
    '  {%- if user.name -%}{{" "}} and their name is {{user.name}}\n'
    "    {%- if user.about -%}. About the user: {{user.about}}.{%- else -%}.{%- endif -%}\n"
    "  {%- endif -%}\n"
    "{%- endif -%}\n"
    "\n"
    "{{NEWLINE}}\n"
    "\n"
    "{%- if session.situation -%}\n"
    "Situation: {{session.situation}}\n"
    "{%- endif -%}\n"
    "\n"
    "{{NEWLINE+NEWLINE}}\n"
    "\n"
    "{%- if agent.instructions -%}\n"
    "Instructions:{{NEWLINE}}\n"
    "  {%- if agent.instructions is string -%}\n"
    "    {{agent.instructions}}{{NEWLINE}}\n"
    "  {%- else -%}\n"
    "    {%- for instruction in agent.instructions -%}\n"
    "      - {{instruction}}{{NEWLINE}}\n"
    "    {%- endfor -%}\n"
    "  {%- endif -%}\n"
    "  {{NEWLINE}}\n"
    "{%- endif -%}\n"
    "\n"
    "{%- if docs -%}\n"
    "Relevant documents:{{NEWLINE}}\n"
    "  {%- for doc in docs -%}\n"
    "    {{doc.title}}{{NEWLINE}}\n"
    "    {%- if doc.content is string -%}\n"
    "      {{doc.content}}{{NEWLINE}}\n"
    "    {%- else -%}\n"
    "      {%- for snippet in doc.content -%}\n"
    "        {{snippet}}{{NEWLINE}}\n"
    "      {%- endfor -%}\n"
    "    {%- endif -%}\n"
    '    {{"---"}}\n'
    "  {%- endfor -%}\n"
    "{%- endif -%}"
)
SESSION: dict[str, Any] = {
    "situation": "<string>",
    "system_template": SYSTEM_TEMPLATE,
    "summary": "<string>",
    "render_templates": True,
    "token_budget": 123,
    "context_overflow": "truncate",
    "auto_run_tools": False,
    "forward_tool_calls": False,
    "recall_options": {
        "mode": "vector",
        "num_search_messages": 4,
        "max_query_length": 1000,
        "alpha": 0.7,
        "confidence": 0.6,
        "limit": 10,
        "lang": "en-US",
        "metadata_filter": {},
        "mmr_strength": 0,
    },
    "id": "3c90c3cc-0d44-4b50-8888-8dd25736052a",
    "metadata": {},
    "created_at": "2023-11-07T05:31:56Z",
    "updated_at": "2023-11-07T05:31:56Z",
    "kind": "<string>",
}

# --- Storyden: the documented example page's session ------------------------------------------------

ROBOT_SESSION: dict[str, Any] = {
    "id": "cc5lnd2s1s4652adtu50",
    "createdAt": "2019-08-24T14:15:22Z",
    "updatedAt": "2019-08-24T14:15:22Z",
    "deletedAt": "2019-08-24T14:15:22Z",
    "misc": {},
    "name": "string",
    "created_by": {
        "id": "cc5lnd2s1s4652adtu50",
        "joined": "2019-08-24T14:15:22Z",
        "suspended": "2019-08-24T14:15:22Z",
        "handle": "Southclaws",
        "name": "Barnaby Keene",
        "signature": "<body><p>Sent with love from London!</p></body>",
        "roles": [
            {
                "badge": True,
                "default": True,
                "id": "cc5lnd2s1s4652adtu50",
                "name": "string",
                "colour": "string",
                "meta": {},
            }
        ],
    },
}

# --- Foundry: the documented example page's session, still alive ------------------------------------

AGENT_SESSION: dict[str, Any] = {
    "metadata": {
        "updatedTime": "2024-10-01T22:04:24.962583055Z",
        "estimatedExpiresTime": "2099-10-02T22:04:24.962583055Z",
        "messageCount": 6,
        "createdTime": "2024-10-01T20:04:24.962583055Z",
        "title": "What is the status of my order?",
    },
    "agentRid": "ri.aip-agents..agent.732cd5b4-7ca7-4219-aabb-6e976faf63b1",
    "agentVersion": "1.0",
    "rid": "ri.aip-agents..session.292db3b2-b653-4de6-971c-7e97a7b881d6",
}

# --- TutoriaLLM: its documented list of fields and its documented dialogue item -----------------------

USER_SESSION: dict[str, Any] = {
    "uuid": "0d1c8f5e-7b1b-4a55-9d5b-0c3a2f7e9b11",
    "sessionId": "3f0b7a7e-2b1c-4a6f-8f2e-6f0f5f1f2f3f",
    "name": "string",
    "dialogue": [{"id": 1, "contentType": "user", "isUser": True, "content": "Hello", "ui": "example_ui"}],
    "quickReplies": ["string"],
    "isReplying": False,
    "workspace": {},
    "isVMRunning": False,
    "clients": ["string"],
    "language": "string",
    "easyMode": True,
    "responseMode": "text",
    "llmContext": "string",
    "tutorial": {"isTutorial": True, "tutorialId": 1, "progress": 0},
    "stats": {
        "totalConnectingTime": 0,
        "currentNumOfBlocks": 0,
        "totalInvokedLLM": 0,
        "totalUserMessages": 0,
        "totalCodeExecutions": 0,
    },
    "audios": [{"id": "string", "base64": "string"}],
    "userAudio": "string",
    "screenshot": "string",
    "clicks": [{"x": 0, "y": 0, "value": 0, "timestamp": 1700000000000}],
    "userInfo": "string",
    "createdAt": "2019-08-24T14:15:22.123Z",
    "updatedAt": "2019-08-24T14:15:22.123Z",
}
USER_SESSION_OF_NULLS: dict[str, Any] = {
    **USER_SESSION,
    "uuid": "0d1c8f5e-7b1b-4a55-9d5b-0c3a2f7e9b12",
    **dict.fromkeys(
        (
            *("name", "dialogue", "quickReplies", "workspace", "clients", "language", "easyMode"),
            *("llmContext", "audios", "userAudio", "screenshot", "clicks", "userInfo"),
        )
    ),
    "tutorial": {"isTutorial": False, "tutorialId": None, "progress": 0},
}


def test_session_example_comes_back(stack: Stack) -> None:
    tenant = fresh_uuid()
    stack.load(*lines_of("session", {"developer_id": tenant}, SESSION))
    for path in ("/sessions", "/api/sessions"):
        body = validated(stack.get(path, stack.token("anybody", tenant)), schemas.SESSIONS)
        assert body == {"items": [SESSION]}


def test_robot_session_example_comes_back(stack: Stack) -> None:
    # Robots are the whole installation's, and other tests write there too: the ids are fresh.
    account = {**ROBOT_SESSION["created_by"], "id": new_xid()}
    session = {**ROBOT_SESSION, "id": new_xid(), "created_by": account}
    stack.load(*lines_of("robot_session", {}, session))
    token = stack.token("anybody", permissions=["USE_ROBOTS"])
    for path in ("/robots/sessions", "/api/robots/sessions"):
        page = validated(stack.get(f"{path}?account_id={account['id']}", token), schemas.ROBOT_SESSIONS)
        assert page == {
            "page_size": 20,
            "results": 1,
            "total_pages": 1,
            "current_page": 1,
            "sessions": [session],
        }
    alone = validated(stack.get(f"/robots/sessions/{session['id']}", token), schemas.ROBOT_SESSION)
    assert alone == {**session, "message_list": {"page_size": 50, "results": 0, "messages": []}}


def test_agent_session_example_comes_back(stack: Stack) -> None:
    user, client = fresh_uuid(), fresh_uuid()
    stack.load(
        *lines_of("agent", {"viewers": ["*"]}, {"rid": AGENT_SESSION["agentRid"]}),
        *lines_of("agent_session", {"user_id": user, "client_id": client}, AGENT_SESSION),
    )
    token = stack.token(user, client_id=client, scopes=["api:aip-agents-write"])
    path = "/api/v2/aipAgents/agents/allSessions?pageSize=100&preview=true"
    assert validated(stack.get(path, token), schemas.AGENT_SESSIONS) == {"data": [AGENT_SESSION]}


def test_user_session_example_comes_back(stack: Stack) -> None:
    user = fresh_uuid()
    stack.load(*lines_of("user_session", {"user_id": user}, USER_SESSION_OF_NULLS, USER_SESSION))
    listed = validated(stack.get("/session", stack.token(user)), schemas.USER_SESSIONS)
    assert listed == [USER_SESSION, USER_SESSION_OF_NULLS]
