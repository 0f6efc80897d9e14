"""People of a flow who only look, or do a single thing, with a browser of their own."""

import httpx

from tests.flows.actors import Consultant


class Person(Consultant):
    """Somebody who is signed in."""

    def see(self, path: str) -> httpx.Response:
        """Open a page."""
        return self._client.get(path)

    def do(self, page: str, action: str, **fields: str) -> httpx.Response:
        """Send a form of a page."""
        return self._post(page, action, **fields)

    def write(self, case_id: str, findings: str) -> None:
        """Write and finalise the report of a case that was offered to this person."""
        self.do("/queue", f"/cases/{case_id}/accept")
        self.do(
            f"/cases/{case_id}/read",
            f"/cases/{case_id}/report",
            **{
                "section-59776-5": findings,
                "section-19005-8": "No acute finding.",
                "then": "finalise",
            },
        )

    def sign(self, case_id: str, passphrase: str) -> httpx.Response:
        """Give the passphrase for the finalised report."""
        return self.do(f"/cases/{case_id}/read", f"/cases/{case_id}/sign", passphrase=passphrase)
