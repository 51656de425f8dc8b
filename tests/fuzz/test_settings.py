"""Settings and options of any text: taken, or refused by a text that has no secret."""

import gc
from pathlib import Path

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st

from server.commands.options import lifetime_of
from server.page_tokens import page_tokens_of
from server.rate_limits import rate_limits_of
from server.settings import Settings, SettingsError, load
from server.store import driver
from tests.fuzz import wild
from tests.fuzz.report import fuzzing, tries

NAMES = sorted(Settings.model_fields)
MARK = "hidden7f3a"
URIS = (
    f"mongodb://{MARK}@",
    f"mongodb://u:{MARK}@h:x",
    f"mongodb://u:{MARK}@h/?replicaSet",
    f"mongodb://{MARK}%@h",
    f"redis://:{MARK}@h:x",
    f"redis://:{MARK}@[",
    MARK,
)
texts = wild.texts().filter(lambda text: "\0" not in text)


@tries(30, 2000)
@given(st.dictionaries(st.sampled_from(NAMES), texts, max_size=3))
@example({"mongodb_database": "a/b"})
@example({"rate_limit": "0/second"})
def test_any_value_of_a_setting_is_taken_or_refused_by_its_name(values: dict[str, str]) -> None:
    with fuzzing("parsers: settings") as row:
        refused = False
        try:
            load(**values)
        except SettingsError as error:
            refused = True
            assert str(error).startswith(("ROLLCALL_", "settings"))
            secrets = {value for name, value in values.items() if name.endswith("_secret") and len(value) > 8}
            shown = {value for name, value in values.items() if not name.endswith("_secret")}
            assert not [value for value in secrets - shown if value in str(error)]
        row.count(refused=refused)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # limits' half-made storages
@pytest.mark.parametrize("uri", URIS)
def test_an_address_that_is_none_is_refused_without_its_secret(uri: str) -> None:
    with pytest.raises(SettingsError, match="ROLLCALL_RATE_LIMIT_STORAGE") as refusal:
        rate_limits_of(load(rate_limit="1/second", rate_limit_storage=uri))
    assert MARK not in str(refusal.value)
    del refusal
    gc.collect()


@pytest.mark.parametrize("uri", [uri for uri in URIS if uri.startswith("mongodb")])
async def test_a_store_s_address_that_is_none_is_refused_without_its_secret(uri: str) -> None:
    with pytest.raises(SettingsError, match="ROLLCALL_MONGODB_URI") as refusal:
        driver.connect(load(mongodb_uri=uri))
    assert MARK not in str(refusal.value)


async def test_a_store_s_certificate_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ROLLCALL_MONGODB_URI"):
        driver.connect(load(mongodb_uri=f"mongodb://h/?tls=true&tlsCAFile={tmp_path / 'none.pem'}"))


@tries(20, 500)
@given(st.binary(max_size=60))
@example(b"\xff" * 40)
def test_a_secret_s_file_of_any_bytes_is_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "secret"
    file.write_bytes(content)
    with fuzzing("parsers: settings") as row:
        refused = False
        try:
            page_tokens_of(load(page_token_keys_file=file))
        except SettingsError as error:
            refused = True
            assert "ROLLCALL_PAGE_TOKEN_KEYS" in str(error)
        row.count(refused=refused)


@tries(80, 1000)
@given(wild.any_texts() | st.from_regex(r"\A[0-9]{1,12}[smhdy]\Z"))
def test_a_lifetime_is_refused_or_positive(text: str) -> None:
    with fuzzing("parsers: settings") as row:
        refused = False
        try:
            assert lifetime_of(text).total_seconds() > 0
        except typer.BadParameter:
            refused = True
        row.count(refused=refused)
