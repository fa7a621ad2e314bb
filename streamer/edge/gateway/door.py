"""Who may open a socket, and when there is room: what is looked at before a handshake is answered.

It must not know what is said on a socket.
"""

from time import monotonic
from weakref import WeakKeyDictionary

from websockets.http11 import Request, Response

from streamer.core.errors import StorageError
from streamer.core.rates import TokenBucket
from streamer.edge.accounts import Accounts, TokenOwner
from streamer.edge.connection import DirectConnection
from streamer.edge.gateway.limits import GatewaySettings
from streamer.edge.gateway.socket import Tally
from streamer.edge.sockets import bearer_of, come_back, origin_allowed, unauthorized

RUSH_S = 10.0
FULL_S = 30.0
"""Those turned away in a rush come back within the first, those who find all places taken within the second."""


class Door:
    """Judges handshakes, and remembers whose token each connection came with."""

    def __init__(self, accounts: Accounts, settings: GatewaySettings, tally: Tally) -> None:
        self._accounts = accounts
        self._settings = settings
        self._tally = tally
        self._owners: WeakKeyDictionary[DirectConnection, TokenOwner] = WeakKeyDictionary()
        self._handshakes = TokenBucket(settings.handshakes_per_s, settings.handshakes_burst, monotonic())

    def owner_of(self, connection: DirectConnection) -> TokenOwner:
        """Whose token a connection that was let through came with."""
        return self._owners[connection]

    def check_request(self, connection: DirectConnection, request: Request, open_sockets: int) -> Response | None:
        """Lets a handshake through (None), or answers it: 403 for a foreign page, 401 without a good token, 503 in a
        rush, 400 for a peer that does not wait for the answer.
        """
        if not origin_allowed(request.headers, self._settings.origins):
            self._tally.refused += 1
            return connection.respond(403, "this origin may not connect\n")
        token = bearer_of(request.headers)
        try:
            owner = self._accounts.owner(token) if token else None
        except StorageError:
            return come_back(connection, "tokens cannot be checked now", RUSH_S)
        if owner is None or owner.kind == "api":
            self._tally.refused += 1
            return unauthorized(connection, "a driver's or a gateway's token is needed, and not a revoked one")
        # After the token, so that strangers cannot use up the places of drivers.
        rush_s = self._rush_s(open_sockets)
        if rush_s > 0:
            self._tally.turned_away += 1
            return come_back(connection, "too many sockets are being opened, or are open", rush_s)
        if not connection.claim():
            self._tally.refused += 1
            return connection.respond(400, "wait for the answer to the handshake before you send\n")
        self._owners[connection] = owner
        return None

    def _rush_s(self, open_sockets: int) -> float:
        """Over how many seconds those who want in now should spread out; 0 when there is room."""
        if open_sockets >= self._settings.max_sockets:
            return FULL_S
        return 0.0 if self._handshakes.take(monotonic()) else RUSH_S
