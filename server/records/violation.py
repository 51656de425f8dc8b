"""The one error of a write that its contract cannot print."""


class FieldError(ValueError):
    """A value breaks a rule.

    `rule` completes the sentence "FIELD …" for people.  The path to the field
    grows outwards as the error passes through the objects around it, in the
    contract's names and in protobuf's.
    """

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule
        self._json: list[str] = []
        self._proto: list[str] = []

    def within(self, json: str, proto: str | None = None) -> "FieldError":
        """Say that the value is that of `json`, or an index such as `[3]`."""
        self._json.insert(0, json)
        self._proto.insert(0, json if proto is None else proto)
        return self

    @property
    def json_path(self) -> str:
        """The field in the contract's names: `dialogue[3].contentType`."""
        return _joined(self._json)

    @property
    def proto_path(self) -> str:
        """The field in protobuf's names: `dialogue[3].content_type`."""
        return _joined(self._proto)

    def __str__(self) -> str:
        return f"{self.json_path or 'record'}: {self.rule}"


def _joined(path: list[str]) -> str:
    steps = (step if step.startswith("[") else f".{step}" for step in path if step)
    return "".join(steps).removeprefix(".")
