"""The fixed words of the printed report in each language it can be written in."""

from dataclasses import dataclass

from reporting.sections import (
    ADDENDUM,
    COMPARISON,
    FINDINGS,
    IMPRESSION,
    INDICATION,
    PROCEDURE,
    RECOMMENDATION,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The labels of one language; `headings` and `titles` are by LOINC code, `sexes` by PS3.3."""

    consultation: str
    patient: str
    birth_date: str
    sex: str
    patient_id: str
    study: str
    accession: str
    modality: str
    requested_by: str
    finalised: str
    author: str
    signed_by: str
    signed_at: str
    certificate: str
    issued_by: str
    demo: str
    signature_note: str
    unsigned: str
    version: str
    report: str
    content_digest: str
    not_given: str
    headings: dict[str, str]
    titles: dict[str, str]
    sexes: dict[str, str]


ENGLISH = Wording(
    consultation="Remote consultation",
    patient="Patient",
    birth_date="Date of birth",
    sex="Sex",
    patient_id="Patient ID",
    study="Study",
    accession="Accession no.",
    modality="Modality",
    requested_by="Requested by",
    finalised="Report date",
    author="Author",
    signed_by="Signed electronically by",
    signed_at="Signed at",
    certificate="Certificate",
    issued_by="Issued by",
    demo="Demo authority: not a qualified signature",
    signature_note="The electronic signature is part of this file; a printed copy lacks it.",
    unsigned="NOT SIGNED: preview only",
    version="version",
    report="Report",
    content_digest="SHA-256 of the content",
    not_given="not given",
    headings={
        INDICATION.value: "Indication",
        PROCEDURE.value: "Procedure",
        COMPARISON.value: "Comparison",
        FINDINGS.value: "Findings",
        IMPRESSION.value: "Impression",
        RECOMMENDATION.value: "Recommendation",
        ADDENDUM.value: "Addendum",
    },
    titles={
        "18748-4": "Diagnostic imaging report",
        "43468-8": "X-ray report",
        "25045-6": "CT report",
        "25056-3": "MRI report",
        "25061-3": "Ultrasound report",
    },
    sexes={"M": "male", "F": "female", "O": "other"},
)

UKRAINIAN = Wording(
    consultation="Дистанційна консультація",
    patient="Пацієнт",
    birth_date="Дата народження",
    sex="Стать",
    patient_id="Ідентифікатор пацієнта",
    study="Дослідження",
    accession="Номер направлення",
    modality="Модальність",
    requested_by="Замовник",
    finalised="Дата висновку",
    author="Автор",
    signed_by="Підписано електронним підписом",
    signed_at="Час підпису",
    certificate="Сертифікат",
    issued_by="Видавець",
    demo="Демонстраційний центр: не кваліфікований підпис",
    signature_note="Електронний підпис є частиною цього файлу; друкована копія його не містить.",
    unsigned="НЕ ПІДПИСАНО: лише попередній перегляд",
    version="версія",
    report="Висновок",
    content_digest="SHA-256 змісту",
    not_given="не вказано",
    headings={
        INDICATION.value: "Показання",
        PROCEDURE.value: "Методика дослідження",
        COMPARISON.value: "Порівняння",
        FINDINGS.value: "Опис",
        IMPRESSION.value: "Висновок",
        RECOMMENDATION.value: "Рекомендації",
        ADDENDUM.value: "Доповнення",
    },
    titles={
        "18748-4": "Протокол променевого дослідження",
        "43468-8": "Протокол рентгенологічного дослідження",
        "25045-6": "Протокол комп’ютерної томографії",
        "25056-3": "Протокол магнітно-резонансної томографії",
        "25061-3": "Протокол ультразвукового дослідження",
    },
    sexes={"M": "чоловіча", "F": "жіноча", "O": "інша"},
)

KAZAKH = Wording(
    consultation="Қашықтықтан консультация",
    patient="Пациент",
    birth_date="Туған күні",
    sex="Жынысы",
    patient_id="Пациент идентификаторы",
    study="Зерттеу",
    accession="Жолдама нөмірі",
    modality="Модальділік",
    requested_by="Сұрау салған ұйым",
    finalised="Қорытынды күні",
    author="Автор",
    signed_by="Электрондық қолтаңба қойған",
    signed_at="Қол қойылған уақыты",
    certificate="Сертификат",
    issued_by="Берген орталық",
    demo="Демонстрациялық орталық: білікті қолтаңба емес",
    signature_note="Электрондық қолтаңба осы файлдың бөлігі; баспа көшірмесінде ол болмайды.",
    unsigned="ҚОЛ ҚОЙЫЛМАҒАН: тек алдын ала қарау",
    version="нұсқа",
    report="Қорытынды",
    content_digest="Мазмұнның SHA-256 мәні",
    not_given="көрсетілмеген",
    headings={
        INDICATION.value: "Көрсетілімдер",
        PROCEDURE.value: "Зерттеу әдістемесі",
        COMPARISON.value: "Салыстыру",
        FINDINGS.value: "Сипаттама",
        IMPRESSION.value: "Қорытынды",
        RECOMMENDATION.value: "Ұсынымдар",
        ADDENDUM.value: "Толықтыру",
    },
    titles={
        "18748-4": "Сәулелік зерттеу хаттамасы",
        "43468-8": "Рентгенологиялық зерттеу хаттамасы",
        "25045-6": "Компьютерлік томография хаттамасы",
        "25056-3": "Магниттік-резонанстық томография хаттамасы",
        "25061-3": "Ультрадыбыстық зерттеу хаттамасы",
    },
    sexes={"M": "ер", "F": "әйел", "O": "басқа"},
)

BULGARIAN = Wording(
    consultation="Дистанционна консултация",
    patient="Пациент",
    birth_date="Дата на раждане",
    sex="Пол",
    patient_id="Идентификатор на пациента",
    study="Изследване",
    accession="Номер на заявката",
    modality="Модалност",
    requested_by="Заявител",
    finalised="Дата на заключението",
    author="Автор",
    signed_by="Подписано електронно от",
    signed_at="Време на подписване",
    certificate="Сертификат",
    issued_by="Издател",
    demo="Демонстрационен център: не е квалифициран подпис",
    signature_note="Електронният подпис е част от този файл; отпечатаното копие не го съдържа.",
    unsigned="НЕПОДПИСАНО: само за преглед",
    version="версия",
    report="Заключение",
    content_digest="SHA-256 на съдържанието",
    not_given="не е посочено",
    headings={
        INDICATION.value: "Показания",
        PROCEDURE.value: "Методика на изследването",
        COMPARISON.value: "Сравнение",
        FINDINGS.value: "Описание",
        IMPRESSION.value: "Заключение",
        RECOMMENDATION.value: "Препоръки",
        ADDENDUM.value: "Допълнение",
    },
    titles={
        "18748-4": "Протокол от образно изследване",
        "43468-8": "Протокол от рентгеново изследване",
        "25045-6": "Протокол от компютърна томография",
        "25056-3": "Протокол от магнитно-резонансна томография",
        "25061-3": "Протокол от ултразвуково изследване",
    },
    sexes={"M": "мъж", "F": "жена", "O": "друг"},
)

LANGUAGES: dict[str, Wording] = {
    "en": ENGLISH,
    "uk": UKRAINIAN,
    "kk": KAZAKH,
    "bg": BULGARIAN,
}
"""By ISO 639-1 code."""
