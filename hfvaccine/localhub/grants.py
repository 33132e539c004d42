"""Short-lived tokens for uploads by Xet, each good for one repo and only as long as the token behind it is."""

from hfvaccine.localhub.sessions import Sessions

SECONDS = 15 * 60


class Grants(Sessions):
    """The tokens in force; the scope of each is the place of its repo's xorbs. After a restart clients ask anew."""

    def __init__(self) -> None:
        super().__init__(SECONDS)
