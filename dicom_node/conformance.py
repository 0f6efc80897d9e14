"""The DICOM conformance statement, written from the tables that the node negotiates by.

References
----------
DICOM PS3.2 Annex A (template); the document is docs/conformance.md.
"""

from collections.abc import Iterable, Sequence

from pydicom._uid_dict import UID_dictionary

from dicom_node import modality_worklist, pdu, query, series_details
from dicom_node.charsets import DEFINED_TERMS
from dicom_node.dictionary import keyword_of, tag_of
from dicom_node.registry import STORAGE_CLASSES, TRANSFER_SYNTAXES
from dicom_node.right_values import ACCESSION, DESCRIBES_THE_PERSON, IDENTITY, REQUESTS
from dicom_node.statuses import Outcome, Status, word_for
from dicom_node.tls import CIPHERS
from dicom_node.uids import (
    AVAILABILITY,
    COMPRESSIONS,
    MESSAGE_SYNTAXES,
    SERVICES,
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)
from dicom_node.workitems.serving import ACTIONS, OPERATIONS
from storage.archive_find import Level
from storage.retention import SCHEME, Reason

_MEANINGS = {
    Outcome.STORED: "the instance is durable and can be found",
    Outcome.DUPLICATE: "the same bytes are here already",
    Outcome.CONFLICTING: "the SOP Instance UID has other content here; both are kept, the first "
    "stays",
    Outcome.UNREADABLE: "the data set cannot be read; it is kept aside",
    Outcome.MISMATCHED: "the data set is not what the command announced, or lacks its UIDs; it is "
    "kept aside",
    Outcome.NO_ROOM: "the disk has no room",
    Outcome.UNAVAILABLE: "the index cannot be written now",
    Outcome.FAILED: "the storage failed",
    Outcome.NO_DATA_SET: "there is no data set",
    Outcome.CLASS_NOT_SUPPORTED: "the SOP class is not that of the presentation context",
    Outcome.OPERATION_UNKNOWN: "the operation is not served on this context",
}
_HEAD = """\
# DICOM conformance statement

Written by `python -m tools.make_conformance` from the tables that the node negotiates by; a test
compares it with what is negotiated. After the template of PS3.2 Annex A.

## 1. Overview

One application entity receives and keeps instances of every storage SOP class, verbatim in the
transfer syntax in which they come; answers queries; sends back what it holds; tells modalities
their worklist and hears what they did of it; and answers for what it stores. It opens associations
of its own to send instances (C-MOVE, delivery), to find and fetch priors, to report on storage
commitment and to ask for it, to tell which studies are here, and to verify that a peer is there.
"""
_ASSOCIATIONS = """\
## 2. Associations

| | |
|---|---|
| application context | {application} |
| implementation class UID | {implementation} |
| implementation version name | {version} |
| port | one, for every service |
| called AE title | has to be the node's; else rejected (1, 1, 7) |
| calling AE title | has to be a registered peer; else rejected (1, 1, 3) |
| too many associations, of one peer or of all | rejected (2, 3, 2) |
| asynchronous operations | not negotiated: one operation at a time |
| user identity | not negotiated |
| extended negotiation | query and retrieve: relational queries; combined date and time matching |
| role selection | accepted for storage classes beside a C-GET context, and for storage commitment |

Of the transfer syntaxes that a context proposes, the first that is known is taken; big endian only
where nothing else is offered. Storage classes that manufacturers registered under roots of their
own are taken as well, unless the settings say otherwise.
"""
_FIND = """\
## 5. Query and retrieve (PS3.4 Annex C)

Matching: single value, list of UID, wild card (`*`, `?`), range of dates and times, universal.
Of a key with several values one has to match. What has no value matches no key but the universal
one: a study without a date is found by no date, and one without a patient id by nobody's, though
C.2.2.1.2 takes an unknown value for a match. Without relational queries each level above needs
one value of its unique key, else A900. A key that is not supported is left out of the answers,
which are then FF01. Dates and times of a series, and the items of its request, are read from one
of its instances when they are asked for, and of 1000 series at most (else A900). If a query is
narrowed by them and an instance cannot be read now, the query is refused with A700 (QIDO-RS: 503
with Retry-After): to try later. A series whose instance is damaged is answered as if it matched,
with FF01 (QIDO-RS: with a Warning).
Answers are in ISO_IR 192 and have Retrieve AE Title and Instance Availability. That is ONLINE, or
UNAVAILABLE where some of what matched lies in the journal of another node of the same database and
is not packed yet: a retrieval from this node fails until it is (QIDO-RS says the same).

Names (VR PN) match, the whole or one component group, without regard to case, or if their keys do
(C.2.2.2.1 leaves this to the implementation): accents and doubled letters do not count, and
Cyrillic letters match their transliterations by ICAO 9303, ISO 9 and the national rules of
Ukraine, Kazakhstan and Bulgaria: `MULLER*` finds Müller and Мюллер, `Shevchenko*` finds Шевченко,
`Akhmetova` and `Ahmetova` find Ахметова. What matches as it is written always matches. With
`fuzzymatching=true` QIDO-RS finds names of which a word begins with each word asked for, in any
order and component.

A device sees the studies that devices of its organisation sent first, and those of open requests of
its organisation for the same patient; an organisation that reads for all can be given sight of all.
What is not seen is neither found nor retrieved.
"""
_RETRIEVE = """\
C-MOVE sends to registered peers only (else A801), C-GET on the same association to contexts for
which the peer selected the SCP role. Instances go in the transfer syntax in which they came; where
the receiver does not take it, uncompressed in Explicit or Implicit VR Little Endian. On a C-GET
whose context was accepted in one of the compressions below alone, and over DICOMweb where one is
asked for, pictures are compressed without loss: the samples that come out are compared with those
that went in, and what cannot be kept is refused with its rule, or given in the next of the transfer
syntaxes that are taken. Over DICOMweb who names no transfer syntax gets what was compressed with
loss and cannot be decompressed as it is stored (PS3.18 8.7.3.5.2). A compressed picture of another
size than its data set says is not decoded. Colours are given pixel by pixel (Planar Configuration
0). Samples of 32 bits in big endian with VR OW are given in no other form: PS3.5 6.2 swaps words of
16 bits, others swap samples. Pending answers have the numbers of sub-operations; the final one
lists what failed. A C-CANCEL ends a C-MOVE within about a second also where the destination does
not answer: the instance under way counts as failed, for it may be there or not, and what was not
begun as remaining. Where the destination cannot be connected, or reads no more in the midst of a
large instance, it is first given up by itself (15 s, 120 s).

High-throughput JPEG 2000 is made of samples of up to sixteen bits, in the precision of Bits Stored,
in RPCL order with TLM and a base resolution of at most 64 by 64 (PS3.5 10.18), RGB by the
reversible transform (YBR_RCT). JPEG 2000 is made of samples of up to 24 bits, single bits among
them, JPEG-LS of 2 to 16, RLE of what is allocated 8 or 16. Compressions that are made:
"""
_CORRECTED = """\
### Corrected attributes

What is archived is never changed. Where the patients of two ids were merged, demographics, the
patient of a study or its accession number corrected, the instances that leave (C-MOVE, C-GET,
DICOMweb with metadata and bulk data) carry what is right, and an item of the Original Attributes
Sequence (PS3.3 C.12.1.1.9) with what was sent, reason CORRECT. An instance that says already what
is right leaves byte for byte. Queries answer for the study as it is shown. At the level of
instances an image of another person, who came into the study by a merge that was taken back, is
answered for as its own patient's; it is found, and on the patient root retrieved, by the id of its
own patient and not by that of the study's.

An accession number is corrected in the items of the request, too: in those that have the number
of the instance itself, or in the only one where it has none. The other identifiers of a request
stay: nobody said what is right of them. Not touched are the items of the Original Attributes
Sequence that are there already, encrypted attributes and digital signatures, the content of
structured reports, encapsulated documents, private attributes, and pixels.
"""
_WORKLIST = """\
## 6. Modality worklist (PS3.4 Annex K)

The open requests of the organisation of the modality. A key whose attribute an item lacks matches:
a request that names no station is for every station, and told to each as its own. Who was merged is
told as who stays. Dates and times are those of the site. A range of dates and a range of times are
one period, from the first time of the first day to the last time of the last.
Attributes that are asked for and not held are answered empty.
"""
_COMMITMENT = """\
## 7. Storage commitment, push model (PS3.4 Annex J)

N-ACTION (action type 1) is kept durably before it is answered; the N-EVENT-REPORT comes on an
association that the node opens, as SCP, to the address that the peer is registered with, and is
tried again with growing pauses for three days, unless the peer is removed. An instance is committed
if the archive index has it, which it does only once its bytes are durable. Failure reasons: 0112H
no such object instance, 0119H class / instance conflict.

The node asks peers as well (SCU): it takes the report on the same association within three seconds,
or on one that the peer opens as SCP, matched by its transaction UID; a transaction without a report
is asked again each hour, for three days.
"""
_PERFORMED = """\
## 8. Modality performed procedure step (PS3.4 Annex F)

N-CREATE needs the attributes of type 1 of table F.7.2-1 (else 0120, 0121 where one is empty) and
the status IN PROGRESS (else 0106); told again in the same words it is the same answer, with other
content 0111. Without an instance UID the node gives one. N-SET makes IN PROGRESS COMPLETED or
DISCONTINUED, for which the end has to be told, and the series of what is completed; attributes that
may not change are let pass where they are told unchanged (else 0106). A step that has ended is
never changed: 0110 with error id A710. A device changes and reads (N-GET, retrieve SOP class) only
steps of its own organisation (else 0112). All is durable before it is answered.

A scheduled step whose performed step is in progress stays in the modality worklist as STARTED; it
leaves the list when completed or discontinued, unless it was discontinued as '110514, DCM:
incorrect worklist entry selected'.
"""
_WORKITEMS = """\
## 9. Unified procedure step (PS3.4 Annex CC)

Workitems are created (N-CREATE, and by the node itself for readings), found, read, set and moved by
table CC.1.1-2; what a class takes is in the table below. A type 1 attribute that is missing refuses
an N-CREATE, a type 2 one is added empty and warned of (B300); the moment of a cancellation is
supplied. Workitems are kept, so a deletion lock is always granted. N-SET does not change who the
patient is and what was requested. Of a patient who was merged or corrected it is told who stands
for them, by every way (C-FIND keys and filters, too), to who has to do with that patient: the id is
of an issuer of their devices, or they see a study. A device sees the workitems that devices of its
organisation created and those that its organisation has to do with.

Reports (UPS State, Cancel Requested, Progress, Assigned, SCP Status Change when the node was
started anew) go as N-EVENT-REPORT of the UPS Event class on associations that the node opens, as
SCP, to the address of the registered receiver: in order, each at least once, tried again with
growing pauses and given up after three days. A device subscribes itself and other devices of its
organisation. Who subscribes to one workitem is told its state at once.
A moment without an offset has that of Timezone Offset From UTC (0008,0201) of its data set; in a
query that has none, it is local to the workitem. Without either it is UTC.

A reading has one workitem a claim (code 110005, DCM). It is begun by the workstation of the
consultant to whom the case is offered (else 0124H), canceled by who holds it, and completed by the
signature of the report, which its output references.
"""
_REJECTION = """\
### Rejection notes (IHE RAD TF-3, 4.66; PS3.16 CID 7011)

Key objects (C-STORE or STOW-RS) that are titled by one of these codes withdraw the instances that
their evidence names, if they come from the organisation that sent the study:

{reasons}

What is withdrawn, and the note with it, is hidden from every query, retrieval and page, for each of
the reasons; it can be restored for a time and is removed then. Instances of the same UID that come
later are refused, those that a note names and that come for the first time after it are withdrawn
before their study counts as complete. The same note again is the same answer, and what was restored
stays. While a case of the study is not over, under a legal hold, and while a signed report of it is
to be kept, nothing is hidden: the note is listed as refused, and whoever reads the study is told.

What is rejected for quality reasons (113001, DCM) stays in regular use where the site configures
that (`dicom.rejected_for_quality = "show"`; the default is "hide"): instances and note are then
answered to every query and retrieval like any other, whoever reads the study is told, and once the
site decides otherwise they are hidden as above. No rejection notes are sent.
"""
_AVAILABILITY = """\
## 10. Instance availability notification (PS3.4 Annex R)

What a peer says that it has of a study is what the study consists of: it is complete at once when
all of that is here, and waited for, within bounds, until then; the last notice of a peer counts.
Instances that are UNAVAILABLE are left out. The same holds for the series that a performed step
lists, and for key objects that are a manifest (113030, DCM); what a storage commitment is asked for
is waited for, and proves no end. Only the organisation of the device that sent the study, and those
whose requests it answers, are believed.

A registered peer that asked for it is told (SCU) of each manifest of a study that it may see, and
when something of one, or all of it, is withdrawn or restored; tried again with growing pauses for
three days. A notice says how the study is when it is told: what is withdrawn is UNAVAILABLE.
"""
_LIMITS = """\
## 11. Not served

Print and media services.
"""
_SECURITY = """\
## 12. Security (PS3.15)

| | |
|---|---|
| secure transport connection profile | BCP 195 RFC 8996, 9325 (B.12), which takes in B.9 and B.10 |
| TLS port | one beside the plain port, where the settings name it; both for every service |
| versions | TLS 1.2 and 1.3; no compression or renegotiation |
| resumption | by session id in TLS 1.2 alone, with the certificate judged anew; no tickets |
| cipher suites of TLS 1.2 | {ciphers} |
| node authentication | both sides by certificate, as acceptor and as requestor |
| identity of a caller | its certificate, bound to calling AE title and site; else (1, 1, 3) |
| identity of who is called | a certificate bound to its AE title; else nothing is sent |
| revocation lists | asked for each certificate where they are set (RFC 9325 7.5), both roles |
| plain port | answered from trusted networks alone; a peer may be kept off it, else (1, 1, 3) |

Bindings are looked up for each association, so that one that is taken back, or has expired, is
refused at the next. Refusals for lack of proof are in the audit chain with their rule.

Of each authority above a certificate the newest whole list counts that its key signed (RFC 5280
6.3). Named on one, or without one that holds now, the certificate is refused: (1, 1, 3), or nothing
is sent. Certificates that stand for themselves are on no list. OCSP is not asked.
"""
_CHARACTER_SETS = """\
## 13. Character sets (PS3.2 section 6)

Text is kept as it came and indexed in Unicode. Specific Character Set (0008,0005) may hold these
defined terms, those of one byte with code extension, too:

{terms}.

Where it is absent the character set that the device is registered with holds; where that is not
known either, UTF-8 is tried, and words of high bytes are read as Windows-1251. A term that is none
is passed over, and remarked. Bytes that do not fit become U+FFFD in the index. Answers and objects
that are made here are in ISO_IR 192.
"""
# PS3.4: what the node asks of others, storage of what it holds apart.
_CALLED = (
    VERIFICATION,
    STUDY_ROOT_FIND,
    STUDY_ROOT_MOVE,
    STORAGE_COMMITMENT,
    AVAILABILITY,
)


def statement() -> str:
    """Return what the node negotiates, as Markdown."""
    parts = [
        _HEAD,
        _ASSOCIATIONS.format(
            application=pdu.APPLICATION_CONTEXT,
            implementation=pdu.IMPLEMENTATION_CLASS_UID,
            version=pdu.IMPLEMENTATION_VERSION,
        ),
        "## 3. SOP classes\n",
        "### Services (as SCP)\n",
        classes([VERIFICATION, *sorted(SERVICES)]),
        f"Transfer syntaxes of the services: {_named(sorted(MESSAGE_SYNTAXES))}.\n",
        "### Services (as SCU)\n",
        classes(_CALLED),
        "### Storage (as SCP, and as SCU of what is held)\n",
        classes(sorted(STORAGE_CLASSES)),
        "### Transfer syntaxes of storage and verification\n",
        classes(sorted(TRANSFER_SYNTAXES)),
        "## 4. Storage\n",
        "Success is answered when the bytes are durable and indexed.\n",
        table(
            ("outcome", "status", "when"),
            ((each.value, f"{word_for(each):04X}", _MEANINGS[each]) for each in Outcome),
        ),
        _REJECTION.format(
            reasons=table(
                ("code", "scheme", "meaning"),
                ((each.value, SCHEME, each.meaning) for each in Reason),
            )
        ),
        _FIND,
        table(("level", "key", "tag"), _query_keys()),
        _RETRIEVE,
        classes(COMPRESSIONS),
        _CORRECTED,
        table(("attribute", "tag", "when"), _corrected_attributes()),
        _WORKLIST,
        table(("in", "key", "tag"), _worklist_keys()),
        _COMMITMENT,
        _PERFORMED,
        _WORKITEMS,
        table(("class", "operations", "action types"), _workitem_operations()),
        _AVAILABILITY,
        "Status words of the services:\n",
        table(("name", "status"), ((s.name.lower(), f"{s:04X}") for s in Status)),
        _LIMITS,
        _SECURITY.format(ciphers=", ".join(CIPHERS)),
        _CHARACTER_SETS.format(terms=", ".join(DEFINED_TERMS)),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _workitem_operations() -> Iterable[Sequence[str]]:
    for uid, commands in OPERATIONS.items():
        names = ", ".join(each.name.removesuffix("_RQ").replace("_", "-") for each in commands)
        actions = ", ".join(str(each) for each in sorted(ACTIONS.get(uid, ())))
        yield _name_of(uid), names, actions


def _corrected_attributes() -> Iterable[Sequence[str]]:
    other = "replaced: another patient is right, by a merge or of a study"
    rows = dict.fromkeys(IDENTITY, other)
    rows |= {ACCESSION: "replaced: another number is right"}
    rows |= dict.fromkeys(
        REQUESTS, "number within replaced: another is right; removed: made of another person"
    )
    rows |= dict.fromkeys(DESCRIBES_THE_PERSON, "removed: made of another person")
    for tag, when in sorted(rows.items()):
        yield keyword_of(tag) or "-", f"({tag >> 16:04X},{tag & 0xFFFF:04X})", when


def _query_keys() -> Iterable[Sequence[str]]:
    for level in Level:
        for keyword, key in query.KEYS.items():
            if key.level is level:
                yield level.value, keyword, _tag(keyword)
        if level is Level.SERIES:
            yield from _details()


def _details() -> Iterable[Sequence[str]]:
    for keyword in series_details.DETAILS:
        if keyword != series_details.REQUEST:
            yield Level.SERIES.value, keyword, _tag(keyword)
    for keyword in series_details.OF_REQUEST:
        named = f"{series_details.REQUEST} > {keyword}"
        yield Level.SERIES.value, named, f"{_tag(series_details.REQUEST)} > {_tag(keyword)}"


def _worklist_keys() -> Iterable[Sequence[str]]:
    for keyword in modality_worklist.KEYS:
        yield "item", keyword, _tag(keyword)
    for keyword in modality_worklist.STEP_KEYS:
        yield modality_worklist.STEP_SEQUENCE, keyword, _tag(keyword)


def _tag(keyword: str) -> str:
    tag = tag_of(keyword)
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _name_of(uid: str) -> str:
    entry = UID_dictionary.get(uid)
    return entry[0] if entry else uid


def classes(uids: Iterable[str]) -> str:
    """Return a table of names and UIDs as Markdown."""
    return table(("name", "UID"), ((_name_of(uid), uid) for uid in uids))


def _named(uids: Iterable[str]) -> str:
    return "; ".join(f"{_name_of(uid)} ({uid})" for uid in uids)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
