"""Accounts of a Storyden installation, as robots, sessions and messages carry them."""

from rollcall.v1 import robot_pb2 as pb

from server.records.fields import FLAG, NAME, OBJECT, OPTIONAL, TEXT, TIME, Field, Schema, list_of, matching

_ROLE = Schema(
    pb.Role,
    Field("badge", FLAG),
    Field("default", FLAG),
    Field("id", NAME),
    Field("name", TEXT),
    Field("colour", TEXT),
    Field("meta", OBJECT, OPTIONAL),
)
SIGNATURE = matching(r"(?s:.+)", "must not be empty")
ACCOUNT = Schema(
    pb.Account,
    Field("id", NAME),
    Field("joined", TIME),
    Field("handle", TEXT),
    Field("name", TEXT),
    Field("roles", list_of(_ROLE.codec)),
    Field("suspended", TIME, OPTIONAL),
    Field("signature", SIGNATURE, OPTIONAL),
).codec
