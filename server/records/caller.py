"""Who asks."""

from dataclasses import dataclass

READ = "sessions:read"
WRITE = "sessions:write"
AGENTS = "api:aip-agents-write"


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified caller.

    `tenant` is the claim `developer_id`, or `sub` where a token has none.
    """

    sub: str
    tenant: str
    client_id: str = ""
    permissions: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    @property
    def may_write(self) -> bool:
        """Whether it may create and change records, and name their owners."""
        return WRITE in self.scopes

    @property
    def may_name_owners(self) -> bool:
        """Whether it may read the records of other owners in its tenant."""
        return READ in self.scopes or WRITE in self.scopes

    @property
    def may_use_robots(self) -> bool:
        """Whether Storyden would let it see robots and their sessions."""
        return not self.permissions.isdisjoint(("USE_ROBOTS", "ADMINISTRATOR"))

    @property
    def may_see_agents(self) -> bool:
        """Whether Foundry would let it see its agent sessions."""
        return AGENTS in self.scopes

    @property
    def viewers(self) -> list[str]:
        """What an agent's `viewers` may say to let this caller in."""
        return ["*", f"user:{self.sub}", *(f"group:{group}" for group in sorted(self.groups))]
