"""Why somebody is not let in."""

from datetime import timedelta

from kernel.errors import NotFound, Refused


class SignInRefused(Refused):
    """Login and password do not fit together; which of them is wrong is not told."""

    code = "identity.sign_in_refused"


class TooManyAttempts(Refused):
    """Signing in failed too often; the answer is a pause, not another attempt."""

    code = "identity.too_many_attempts"

    def __init__(self, wait: timedelta) -> None:
        minutes = max(1, round(wait.total_seconds() / 60))
        super().__init__(f"signing in failed too often; try again in {minutes} min")
        self.wait = wait


class NotSignedIn(Refused):
    """The page or object needs somebody who is signed in."""

    code = "identity.not_signed_in"


class TokenRefused(Refused):
    """The bearer token is unknown, revoked, or lacks the scope."""

    code = "identity.token_refused"


class AccessRefused(Refused):
    """The person is known, but the object is not theirs to see or to change (KZ §35)."""

    code = "identity.access_refused"
    clause = "KZ §35"


class FormForged(Refused):
    """The form does not carry the token of the session that it claims to come from."""

    code = "identity.form_forged"


class LoginTaken(Refused):
    """Another person has this login already."""

    code = "identity.login_taken"


class LoginInvalid(Refused):
    """The login, password or roles cannot be those of a person."""

    code = "identity.login_invalid"


class ScopeUnknown(Refused):
    """No such scope exists."""

    code = "identity.scope_unknown"


class UserUnknown(NotFound):
    """No person has this id or login."""

    code = "identity.user_unknown"


class TokenUnknown(NotFound):
    """No token that is good has this id."""

    code = "identity.token_unknown"
