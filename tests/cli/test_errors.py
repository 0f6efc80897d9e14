"""Whatever is wrong is one clear sentence on standard error and a status that is not 0."""

import json
import socket
from pathlib import Path

import pytest

from tests.cli.command import refused, telerad


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with an empty database."""
    folder = tmp_path_factory.mktemp("errors")
    done = telerad("migrate", "--data", folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def order(**fields: object) -> str:
    return json.dumps({"accession": "A-1", "patient_id": "P-1", **fields})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{", "the input is not JSON"),
        (b"\xff\xfe", "the input is not JSON"),
        (order(patient_id=""), "'patient_id' is missing"),
        (order(study_uid="one.two"), "is not a UID"),
        (order(organisation="nowhere"), "no organisation has this id: nowhere"),
    ],
    ids=["no json", "no text", "no patient", "no uid", "no site"],
)
def test_an_order_that_cannot_be_read(data: Path, given: str | bytes, said: str) -> None:
    assert said in refused("order", "add", "-", "--data", data, given=given)


def test_where_nothing_is_to_be_withdrawn_that_is_said(data: Path) -> None:
    assert telerad("retention", "withdraw", "--all", "--data", data).stdout == "There are none.\n"


def test_a_study_that_is_not_here_is_not_sent_and_that_is_said(data: Path) -> None:
    telerad("peer", "add", "--ae", "PACS", "--host", "h", "--port", "104", "--data", data)

    said = refused("send", "1.2.3", "--to", "PACS", "--data", data)

    assert "no study with this UID is whole here" in said


def test_one_order_of_a_list_that_cannot_be_read_leaves_none(data: Path) -> None:
    both = [{"accession": "B-1", "patient_id": "P"}, {"accession": "B-2"}]

    refused("order", "add", "-", "--data", data, given=json.dumps(both))

    assert "B-1" not in telerad("order", "list", "--data", data).stdout


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("order add no-such-file.json", "No such file"),
        ("case show no-such-case", "no case has this id"),
        ("case list --state flying", "'flying' is none of received, queued"),
        ("peer add --ae THIS-TITLE-IS-TOO-LONG --host h --port 1", "1 to 16 characters"),
        ("peer add --ae A --host h --port 1 --organisation nowhere", "no organisation has this id"),
        ("peer add --ae A --host h --port 70000", "not in the range"),
        ("token add --scopes everything", "dicomweb:read"),
        ("user add joe --name Joe --role administrator", "--password-stdin"),
        ("replay --fact 1 --colour red", "No such option"),
        ("demo --study no-such-file.dcm", "does not exist"),
        ("up --http-port 70000", "not in the range"),
        ("up --ae-title THIS-TITLE-IS-TOO-LONG", "1 to 16 printable"),
        ("work", "a worker needs a broker"),
    ],
)
def test_a_wrong_argument(data: Path, command: str, said: str) -> None:
    words = command.split()
    where = () if words[0] == "demo" else ("--data", data)
    assert said in refused(*words, *where)


@pytest.mark.parametrize(
    ("arguments", "password", "said"),
    [
        ("--role administrator", "short", "at least 8 characters"),
        ("--role consultant", "long enough", "names the consultant"),
        ("--role consultant --reader r-none", "long enough", "no consultant has this id"),
        ("--role attending --organisation nowhere", "long enough", "no organisation has this id"),
    ],
)
def test_a_person_who_cannot_be_added(data: Path, arguments: str, password: str, said: str) -> None:
    command = ["user", "add", "joe", "--name", "Joe", *arguments.split(), "--password-stdin"]
    assert said in refused(*command, "--data", data, given=f"{password}\n")


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('colour = "red"', "there is no setting 'colour'"),
        ("[dicom]\nprot = 104", "there is no setting 'dicom.prot'"),
        ('[dicom]\nport = "abc"', "'dicom.port' cannot be used"),
        ("[dicom", "telerad.toml cannot be read"),
        ('[storage]\ndatabase_url = "mysql://x"', "must be sqlite:// or postgresql://"),
        (
            '[storage]\ndatabase_url = "postgresql://u:hidden@127.0.0.1:1/x"',
            "the database did not answer",
        ),
    ],
)
def test_settings_that_cannot_be_used(tmp_path: Path, toml: str, said: str) -> None:
    (tmp_path / "telerad.toml").write_text(toml)

    sentence = refused("case", "list", "--data", tmp_path)

    assert said in sentence
    assert "hidden" not in sentence


def test_a_misspelt_variable_of_the_environment_is_named(data: Path) -> None:
    sentence = refused("case", "list", "--data", data, environment={"TELERAD_DICM__PORT": "1"})

    assert "TELERAD_DICM__PORT" in sentence


@pytest.mark.parametrize("command", ["serve", "listen", "relay", "case list", "verify"])
def test_a_database_that_was_not_made_yet(tmp_path: Path, command: str) -> None:
    sentence = refused(*command.split(), "--data", tmp_path / "none")

    assert "there is no engine in" in sentence
    assert not (tmp_path / "none" / "telerad.db").exists()


def test_a_data_directory_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")

    assert "is a file" in refused("migrate", "--data", tmp_path / "file")
    assert "Not a directory" in refused("migrate", "--data", tmp_path / "file" / "below")


@pytest.mark.parametrize("content", ["[organisation", '[[organisation]]\ncolour = "red"\n'])
def test_a_network_that_cannot_be_read(data: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "network.toml").write_text(content)

    sentence = refused("network", "load", tmp_path / "network.toml", "--data", data)

    assert "nobody foresaw" not in sentence


def test_a_port_that_is_taken_is_named_and_nothing_is_left_running(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        local = {"TELERAD_DICOM__HOST": "127.0.0.1"}
        web = refused("up", "--data", data, "--http-port", port, "--dicom-port", 0)
        node = refused(
            "up", "--data", data, "--http-port", 0, "--dicom-port", port, environment=local
        )

    assert f"cannot listen on 127.0.0.1:{port}" in web
    assert f"cannot listen on 127.0.0.1:{port}" in node


def test_what_nobody_foresaw_is_one_sentence_too(data: Path, tmp_path: Path) -> None:
    (tmp_path / "telerad.db").write_bytes(b"this was never a database" * 100)

    sentence = refused("case", "list", "--data", tmp_path)

    assert "database" in sentence.lower()
