"""The calls about who somebody is: log-in, sessions, bearer tokens. Each log-in is in the audit chain.

It must not know what anybody may do.
"""

import asyncio

from streamer.edge.accounts import Accounts, BadLoginError, Principal
from streamer.edge.clock import Clock
from streamer.edge.desk import calls
from streamer.edge.desk.calls import Answer, Caller, CallRefusedError
from streamer.edge.journal.contract import Note, NoteKind
from streamer.edge.lockout import LockedError
from streamer.edge.runner import Runner

MAX_HASHING = 2
"""Passwords looked at at once: each takes 64 MiB and a core, and strangers may ask for it."""


class People:
    """Answers from the accounts. `clock` is the wall's: sessions end by it, even where a recording plays faster."""

    def __init__(self, runner: Runner, accounts: Accounts, clock: Clock) -> None:
        self.runner = runner
        self.accounts = accounts
        self.clock = clock
        self._hashing = asyncio.Semaphore(MAX_HASHING)

    async def login(self, who: Caller | None, params: calls.Login) -> Answer:
        """Open a session; slow on purpose, so off the loop."""
        if self.runner.full:
            raise CallRefusedError(503, "storage_full", "nobody can log in while log-ins cannot be audited")
        try:
            async with self._hashing:
                session, principal = await asyncio.to_thread(
                    self.accounts.login, params.name, params.password, self.clock.now_ms(), params.address,
                    params.device,
                )  # fmt: skip
        except BadLoginError as error:
            self._note("login_failed", params.name)
            raise CallRefusedError(401, error.code, str(error)) from error
        except LockedError as error:
            self._note("login_failed", params.name)
            raise CallRefusedError(429, error.code, str(error)) from error
        self._note("login", principal.name)
        device = await asyncio.to_thread(self.accounts.trust_device, principal.name, self.clock.now_ms())
        return Answer({"session": session, "device": device, **_shown(principal)})

    async def session(self, who: Caller | None, params: calls.Session) -> Answer:
        """Who a session is."""
        principal = await asyncio.to_thread(self.accounts.session, params.session, self.clock.now_ms())
        return Answer(_shown(_known(principal, "session")))

    async def bearer(self, who: Caller | None, params: calls.Bearer) -> Answer:
        """Who an API token speaks for."""
        principal = await asyncio.to_thread(self.accounts.bearer, params.token)
        return Answer(_shown(_known(principal, "token")))

    async def accounts_version(self, who: Caller | None, params: calls.Nothing) -> Answer:
        """Differs from an earlier answer if any session, token or person changed since."""
        return Answer({"version": list(await asyncio.to_thread(self.accounts.version))})

    async def logout(self, who: Caller | None, params: calls.Session) -> Answer:
        """End a session."""
        principal = await asyncio.to_thread(self.accounts.session, params.session, self.clock.now_ms())
        if principal is not None:
            await asyncio.to_thread(self.accounts.logout, params.session)
            self._note("logout", principal.name)
        return Answer({})

    def _note(self, kind: NoteKind, name: str) -> None:
        self.runner.note(Note(self.runner.now_ms(), kind, name))


def _known(principal: Principal | None, what: str) -> Principal:
    if principal is None:
        raise CallRefusedError(401, "unauthenticated", f"this {what} is unknown or over")
    return principal


def _shown(principal: Principal) -> dict[str, object]:
    return {"name": principal.name, "role": principal.role, "mall_ids": principal.mall_ids}
