"""However a documented path is spelled, it is that path or none, and nobody gets in without credentials.

Envoy resolves `.`, `..`, `//`, a backslash, and escapes of letters, digits and dots, before any route is
chosen (`normalize_path`, `merge_slashes`), so that all who look at a path look at the same. %2F and %5C stay
(`KEEP_UNCHANGED`): an id may have them, and no documented name has.
"""

from collections.abc import Callable

import pytest

from tests.edge.documented import NO_ROUTE, PATHS, ask, not_found
from tests.edge.proxies import Edge

BAD = {"error": {"message": "Bad request", "type": "BAD_REQUEST", "status": 400}}

Spelling = Callable[[str, str], str]
"""Takes all but the last segment, and the last."""

SAME: dict[str, Spelling] = {
    "as documented": "{}/{}".format,
    "two slashes before": "/{}/{}".format,
    "two slashes within": "{}//{}".format,
    "a dot": "{}/./{}".format,
    "an escaped dot": "{}/%2e/{}".format,
    "up and down": "{}/x/../{}".format,
    "escaped up and down": "{}/x/%2E%2e/{}".format,
    "half-escaped up and down": "{}/x/.%2e/{}".format,
    "above the root": "/../..{}/{}".format,
    "a slash after": "{}/{}/".format,
    "two slashes after": "{}/{}//".format,
    "a dot after": "{}/{}/.".format,
    "down and up after": "{}/{}/x/..".format,
    "an escaped letter": lambda head, last: f"{head}/%{ord(last[0]):02x}{last[1:]}",
}

OTHER: dict[str, Spelling] = {
    "an escaped slash after": "{}/{}%2F".format,
    "a twice escaped slash": "{}/{}%252f".format,
    "an escaped backslash": "{}/{}%5c".format,
    "an overlong slash": "{}/{}%c0%af".format,
    "a slash in UTF-16": "{}/{}%u002f".format,
    "a parameter": "{}/{};x=1".format,
    "an escaped parameter": "{}/{}%3bx".format,
    "an escaped query": "{}/{}%3fx=1".format,
    "an escaped fragment": "{}/{}%23x".format,
    "an escaped line": "{}/{}%0d%0aX-A:%20b".format,
    "a blank": "{}/{}%20".format,
    "a byte that is not UTF-8": "{}/{}%ff".format,
    "no number after %": "{}/{}%zz".format,
    "nothing after %": "{}/{}%".format,
    "a verb": "{}/{}:search".format,
    "a file type": "{}/{}.json".format,
    "capitals": lambda head, last: f"{head}/{last}".upper(),
    "60 KB": lambda head, last: f"{head}/{last}" + "a" * 60_000,
    "an escaped slash within": lambda head, last: f"/x{head}%2f{last}",
    "10,000 segments": lambda head, last: f"{head}/{last}" + "/a" * 10_000,
}

REFUSED: dict[str, Spelling] = {
    "NUL": "{}/{}%00".format,
    "a fragment": "{}/{}#x".format,
    "a byte": "{}/{}\xff".format,
    "no slash before": lambda head, last: f"{head}/{last}"[1:],
    "a backslash before": lambda head, last: "\\" + f"{head}/{last}"[1:],
}


def spelled(path: str, spelling: Spelling) -> str:
    bare, mark, query = path.partition("?")
    head, _, last = bare.rpartition("/")
    return spelling(head, last) + mark + query


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_a_spelling_of_a_path_is_the_path(served: Edge, path: str) -> None:
    expected, refused = ask(served, path), ask(served, path, anonymous=True)
    assert expected.status == 200
    assert refused.status in {401, 403}
    for name, spelling in SAME.items():
        answer = ask(served, spelled(path, spelling))
        assert (name, answer.status, answer.json()) == (name, 200, expected.json())
        assert (name, ask(served, spelled(path, spelling), anonymous=True).status) == (name, refused.status)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_what_is_not_the_path_is_not_found_in_its_contracts_words(served: Edge, path: str) -> None:
    for name, spelling in OTHER.items():
        other = spelled(path, spelling)
        answer = ask(served, other)
        assert not_found(other, answer), (name, answer)
        assert not {"x-a", "location"} & answer.headers.keys(), name
        assert ask(served, other, anonymous=True).status in {401, 403, 404}, name


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_what_cannot_be_a_path_is_refused(served: Edge, path: str) -> None:
    for name, spelling in REFUSED.items():
        answer = ask(served, spelled(path, spelling))
        assert (name, answer.status, answer.json()) == (name, 400, BAD)


def test_an_id_is_not_a_path(served: Edge) -> None:
    for id_ in ("..%2fsessions", "%2e%2e%2fsessions", "sessions%2f", "%252e%252e", "..%5csessions"):
        path = f"/robots/{id_}"
        assert not_found(path, ask(served, path)), id_
    assert ask(served, "/robots/../%2e%2e/nope").json() == NO_ROUTE
