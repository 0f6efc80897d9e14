"""Matching of queries: the rules against a plain oracle, and the index against both."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, time
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_node import matching, query
from dicom_node.admission import Announced
from dicom_node.data_sets import Attribute, Attributes, attribute
from dicom_node.errors import QueryRefused
from dicom_node.finding import Finder
from dicom_node.intake import Intake
from dicom_node.query import Root
from kernel import name_key
from storage.archive import Archive
from storage.archive_find import Level
from storage.engine import Database
from storage.journal import Journal
from storage.objects import LocalObjects
from tests.dicom_node.samples import a_source, as_file, as_sent
from tests.services.migrated import migrate
from tests.services.postgresql import PostgreSQL
from tests.wire.holdings import CR, HELD, Held

LETTERS = "abAB*?^яЯé "


@given(pattern=st.text("ab*?", max_size=8), text=st.text("ab", max_size=8))
def test_wild_cards_are_those_of_a_regular_expression(pattern: str, text: str) -> None:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")

    assert matching.glob(pattern, text) == bool(re.fullmatch(expression, text))


def test_a_pattern_of_many_wild_cards_costs_no_more_than_its_length_allows() -> None:
    assert not matching.glob("*a" * 2000 + "b", "a" * 4000)


days = st.dates(date(2020, 1, 1), date(2020, 3, 1))
moments = st.times().map(lambda t: t.replace(microsecond=0))


@given(first=st.none() | days, last=st.none() | days, held=days)
def test_date_ranges_are_closed_and_may_be_open_at_an_end(
    first: date | None, last: date | None, held: date
) -> None:
    key = f"{first:%Y%m%d}" if first else ""
    key += "-" + (f"{last:%Y%m%d}" if last else "")
    found = matching.matcher("DA", [key])

    assert found is not None
    assert found([f"{held:%Y%m%d}"]) == ((first or held) <= held <= (last or held))
    assert not found([""])
    assert not found([])


@given(first=moments, last=moments, held=moments, digits=st.sampled_from([2, 4, 6]))
def test_time_ranges_take_in_all_that_begins_with_their_end(
    first: time, last: time, held: time, digits: int
) -> None:
    found = matching.matcher("TM", [f"{first:%H%M%S}"[:digits] + "-" + f"{last:%H%M%S}"[:digits]])

    assert found is not None
    assert found([f"{held:%H%M%S}"]) == (
        f"{first:%H%M%S}"[:digits] <= f"{held:%H%M%S}"[:digits] <= f"{last:%H%M%S}"[:digits]
    )


@given(value=st.text(LETTERS, min_size=1, max_size=6), held=st.text("abAB^яЯé", max_size=6))
def test_names_match_without_regard_to_case(value: str, held: str) -> None:
    found = matching.matcher("PN", [value])
    expression = re.escape(value.lower().rstrip("^ ").strip())
    expression = expression.replace(r"\*", ".*").replace(r"\?", ".")
    name = held.lower().rstrip("^")

    if not value.strip("*"):
        assert found is None
    else:
        assert found is not None
        assert found([held]) or not (name and re.fullmatch(expression, name))


def test_names_are_found_however_they_are_spelt_and_others_are_not() -> None:
    found = matching.matcher("PN", ["SHEVCHENKO^*"])

    assert found is not None
    assert found(["Шевченко^Тарас"])
    assert not found(["Шевченкова^Тарас"])
    assert not found([""])


def test_words_are_beginnings_in_any_order() -> None:
    found = matching.words(["Taras Шевч"])

    assert found(["Shevchenko^Taras"])
    assert not found(["Shevchenko^Ivan"])
    assert not found([])


@pytest.mark.parametrize(
    ("vr", "key", "held", "matches"),
    [
        ("UI", ["1.2", "1.3"], ["1.3"], True),
        ("UI", ["1.*"], ["1.3"], False),
        ("IS", ["007"], ["7"], True),
        ("IS", ["x"], ["7"], False),
        ("CS", ["CT"], ["ct"], False),
        ("CS", ["C?"], ["CT"], True),
        ("CS", ["CT", "MR"], ["CR", "MR"], True),
        ("LO", ["*"], [], True),
        ("LO", [], [], True),
        ("LO", [""], ["x"], True),
        ("LO", ["x*"], [], False),
        ("DA", ["2020.01.05"], ["20200105"], True),
        ("TM", ["10:15"], ["101559.9"], True),
        ("TM", ["-"], ["101559"], True),
        ("PN", ["Ivanov^Ivan"], ["Ivanov^Ivan^^^"], True),
        ("PN", ["Иванов*"], ["Ivanov^Ivan=Иванов^Иван"], True),
    ],
)
def test_each_vr_has_its_rule(vr: str, key: list[str], held: list[str], matches: bool) -> None:
    found = matching.matcher(vr, key)

    assert (found is None or found(held)) == matches


# The index narrows before the rules are applied; it must never lose what they would find.

MORE = tuple(
    replace(
        HELD[n % len(HELD)],
        number=100 + n,
        patient_id=patient_id,
        name=name,
        accession=accession,
        date=day,
        sent_by="VAN1",
    )
    for n, (patient_id, name, accession, day) in enumerate(
        [
            ("AB", "ab^cd", "1", "20200101"),
            ("Ab", "AB^CD", "2", "20200102"),
            ("A_", "aB^Жук", "10", "20200131"),
            ("A%B", "Kab^жУК", "12", ""),
            ("A\\B"[:1], "ÉCOLE^ab", "21", "20191231"),
            ("ab", "e\u0301cole^AB", "", "20200115"),
            ("abc", "sack=Жук^Ab", "12", "20200101"),
            ("b", "", "x", "20210101"),
        ]
    )
)
STUDIES = HELD[:5] + MORE


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)]
)
def finder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Finder]:
    folder: Path = tmp_path_factory.mktemp("index")
    url = f"sqlite:///{folder / 'telerad.db'}"
    if request.param == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgresql")
        url = server.url(server.create())
    database = Database(url)
    migrate(database)
    journal = Journal(folder / "journal", node="test", segment_bytes=4 << 20)
    intake = Intake(database, journal)
    for held in STUDIES:
        for each in held.instances():
            announced, data = as_sent(as_file(each))
            assert isinstance(announced, Announced)
            intake.store(announced, a_source(), data)
    archive = Archive(database, journal, LocalObjects(folder / "objects"))
    yield Finder(archive, ae_title="TELERAD", views={}, max_matches=100)
    journal.close()
    database.dispose()


ids = st.text("abAB*?_%P-12", max_size=4)
names = st.text("abkKцжЖеéÉs*?^", max_size=5)
dates = st.sampled_from(["20200101", "20200115", "20260102", "20260210", "20191231"])
date_keys = dates | st.tuples(dates | st.just(""), dates | st.just("")).map("-".join)
asked_keys = st.fixed_dictionaries(
    {},
    optional={
        "PatientID": ids,
        "PatientName": names,
        "AccessionNumber": st.text("12A*?-x", max_size=3),
        "StudyDate": date_keys,
        "ModalitiesInStudy": st.sampled_from(["CT", "CR", "S?", "*", "XX"]),
        "StudyInstanceUID": st.sampled_from([held.uid for held in STUDIES]),
    },
)


@settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(keys=asked_keys)
def test_the_index_finds_what_an_oracle_finds(finder: Finder, keys: dict[str, str]) -> None:
    asked = [attribute("QueryRetrieveLevel", "STUDY")]
    asked += [attribute(keyword, value) for keyword, value in keys.items()]
    checked = query.read(attributes(asked), Root.STUDY)

    found = [each.row["study_uid"] for each in finder.matches(checked, None)]

    assert len(found) == len(set(found))
    assert set(found) == {held.uid for held in STUDIES if agrees(held, keys)}


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(keys=asked_keys, offset=st.integers(0, 15), limit=st.integers(1, 15))
def test_a_part_of_what_is_found_is_that_part(
    finder: Finder, keys: dict[str, str], offset: int, limit: int
) -> None:
    asked = [attribute("QueryRetrieveLevel", "STUDY"), attribute("NumberOfStudyRelatedInstances")]
    asked += [attribute(keyword, value) for keyword, value in keys.items()]
    checked = query.read(attributes(asked), Root.STUDY)

    whole = [each.row["study_uid"] for each in finder.matches(checked, None)]
    part = islice(finder.matches(checked, None, offset=offset, limit=limit), limit)

    assert [each.row["study_uid"] for each in part] == whole[offset : offset + limit]


def attributes(asked: Sequence[Attribute]) -> Attributes:
    return Attributes({each.tag: each for each in asked})


def agrees(held: Held, keys: dict[str, str]) -> bool:
    """Match one study as plainly as it can be said."""
    modalities = {modality for modality, _ in held.series}
    known = {"PatientID": held.patient_id, "AccessionNumber": held.accession}
    for keyword, key in keys.items():
        if not key.strip("*"):
            continue
        if keyword == "StudyInstanceUID":
            ok = key == held.uid
        elif keyword == "StudyDate":
            first, dash, last = key.partition("-")
            ok = bool(held.date) and first <= held.date <= ((last or "9") if dash else first)
        elif keyword == "ModalitiesInStudy":
            ok = any(expression(key).fullmatch(each) for each in modalities)
        elif keyword == "PatientName":
            patterns = [name_key.plain(key), *name_key.folded_pattern(key)]
            spelt = name_key.keys_of(held.name)
            ok = any(expression(p).fullmatch(each) for p in patterns for each in spelt if p)
        else:
            ok = bool(known[keyword]) and bool(expression(key).fullmatch(known[keyword]))
        if not ok:
            return False
    return True


def expression(key: str) -> re.Pattern[str]:
    return re.compile(re.escape(key.strip()).replace(r"\*", ".*").replace(r"\?", "."))


def test_a_list_too_long_for_the_index_is_matched_all_the_same(finder: Finder) -> None:
    names = [f"nobody{n}" for n in range(700)] + ["mueller^*"]
    wanted = {"QueryRetrieveLevel": ["STUDY"], "PatientName": names, "PatientID": [*names, "P-2"]}
    asked = attributes([attribute(keyword, *values) for keyword, values in wanted.items()])

    found = [each.row["name"] for each in finder.matches(query.read(asked, Root.STUDY), None)]

    assert found == ["Müller^Jörg"]


@pytest.mark.parametrize("keyword", ["PatientName", "PatientID", "StudyDate", "StudyInstanceUID"])
def test_no_value_has_a_nul(keyword: str) -> None:
    asked = attributes([attribute("QueryRetrieveLevel", "STUDY"), attribute(keyword, "1\0*")])

    with pytest.raises(QueryRefused):
        query.read(asked, Root.STUDY)


def test_levels_hold_the_keys_of_those_above(finder: Finder) -> None:
    asked = attributes([attribute("QueryRetrieveLevel", "IMAGE"), attribute("SOPClassUID", CR)])
    checked = query.read(asked, Root.STUDY, relational=True)

    rows = [each.row for each in finder.matches(checked, None)]

    assert checked.level is Level.IMAGE
    assert {row["modality"] for row in rows} == {"CR"}
    assert all(row["study_uid"] and row["patient_id"] for row in rows)
