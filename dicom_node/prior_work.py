"""Priors fetched by themselves: peers that want it are asked when a case opens, and send.

First the peer is asked what it has (C-FIND); what is chosen is written down with the answer, and
then fetched study by study (C-MOVE).  A kill anywhere costs another question, or another move of
the same study: what came before is the same instance again.  The case waits for none of it.

References
----------
DICOM PS3.4 sections C.4.1 and C.4.2.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from dicom_node import priors, store
from dicom_node.errors import AssociationRefused, PriorsRefused
from dicom_node.peers import Peer
from dicom_node.prior_choice import Choice, PriorBounds, choose
from dicom_node.priors import Fetched, PriorStudy
from dicom_node.send import SendSettings
from kernel.errors import EngineError, Transient
from kernel.ids import UNIDENTIFIED
from kernel.people import ENGINE
from storage import audit, held, patients
from storage import priors as rows
from storage.engine import Database, Transaction
from storage.patients import Patient
from storage.priors import Prior, PriorState, Search, Standing
from storage.work import DueWork

_MAX_IDENTITIES = 8
_MOVES_OF_A_PART = 3
"""So often a peer is asked again for what it did not send of a study."""

_ASKING = Standing(PriorState.WAITING, "priors.waiting", "It is asked soon.")
_NOBODY = Standing(
    PriorState.REFUSED,
    "priors.patient_unidentified",
    "Not asked: the study of the case names no patient.",
)
_UNSTATED = Standing(
    PriorState.REFUSED,
    "priors.issuer_unstated",
    "Not asked: nobody said who gave out the patient id, and elsewhere it may be another's.",
)
_HERE = Standing(PriorState.CAME, "priors.here", "It is here.")
_UNWANTED = Standing(
    PriorState.REFUSED, "priors.peer_unwanted", "Its peer is not asked for priors any more."
)
_MERGED = Standing(
    PriorState.REFUSED,
    "priors.patient_merged",
    "Not asked: the patient is one with another by now, for whom it is asked.",
)
_OTHERS = Standing(
    PriorState.REFUSED,
    "priors.other_patient",
    "It came, and names another patient than its peer said: it is no prior, and on the desk.",
)
_OUTCOMES = {
    PriorState.CAME: audit.Outcome.SUCCESS,
    PriorState.REFUSED: audit.Outcome.REFUSED,
    PriorState.GIVEN_UP: audit.Outcome.GIVEN_UP,
}

log = structlog.get_logger()


def ask(
    tx: Transaction,
    *,
    patient_ref: str,
    study_uid: str,
    bounds: PriorBounds,
    known_better: datetime | None = None,
) -> None:
    """Ask every peer that wants it for the priors of the patient of a study.

    A peer that was asked for the same patient a short while ago is not asked again.

    Parameters
    ----------
    known_better
        When it became known under which ids the patient is registered, or whose the study is:
        what was asked before that was asked of somebody else.
    """
    wanted = [peer for peer in store.peers(tx) if peer.priors] if bounds.studies else []
    standing = _uncertain(patients.known_as(tx, patient_ref)) or _ASKING if wanted else _ASKING
    for peer in wanted:
        rows.ask(
            tx,
            patient_ref=patients.stands_for(tx, patient_ref),
            ae_title=peer.ae_title,
            study_uid=study_uid,
            standing=standing,
            asked_before=known_better or tx.at - bounds.again,
            anew=known_better is not None,
        )


def call_off(tx: Transaction, patient_ref: str, why: str) -> None:
    """Ask no more for the priors of a patient: nobody waits for them."""
    refs = {each.ref for each in patients.known_as(tx, patient_ref)} | {patient_ref}
    ended = rows.call_off(tx, refs, why)
    if ended:
        log.info("priors.called_off", patient=patient_ref, ended=ended)


class PriorWork:
    """Finds priors at peers and fetches them.

    Parameters
    ----------
    send
        How peers are called, and the title that they send to.
    """

    def __init__(self, database: Database, send: SendSettings, bounds: PriorBounds) -> None:
        self._database = database
        self._send = send
        self._bounds = bounds

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(
                name="dicom_node.find_priors",
                queue="outward",
                due=self.searches,
                run=self.find,
                signs=rows.SEARCH_SIGNS,
            ),
            DueWork(
                name="dicom_node.fetch_priors",
                queue="outward",
                due=self.fetches,
                run=self.fetch,
                signs=rows.FETCH_SIGNS,
            ),
        ]

    def searches(self, tx: Transaction) -> list[str]:
        """Return the searches that are to be made now."""
        return rows.searches_due(tx, at_once=self._bounds.at_once)

    def fetches(self, tx: Transaction) -> list[str]:
        """Return the studies that are to be fetched now."""
        return rows.fetches_due(tx, at_once=self._bounds.at_once)

    def find(self, search_id: str) -> None:
        """Ask one peer what it has of a patient if that is due; done twice, it is done once."""
        with self._database.transaction() as tx:
            search = rows.claim_search(
                tx, search_id, until=tx.at + self._lease, at_once=self._bounds.at_once
            )
            if search is None or self._handed_on(tx, search):
                return
            peer = store.find_peer(tx, search.ae_title)
            known_as = patients.known_as(tx, search.patient_ref)
        refused = _uncertain(known_as)
        if peer is None or not peer.priors:
            refused = _UNWANTED
        if refused is not None or peer is None:
            self._end_search(search, refused or _UNWANTED)
            return
        try:
            found = self._asked(peer, known_as)
        except EngineError as failure:
            self._search_failed(search, failure)
            return
        with self._database.transaction() as tx:
            self._keep(tx, search, found)

    def fetch(self, study_uid: str) -> None:
        """Have one study sent if that is due; done twice, it is done once."""
        with self._database.transaction() as tx:
            prior = rows.claim_fetch(
                tx, study_uid, until=tx.at + self._lease, at_once=self._bounds.at_once
            )
            if prior is None:
                return
            peer = store.find_peer(tx, prior.ae_title)
            before = len(held.uids_of(tx, study_uid))
        if _is_whole(prior, before):
            self._end_fetch(prior, self._standing_of(prior))
            return
        if peer is None or not peer.priors:
            self._end_fetch(prior, _UNWANTED)
            return
        try:
            fetched = priors.fetch(peer, study_uid, settings=self._send, within=self._bounds.move)
            self._require_all(prior, fetched)
        except EngineError as failure:
            self._fetch_failed(prior, failure)
            return
        self._end_fetch(prior, self._standing_of(prior), images=fetched.completed)

    @property
    def _lease(self) -> timedelta:
        # A peer may be silent for all its time after an answer that came at the end of it.
        return 2 * self._bounds.move

    def _asked(self, peer: Peer, known_as: list[Patient]) -> list[PriorStudy]:
        """Ask for each id under which the person is registered by a stated issuer."""
        found: dict[str, PriorStudy] = {}
        certain = [patient for patient in known_as if _is_certain(patient)]
        for patient in certain[:_MAX_IDENTITIES]:
            told = priors.find(
                peer,
                patient_id=patient.patient_id,
                issuer=patient.issuer,
                settings=self._send,
            )
            found |= {each.study_uid: each for each in told}
        return list(found.values())

    def _keep(self, tx: Transaction, search: Search, found: list[PriorStudy]) -> None:
        choice = choose(
            found,
            own=search.study_uid,
            known=rows.known(tx, [each.study_uid for each in found]),
            before=rows.study_day(tx, search.study_uid),
            bounds=self._bounds,
        )
        done = Standing(PriorState.DONE, "priors.found", choice.sentence)
        if not rows.note_search(tx, search, done, due_at=None):
            return
        rows.add(tx, _priors(tx, search, choice, self._bounds))
        audit.record(
            tx,
            actor=ENGINE,
            action="priors.asked_for",
            subject=f"ae:{search.ae_title}",
            detail={"patient": search.patient_ref, "found": len(found), "fetch": len(choice.fetch)},
        )

    def _handed_on(self, tx: Transaction, search: Search) -> bool:
        """Ask for who stands for the patient by now, if that is another; say whether it is."""
        ref = patients.stands_for(tx, search.patient_ref)
        if ref == search.patient_ref:
            return False
        rows.note_search(tx, search, _MERGED, due_at=None)
        ask(
            tx,
            patient_ref=ref,
            study_uid=search.study_uid,
            bounds=self._bounds,
            known_better=search.asked_at,
        )
        return True

    def _end_search(self, search: Search, standing: Standing) -> None:
        with self._database.transaction() as tx:
            rows.note_search(tx, search, standing, due_at=None)

    def _search_failed(self, search: Search, failure: EngineError) -> None:
        log.warning("priors.not_found", ae_title=search.ae_title, code=failure.code)
        with self._database.transaction() as tx:
            due_at = self._bounds.next_attempt(search.attempts, begun_at=search.asked_at, at=tx.at)
            due_at = due_at if isinstance(failure, Transient) else None
            rows.note_search(tx, search, _failed(failure, over=due_at is None), due_at=due_at)

    def _fetch_failed(self, prior: Prior, failure: EngineError) -> None:
        log.warning("priors.not_fetched", study_uid=prior.study_uid, code=failure.code)
        with self._database.transaction() as tx:
            due_at = self._bounds.next_attempt(prior.attempts, begun_at=prior.asked_at, at=tx.at)
            due_at = due_at if isinstance(failure, Transient) else None
            standing = _failed(failure, over=due_at is None)
            rows.note_fetch(tx, prior, standing, due_at=due_at)
            if due_at is None:
                _note(tx, prior, standing)

    def _require_all(self, prior: Prior, fetched: Fetched) -> None:
        """Check what a peer says it sent against what is here; our own archive is what counts."""
        with self._database.reading() as tx:
            here = len(held.uids_of(tx, prior.study_uid))
        if not here:
            raise PriorsRefused(
                f"the peer says that it sent {fetched.completed} images, and none came here: "
                f"see what it has as address of {self._send.ae_title}",
                ae_title=prior.ae_title,
            )
        if fetched.failed:
            lacking = f"the peer sent {fetched.completed} images and could not send "
            error = PriorsRefused if prior.attempts >= _MOVES_OF_A_PART else AssociationRefused
            raise error(f"{lacking}{fetched.failed}", ae_title=prior.ae_title)

    def _standing_of(self, prior: Prior) -> Standing:
        with self._database.reading() as tx:
            return _HERE if rows.is_prior(tx, prior.study_uid) else _OTHERS

    def _end_fetch(self, prior: Prior, standing: Standing, *, images: int = 0) -> None:
        with self._database.transaction() as tx:
            rows.note_fetch(tx, prior, standing, due_at=None)
            _note(tx, prior, standing, images)


def _is_certain(patient: Patient) -> bool:
    return bool(patient.patient_id) and patient.issuer != UNIDENTIFIED and not patient.is_unstated


def _uncertain(known_as: list[Patient]) -> Standing | None:
    """Say why nobody may be asked for a patient; None if an id of theirs means nobody else."""
    if any(_is_certain(patient) for patient in known_as):
        return None
    unnamed = all(not each.patient_id or each.issuer == UNIDENTIFIED for each in known_as)
    return _NOBODY if unnamed else _UNSTATED


def _is_whole(prior: Prior, here: int) -> bool:
    """Say whether all that the peer has was here before it was asked to send."""
    return prior.instances is not None and 0 < prior.instances <= here


def _failed(failure: EngineError, *, over: bool) -> Standing:
    said = f"{failure.sentence[:1].upper()}{failure.sentence[1:]}."
    if not over:
        return Standing(PriorState.WAITING, failure.code, said)
    if isinstance(failure, Transient):
        return Standing(PriorState.GIVEN_UP, failure.code, f"Given up: {failure.sentence}.")
    return Standing(PriorState.REFUSED, failure.code, said)


def _priors(tx: Transaction, search: Search, choice: Choice, bounds: PriorBounds) -> list[Prior]:
    fetched = [_prior(tx, search, each) for each in choice.fetch]
    left = [_prior(tx, search, each, too_large=bounds.images) for each in choice.too_large]
    return [*fetched, *left]


def _prior(tx: Transaction, search: Search, found: PriorStudy, too_large: int = 0) -> Prior:
    standing = Standing(PriorState.WAITING, "priors.waiting", "It is fetched soon.")
    if too_large:
        said = f"It has more than {too_large} images: 'telerad fetch' brings it all the same."
        standing = Standing(PriorState.REFUSED, "priors.too_large", said)
    return Prior(
        study_uid=found.study_uid,
        patient_ref=search.patient_ref,
        ae_title=search.ae_title,
        study_date=found.study_date[:8],
        modalities="/".join(found.modalities)[:64],
        instances=found.instances,
        state=standing.state,
        code=standing.code,
        sentence=standing.sentence,
        asked_at=tx.at,
        due_at=None if too_large else tx.at,
    )


def _note(tx: Transaction, prior: Prior, ended: Standing, images: int = 0) -> None:
    audit.record(
        tx,
        actor=ENGINE,
        action="study.fetched",
        subject=f"study:{prior.study_uid}",
        outcome=_OUTCOMES[ended.state],
        detail={
            "ae_title": prior.ae_title,
            "attempts": prior.attempts,
            "came": images,
            "code": ended.code,
        },
    )
