"""Settings: the environment over the file, nothing unknown, no secret shown."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as under
from hypothesis import strategies as st

from app.settings import Settings, SettingsWrong, changed, load, masked


def written(folder: Path, toml: str) -> Path:
    (folder / "telerad.toml").write_text(toml)
    return folder


def test_without_file_and_environment_the_embedded_default_holds(tmp_path: Path) -> None:
    settings = load(tmp_path)

    assert settings.database_url == f"sqlite:///{tmp_path / 'telerad.db'}"
    assert (settings.storage.objects_url, settings.broker.url) == ("", "")
    assert settings.record.adapter == "folder"
    assert not settings.production


def test_the_environment_goes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, '[dicom]\nae_title = "FILE"\nport = 104\n[web]\nport = 80\n')
    monkeypatch.setenv("TELERAD_DICOM__AE_TITLE", "ENVIRONMENT")
    monkeypatch.setenv("TELERAD_NODE", "node7")

    settings = load(tmp_path)

    assert settings.dicom.ae_title == "ENVIRONMENT"
    assert (settings.dicom.port, settings.web.port) == (104, 80)
    assert settings.node == "node7"


@pytest.mark.parametrize(
    ("toml", "name"),
    [
        ("colour = 1", "'colour'"),
        ("[dicom]\nprot = 104", "'dicom.prot'"),
        ("[dicom]\nport = 70000", "'dicom.port'"),
        ("[dicom]\nae_title = ''", "'dicom.ae_title'"),
        ("[dicom]\nae_title = 'BACK\\\\SLASH'", "'dicom.ae_title'"),
        ("[record]\nadapter = 'fax'", "'record.adapter'"),
        ("[record]\nfirst_wait_s = 0", "'record.first_wait_s'"),
        ("node = 'Node 1'", "'node'"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, toml: str, name: str) -> None:
    with pytest.raises(SettingsWrong, match=name):
        load(written(tmp_path, toml))


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("TELERAD_DICM__PORT", "TELERAD_DICM__PORT"),
        ("TELERAD_COLOUR", "TELERAD_COLOUR"),
        ("TELERAD_DICOM__PROT", "dicom.prot"),
    ],
)
def test_a_variable_that_is_no_setting_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, name: str
) -> None:
    monkeypatch.setenv(variable, "1")

    with pytest.raises(SettingsWrong, match=name):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"[dicom", b"\xff\xfe", b"port = "])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "telerad.toml").write_bytes(content)

    with pytest.raises(SettingsWrong, match=r"telerad\.toml cannot be read"):
        load(tmp_path)


def test_the_command_line_goes_before_both_and_is_checked_too(tmp_path: Path) -> None:
    settings = changed(load(tmp_path), web={"port": 0}, dicom={"ae_title": "EAST"})

    assert (settings.web.port, settings.dicom.ae_title) == (0, "EAST")
    assert settings.dicom.port == load(tmp_path).dicom.port
    with pytest.raises(SettingsWrong, match="ae_title"):
        changed(settings, dicom={"ae_title": "x" * 17})


@under(deadline=None)
@given(
    secret=st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=12),
    scheme=st.sampled_from(["postgresql", "amqp", "https"]),
)
def test_no_secret_survives_masking(secret: str, scheme: str) -> None:
    url = f"{scheme}://clerk:{secret}@host.example/name"
    settings = Settings.model_validate(
        {
            "data": Path("data"),
            "storage": {"database_url": url, "objects_url": url, "s3_secret_key": secret},
            "broker": {"url": url},
            "record": {"fhir_token": secret, "fhir_url": url, "seal_passphrase": secret},
        }
    )

    shown = masked(settings)

    assert secret not in repr(shown)
    assert shown["broker.url"] == f"{scheme}://****@host.example/name"
    assert set(shown) >= {"data", "node", "dicom.port", "record.adapter"}
