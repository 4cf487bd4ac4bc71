"""The people of the demo: who may log in, and what the provider says of them."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account at the demo's provider. `login` is also the token's `sub`."""

    login: str
    password: str = field(repr=False)
    email: str
    groups: tuple[str, ...] = ()

    def claims(self) -> dict[str, str | bool | list[str]]:
        """What a token says of this person beside `sub`."""
        return {"name": self.login, "email": self.email, "email_verified": True, "groups": list(self.groups)}


# Their passwords are no secret: the login page shows them.
PEOPLE = (
    Person("ana", "ana", "ana@example.com", ("data-eng",)),
    Person("fin", "fin", "fin@example.com", ("finance", "data-eng")),
)
